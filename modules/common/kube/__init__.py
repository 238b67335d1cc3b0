"""The Kubernetes API: a client, and reflectors that keep a copy of what they watch.

Importing it takes some 200 ms (HTTP, TLS and kubeconfig libraries), so modules do it in `start`.
"""

from modules.common.kube.backoff import Backoff
from modules.common.kube.client import KubeClient, Page
from modules.common.kube.credentials import ConnectSettings
from modules.common.kube.discovery import served_versions
from modules.common.kube.errors import (
    AlreadyExists,
    ApiError,
    BadRequest,
    ConfigurationError,
    Conflict,
    CredentialsUnavailable,
    Forbidden,
    Gone,
    Invalid,
    KubeError,
    NotFound,
    TooManyRequests,
    Unauthorized,
    Unreachable,
)
from modules.common.kube.events import EventRecorder, EventType, reference
from modules.common.kube.reflector import Key, Reflector, ReflectorStatistics, key_of
from modules.common.kube.resources import (
    CONFIGMAPS,
    CUSTOMRESOURCEDEFINITIONS,
    DEVICEMODELS,
    DEVICES,
    ENDPOINTS,
    EVENTS,
    NAMESPACES,
    NODES,
    PERSISTENTVOLUMECLAIMS,
    PERSISTENTVOLUMES,
    PODS,
    SECRETS,
    SERVICES,
    VOLUMEATTACHMENTS,
    Resource,
)
from modules.common.kube.retry import retry
from modules.common.kube.syncing import synced
from modules.common.kube.watching import Object, WatchEvent

__all__ = [
    "CONFIGMAPS",
    "CUSTOMRESOURCEDEFINITIONS",
    "DEVICEMODELS",
    "DEVICES",
    "ENDPOINTS",
    "EVENTS",
    "NAMESPACES",
    "NODES",
    "PERSISTENTVOLUMECLAIMS",
    "PERSISTENTVOLUMES",
    "PODS",
    "SECRETS",
    "SERVICES",
    "VOLUMEATTACHMENTS",
    "AlreadyExists",
    "ApiError",
    "Backoff",
    "BadRequest",
    "ConfigurationError",
    "Conflict",
    "ConnectSettings",
    "CredentialsUnavailable",
    "EventRecorder",
    "EventType",
    "Forbidden",
    "Gone",
    "Invalid",
    "Key",
    "KubeClient",
    "KubeError",
    "NotFound",
    "Object",
    "Page",
    "Reflector",
    "ReflectorStatistics",
    "Resource",
    "TooManyRequests",
    "Unauthorized",
    "Unreachable",
    "WatchEvent",
    "key_of",
    "reference",
    "retry",
    "served_versions",
    "synced",
]
