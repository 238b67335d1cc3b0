"""The CRDs of Device and DeviceModel: why they are not served, and their installation."""

from __future__ import annotations

import logging
from typing import Final

from modules.common.crds import manifests
from modules.common.kube import (
    CUSTOMRESOURCEDEFINITIONS,
    AlreadyExists,
    KubeClient,
    KubeError,
    NotFound,
    Resource,
    served_versions,
)

_HINT_MISSING: Final = (
    "install them with `cloudcore crds | kubectl apply -f -`, or let cloudcore do it: "
    "modules.devicecontroller.install_crds = true"
)
_HINT_OTHER_VERSION: Final = (
    "do not apply `cloudcore crds` over them, see docs/controllers.md: their devices are for a "
    "later KubeEdge"
)
_HINT_RIGHT: Final = "grant the right of deploy/rbac/optional.yaml, or install it with kubectl"
_HINT_EXISTS: Final = "see `kubectl describe crd`, or wait if they have just been made"

log = logging.getLogger(__name__)


class NotServed(KubeError):
    """The API server does not serve devices in the version that cloudcore knows."""

    def __init__(self, cause: str, hint: str) -> None:
        super().__init__(cause)
        self.hint = hint


class Definitions:
    """Explains why devices or models are not served; installs the CRDs if configured to.

    An existing CRD is never changed, since the API server may hold objects of it.
    """

    def __init__(self, client: KubeClient, *, install: bool) -> None:
        self._client = client
        self._install = install

    async def explain(self, resource: Resource, error: KubeError) -> KubeError:
        """Return a more precise error for a resource that the API server does not find."""
        if not isinstance(error, NotFound):
            return error
        try:
            served = await served_versions(self._client, resource)
            if not served and self._install:
                return await self._create(resource)
        except KubeError as other:
            return other
        if resource.version in served:
            return error  # it has been installed meanwhile
        if served:
            versions = ", ".join(served)
            return NotServed(
                f"the cluster has them as {versions}, and cloudcore needs {resource.version}",
                _HINT_OTHER_VERSION,
            )
        return NotServed("the cluster lacks their CRDs", _HINT_MISSING)

    async def _create(self, resource: Resource) -> KubeError:
        definition = manifests.load(resource.plural)
        name = definition["metadata"]["name"]
        try:
            await self._client.create(CUSTOMRESOURCEDEFINITIONS, definition)
        except AlreadyExists:
            return NotServed("their CRDs exist, but no version of them is served", _HINT_EXISTS)
        except KubeError as error:
            return NotServed(f"cannot install the CRD {name}: {error.cause}", _HINT_RIGHT)
        log.info("CRD %s: installed", name)
        return NotServed("their CRDs have just been installed", _HINT_EXISTS)
