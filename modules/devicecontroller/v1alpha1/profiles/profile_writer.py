"""Reconciling the device profiles: one ConfigMap per node and namespace with devices.

The profile in the API is compared with the desired one. So a profile that somebody has edited or
deleted is restored, one without devices is deleted, and a restart writes no unchanged profile.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from typing import Final

from modules.common.kube import (
    CONFIGMAPS,
    AlreadyExists,
    Key,
    KubeClient,
    KubeError,
    NotFound,
    Object,
    SetAside,
    Subject,
    check,
    reference,
    shape_of,
)
from modules.common.sync.keyed_queue import KeyedQueue
from modules.devicecontroller.duties import Duties
from modules.devicecontroller.v1alpha1.profiles import profile
from modules.devicecontroller.v1alpha1.sync.inventory import (
    Inventory,
    Profile,
)

LABELS: Final = {
    "app.kubernetes.io/managed-by": "cloudcore",
    "app.kubernetes.io/component": "device-profile",
}
SELECTOR: Final = ",".join(f"{name}={value}" for name, value in LABELS.items())

_DIGEST: Final = "digest"

log = logging.getLogger(__name__)


def keep_profile(configmap: Object) -> Object:
    """Reduce a ConfigMap to its identity and a digest of its profile."""
    check(configmap, shape_of(CONFIGMAPS))
    text = (configmap.get("data") or {}).get(profile.PROFILE_KEY) or ""
    return {"metadata": reference(CONFIGMAPS, configmap), _DIGEST: _digest(text)}


class ProfileWriter:
    """Writes the profiles that differ from the inventory."""

    def __init__(
        self,
        client: KubeClient,
        inventory: Inventory,
        present: Mapping[Key, Object],
        set_aside: SetAside,
        duties: Duties,
    ) -> None:
        """Set up; `present` are the profiles in the API, as reduced by `keep_profile`.

        Of several replicas, the leader writes them.
        """
        self._duties = duties
        self._client = client
        self._inventory = inventory
        self._present = present
        self._set_aside = set_aside
        self.queue: KeyedQueue[Profile] = KeyedQueue(self._write, KubeError, self._put_aside)

    def enqueue(self, item: Profile) -> None:
        self.queue.add(item)

    def enqueue_configmap(self, configmap: Object) -> None:
        """Enqueue a profile that has changed in the API."""
        namespace, name = configmap["metadata"]["namespace"], configmap["metadata"]["name"]
        if name.startswith(profile.CONFIGMAP_PREFIX):
            self.queue.add(Profile(name.removeprefix(profile.CONFIGMAP_PREFIX), namespace))

    def _put_aside(self, item: Profile, error: Exception) -> None:
        name = CONFIGMAPS.describe(item.namespace, profile.configmap_name(item.node))
        self._set_aside.put(Subject(CONFIGMAPS.plural, name), error)

    async def _write(self, item: Profile) -> None:
        if not self._duties.leads:
            return
        name = profile.configmap_name(item.node)
        text = profile.build(self._inventory.in_profile(item), self._inventory.models)
        present = self._present.get((item.namespace, name))
        if text is None:
            if present:
                await self._delete(name, item.namespace, present["metadata"].get("uid", ""))
        elif present is None:
            await self._create(name, item.namespace, text)
        elif present[_DIGEST] != _digest(text):
            await self._patch(name, item.namespace, text)

    async def _create(self, name: str, namespace: str, text: str) -> None:
        configmap = {
            "metadata": {"name": name, "labels": LABELS},
            "data": {profile.PROFILE_KEY: text},
        }
        try:
            await self._client.create(CONFIGMAPS, configmap, namespace)
        except AlreadyExists:
            # Made by KubeEdge's own cloudcore, which sets no labels.
            await self._patch(name, namespace, text)
        else:
            log.info("device profile %s/%s: created", namespace, name)

    async def _patch(self, name: str, namespace: str, text: str) -> None:
        change = {"metadata": {"labels": LABELS}, "data": {profile.PROFILE_KEY: text}}
        await self._client.patch(CONFIGMAPS, name, change, namespace)
        log.info("device profile %s/%s: updated", namespace, name)

    async def _delete(self, name: str, namespace: str, uid: str) -> None:
        try:
            await self._client.delete(CONFIGMAPS, name, namespace, uid=uid)
        except NotFound:
            log.debug("device profile %s/%s: already deleted", namespace, name)
        else:
            log.info(
                "device profile %s/%s: deleted, since it has no device any more", namespace, name
            )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
