"""The service account of a pod (plugin/pkg/admission/serviceaccount).

A pod runs as a service account of its namespace, and gets a token of it, the certificate of the CA
and the name of the namespace as files, unless it or the account does not want them.
"""

from __future__ import annotations

from typing import Any, Final

from modules.apiserver.catalog import Find
from modules.apiserver.kinds.pods import MIRROR
from modules.apiserver.meta.names import generate_name
from modules.apiserver.meta.objects import Json
from modules.apiserver.meta.status import ApiError, forbidden

DEFAULT: Final = "default"
MOUNT_PATH: Final = "/var/run/secrets/kubernetes.io/serviceaccount"
TOKEN_SECONDS: Final = 3607
_VOLUME_PREFIX: Final = "kube-api-access-"
_READ_BY_ALL: Final = 0o644


def admit(pod: Json, find: Find) -> None:
    """Set the service account of a new pod and mount its token; raises ApiError (403)."""
    spec = pod.get("spec")
    if not isinstance(spec, dict):
        return  # refused by the validation
    if MIRROR in (pod["metadata"].get("annotations") or {}):
        _check_mirror(pod, spec)
        return
    name = spec.get("serviceAccountName") or DEFAULT
    # The field of that name is deprecated, and follows the other one.
    spec["serviceAccountName"] = spec["serviceAccount"] = name
    account = find("serviceaccounts", name)
    if account is None:
        place = pod["metadata"]["namespace"]
        raise _refused(
            pod,
            f'error looking up service account {place}/{name}: serviceaccount "{name}" not found',
        )
    if _wants_token(spec, account):
        _mount_token(spec)
    if not spec.get("imagePullSecrets") and account.get("imagePullSecrets"):
        spec["imagePullSecrets"] = account["imagePullSecrets"]


def _wants_token(spec: Json, account: Json) -> bool:
    for wish in (spec, account):
        if wish.get("automountServiceAccountToken") is not None:
            return bool(wish["automountServiceAccountToken"])
    return True


def _mount_token(spec: Json) -> None:
    volumes = spec.get("volumes") or []
    present = next((item for item in volumes if _is_token_volume(item)), None)
    name = present["name"] if present else generate_name(_VOLUME_PREFIX)
    mounted = [
        _mount(container, name)
        for field in ("initContainers", "containers")
        for container in spec.get(field) or ()
    ]
    if any(mounted) and present is None:
        spec["volumes"] = [*volumes, _token_volume(name)]


def _is_token_volume(volume: Json) -> bool:
    return str(volume.get("name") or "").startswith(_VOLUME_PREFIX)


def _mount(container: Json, name: str) -> bool:
    """Mount the volume, unless something else is mounted there; return whether it is mounted."""
    mounts = container.get("volumeMounts") or []
    if any(mount.get("mountPath") == MOUNT_PATH for mount in mounts):
        return False
    mount = {"name": name, "readOnly": True, "mountPath": MOUNT_PATH}
    container["volumeMounts"] = [*mounts, mount]
    return True


def _token_volume(name: str) -> Json:
    namespace = {
        "path": "namespace",
        "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"},
    }
    certificate = {"key": "ca.crt", "path": "ca.crt"}
    return {
        "name": name,
        "projected": {
            "defaultMode": _READ_BY_ALL,
            "sources": [
                {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
                {"configMap": {"name": "kube-root-ca.crt", "items": [certificate]}},
                {"downwardAPI": {"items": [namespace]}},
            ],
        },
    }


def _check_mirror(pod: Json, spec: Json) -> None:
    """Refuse what the mirror of a static pod may not have: the node has started it already."""
    if spec.get("serviceAccountName"):
        raise _refused(pod, "a mirror pod may not reference service accounts")
    for volume in spec.get("volumes") or ():
        sources: Any = (volume.get("projected") or {}).get("sources") or ()
        kinds = {*volume, *(kind for source in sources for kind in source)}
        if "serviceAccountToken" in kinds:
            raise _refused(pod, "a mirror pod may not use ServiceAccountToken volume projections")
        if "secret" in kinds:
            raise _refused(pod, "a mirror pod may not reference secrets")


def _refused(pod: Json, why: str) -> ApiError:
    return forbidden("pods", "", str(pod["metadata"].get("name", "")), why)
