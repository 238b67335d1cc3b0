"""The Kubernetes API: a client, and reflectors that keep a copy of what they watch.

Importing it takes some 200 ms (HTTP, TLS and kubeconfig libraries), so modules do it in `start`.
"""

from modules.common.kube.aside import INTERNAL, INVALID, SetAside, Subject, explain
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
    TooLarge,
    TooManyRequests,
    Unauthorized,
    Unreachable,
)
from modules.common.kube.events import EventRecorder, EventType, reference
from modules.common.kube.kinds import (
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
from modules.common.kube.reflector import Aside, Key, Reflector, ReflectorStatistics, key_of
from modules.common.kube.retry import retry
from modules.common.kube.shapes import (
    INT64,
    BadObject,
    bad_object,
    check,
    is_name,
    part,
    shape_of,
    with_metadata,
)
from modules.common.kube.syncing import synced
from modules.common.kube.watching import Object, WatchEvent

__all__ = [
    "CONFIGMAPS",
    "CUSTOMRESOURCEDEFINITIONS",
    "DEVICEMODELS",
    "DEVICES",
    "ENDPOINTS",
    "EVENTS",
    "INT64",
    "INTERNAL",
    "INVALID",
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
    "Aside",
    "Backoff",
    "BadObject",
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
    "SetAside",
    "Subject",
    "TooLarge",
    "TooManyRequests",
    "Unauthorized",
    "Unreachable",
    "WatchEvent",
    "bad_object",
    "check",
    "explain",
    "is_name",
    "key_of",
    "part",
    "reference",
    "retry",
    "served_versions",
    "shape_of",
    "synced",
    "with_metadata",
]
