"""The CRDs of devices: in which versions they are served, why not, and their installation."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from modules.common.crds import manifests
from modules.common.kube import (
    CUSTOMRESOURCEDEFINITIONS,
    DEVICEMODELS,
    DEVICES,
    DEVICES_V1BETA1,
    DEVICESTATUSES,
    AlreadyExists,
    Backoff,
    KubeClient,
    KubeError,
    NotFound,
    Resource,
    served_resources,
)

#: The versions that cloudcore knows, and the resources that each needs.
_KNOWN: Final = (DEVICES.version, DEVICES_V1BETA1.version)
_NEEDED: Final = (DEVICES.plural, DEVICEMODELS.plural)

#: Seconds between looks for versions that are not served yet, once there is one.
_LOOK_INTERVAL: Final = 30.0

_HINT_MISSING: Final = (
    "install them with `cloudcore crds | kubectl apply -f -`, or let cloudcore do it: "
    "modules.devicecontroller.install_crds = true"
)
_HINT_OTHER_VERSION: Final = (
    "see docs/reference/controllers.md: their devices are for KubeEdge up to 1.14"
)
_HINT_RIGHT: Final = "grant the right of deploy/rbac/optional, or install it with kubectl"
_HINT_EXISTS: Final = "see `kubectl describe crd`, or wait if they have just been made"

log = logging.getLogger(__name__)


class NotServed(KubeError):
    """The API server serves devices in no version that cloudcore knows."""

    def __init__(self, cause: str, hint: str) -> None:
        super().__init__(cause)
        self.hint = hint


class Definitions:
    """Finds out which versions are served; installs the CRDs if configured to and none is there.

    An existing CRD is never changed, since the API server may hold objects of it.
    """

    def __init__(self, client: KubeClient, *, install: bool) -> None:
        self._client = client
        self._install = install
        self._served: dict[str, set[str]] = {}
        self._changed = asyncio.Event()

    def serves(self, version: str) -> bool:
        """Whether devices and models of a version have been found to be served."""
        return self._served.get(version, set()).issuperset(_NEEDED)

    def has_device_statuses(self) -> bool:
        """Whether reports go into DeviceStatus objects, as from KubeEdge 1.23 on."""
        return DEVICESTATUSES.plural in self._served.get(DEVICESTATUSES.version, ())

    def is_v1beta1_alone(self) -> bool:
        """Whether what may be of either version is to count as v1beta1."""
        return not self.serves(DEVICES.version)

    async def found(self) -> None:
        """Wait until a known version is served."""
        while not any(map(self.serves, _KNOWN)):
            await self._changed.wait()

    async def served(self, version: str) -> None:
        """Wait until a version is served."""
        while not self.serves(version):
            await self._changed.wait()

    async def look(self) -> None:
        """Look for versions until all are served; failures are reported to the client's health."""
        backoff = Backoff(least=0.1)
        while not all(map(self.serves, _KNOWN)):
            try:
                await self._discover()
            except KubeError as error:
                for plural in _NEEDED:
                    self._client.health.failed(plural, error)
            if any(map(self.serves, _KNOWN)):
                self._notify()
                await self._client.health.pause(_LOOK_INTERVAL)
            else:
                await self._client.health.pause(backoff.next())

    async def explain(self, resource: Resource, error: KubeError) -> KubeError:
        """Return a more precise error for a resource that the API server does not find."""
        if not isinstance(error, NotFound):
            return error
        try:
            served = await served_resources(self._client, resource.group)
        except KubeError as other:
            return other
        if resource.plural in served.get(resource.version, ()):
            return error  # it has been installed meanwhile
        return NotServed("the CRDs of devices have been changed", _HINT_EXISTS)

    async def _discover(self) -> None:
        """Find out what is served; raises a KubeError that says why nothing is."""
        before = {version for version in _KNOWN if self.serves(version)}
        self._served = await served_resources(self._client, DEVICES.group)
        for version in _KNOWN:
            if self.serves(version) and version not in before:
                log.info("devices of %s are served", version)
        if any(map(self.serves, _KNOWN)):
            return
        versions = [version for version, plurals in self._served.items() if "devices" in plurals]
        if versions:
            known = " and ".join(_KNOWN)
            raise NotServed(
                f"the cluster has them as {', '.join(versions)}, and cloudcore needs {known}",
                _HINT_OTHER_VERSION,
            )
        if not self._install:
            raise NotServed("the cluster lacks their CRDs", _HINT_MISSING)
        for plural in manifests.NAMES:
            await self._create(plural)
        self._served = await served_resources(self._client, DEVICES.group)
        if not any(map(self.serves, _KNOWN)):
            raise NotServed("their CRDs exist, but no version of them is served", _HINT_EXISTS)

    async def _create(self, plural: str) -> None:
        definition = manifests.load(plural)
        name = definition["metadata"]["name"]
        try:
            await self._client.create(CUSTOMRESOURCEDEFINITIONS, definition)
        except AlreadyExists:
            log.debug("CRD %s: exists already", name)
        except KubeError as error:
            cause = f"cannot install the CRD {name}: {error.cause}"
            raise NotServed(cause, _HINT_RIGHT) from error
        else:
            log.info("CRD %s: installed", name)

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
