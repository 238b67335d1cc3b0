"""The table of the built-in resources."""

from __future__ import annotations

from modules.apiserver import columns
from modules.apiserver.catalog import Resource, Subresource
from modules.apiserver.kinds import (
    certificates,
    clusterips,
    core,
    crdrules,
    customresources,
    pod_accounts,
    pods,
    service_accounts,
    storage,
)
from modules.apiserver.kinds.mergekeys import MERGE_KEYS

_EVENT_FIELDS = (
    "kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath",
)  # fmt: skip

BUILTIN = (
    Resource(
        "", "v1", "Namespace", "namespaces",
        namespaced=False, short_names=("ns",), status=True, columns=columns.NAMESPACES,
        selectable={"status.phase": ("status", "phase")},
        initial_status={"phase": "Active"}, defaults=core.namespace_defaults,
    ),
    Resource(
        "", "v1", "Node", "nodes",
        namespaced=False, short_names=("no",), status=True, status_on_create=True,
        columns=columns.NODES, merge_keys=MERGE_KEYS["nodes"],
        selectable={"spec.unschedulable": ("spec", "unschedulable")},
    ),
    Resource(
        "", "v1", "Pod", "pods",
        short_names=("po",), categories=("all",), status=True, columns=columns.PODS,
        merge_keys=MERGE_KEYS["pods"],
        selectable={
            "spec.nodeName": ("spec", "nodeName"),
            "spec.restartPolicy": ("spec", "restartPolicy"),
            "spec.schedulerName": ("spec", "schedulerName"),
            "spec.serviceAccountName": ("spec", "serviceAccountName"),
            "spec.hostNetwork": ("spec", "hostNetwork"),
            "status.phase": ("status", "phase"),
            "status.podIP": ("status", "podIP"),
            "status.nominatedNodeName": ("status", "nominatedNodeName"),
        },
        subresources=(Subresource("binding", "Binding", ("create",)),),
        initial_status={"phase": "Pending"}, defaults=pods.defaults,
        admit=pod_accounts.admit,
        validate=pods.validate, validate_update=pods.validate_update,
    ),
    Resource(
        "", "v1", "ConfigMap", "configmaps",
        short_names=("cm",), columns=columns.CONFIGMAPS,
        validate=core.validate_configmap, validate_update=core.keep_immutable,
    ),
    Resource(
        "", "v1", "Secret", "secrets",
        columns=columns.SECRETS, selectable={"type": ("type",)},
        defaults=core.secret_defaults, validate=core.validate_secret,
        validate_update=core.keep_immutable,
    ),
    Resource(
        "", "v1", "Service", "services",
        short_names=("svc",), categories=("all",), status=True, columns=columns.SERVICES,
        merge_keys=MERGE_KEYS["services"],
        selectable={"spec.clusterIP": ("spec", "clusterIP"), "spec.type": ("spec", "type")},
        initial_status={"loadBalancer": {}}, defaults=core.service_defaults,
        complete=clusterips.assign,
        validate=core.validate_service, validate_update=core.keep_cluster_ip,
    ),
    Resource(
        "", "v1", "Endpoints", "endpoints",
        singular="endpoints", short_names=("ep",), columns=columns.ENDPOINTS,
    ),
    Resource(
        "", "v1", "Event", "events",
        short_names=("ev",), columns=columns.EVENTS,
        selectable={
            **{f"involvedObject.{name}": ("involvedObject", name) for name in _EVENT_FIELDS},
            "reason": ("reason",),
            "reportingComponent": ("reportingComponent",),
            "source": ("source", "component"),
            "type": ("type",),
        },
    ),
    Resource(
        "", "v1", "ServiceAccount", "serviceaccounts",
        short_names=("sa",), merge_keys=MERGE_KEYS["serviceaccounts"],
        subresources=(
            Subresource("token", "TokenRequest", ("create",), "authentication.k8s.io", "v1"),
        ),
        validate=service_accounts.validate,
    ),
    Resource(
        "", "v1", "PersistentVolume", "persistentvolumes",
        namespaced=False, short_names=("pv",), status=True, columns=columns.PERSISTENTVOLUMES,
        initial_status={"phase": "Pending"}, defaults=storage.volume_defaults,
    ),
    Resource(
        "", "v1", "PersistentVolumeClaim", "persistentvolumeclaims",
        short_names=("pvc",), status=True, columns=columns.PERSISTENTVOLUMECLAIMS,
        initial_status={"phase": "Pending"}, defaults=storage.claim_defaults,
    ),
    Resource(
        "certificates.k8s.io", "v1", "CertificateSigningRequest", "certificatesigningrequests",
        namespaced=False, short_names=("csr",), status=True,
        columns=columns.CERTIFICATESIGNINGREQUESTS,
        selectable={"spec.signerName": ("spec", "signerName")},
        subresources=(Subresource("approval", "", ("get", "patch", "update")),),
        requested_by=certificates.requested_by, merge=certificates.merge,
        validate=certificates.validate, validate_update=certificates.validate_update,
    ),
    Resource(
        "coordination.k8s.io", "v1", "Lease", "leases", columns=columns.LEASES,
    ),
    Resource(
        "discovery.k8s.io", "v1", "EndpointSlice", "endpointslices",
        columns=columns.ENDPOINTSLICES,
    ),
    Resource(
        "storage.k8s.io", "v1", "VolumeAttachment", "volumeattachments",
        namespaced=False, status=True, columns=columns.VOLUMEATTACHMENTS,
        initial_status={"attached": False},
        validate=storage.validate_attachment, validate_update=storage.keep_attachment,
    ),
    Resource(
        "storage.k8s.io", "v1", "StorageClass", "storageclasses",
        namespaced=False, short_names=("sc",), columns=columns.STORAGECLASSES,
        defaults=storage.class_defaults, validate=storage.validate_class,
        validate_update=storage.keep_class,
    ),
    Resource(
        "storage.k8s.io", "v1", "CSIDriver", "csidrivers",
        namespaced=False, columns=columns.CSIDRIVERS, defaults=storage.driver_defaults,
        validate=storage.validate_driver, validate_update=storage.keep_driver,
    ),
    Resource(
        "storage.k8s.io", "v1", "CSINode", "csinodes",
        namespaced=False, columns=columns.CSINODES, merge_keys=MERGE_KEYS["csinodes"],
        validate=storage.validate_node,
    ),
    Resource(
        "apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions",
        namespaced=False, short_names=("crd", "crds"), categories=("api-extensions",),
        status=True, columns=columns.CUSTOMRESOURCEDEFINITIONS,
        defaults=customresources.defaults, validate=crdrules.validate,
        validate_update=customresources.validate_update,
    ),
    Resource(
        "authentication.k8s.io", "v1", "SelfSubjectReview", "selfsubjectreviews",
        namespaced=False, virtual=True,
    ),
    Resource(
        "authentication.k8s.io", "v1", "TokenReview", "tokenreviews",
        namespaced=False, virtual=True,
    ),
    Resource(
        "authorization.k8s.io", "v1", "SelfSubjectAccessReview", "selfsubjectaccessreviews",
        namespaced=False, virtual=True,
    ),
)  # fmt: skip
