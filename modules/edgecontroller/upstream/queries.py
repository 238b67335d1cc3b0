"""Answering queries of edges, with the present object from the API."""

from __future__ import annotations

import logging
from typing import Final

from ipc import Message
from modules.common.failure_log import FailureLog
from modules.common.kube import (
    CONFIGMAPS,
    ENDPOINTS,
    NODES,
    PERSISTENTVOLUMECLAIMS,
    PERSISTENTVOLUMES,
    PODS,
    SECRETS,
    SERVICES,
    VOLUMEATTACHMENTS,
    KubeClient,
    NotFound,
    Object,
    Resource,
)
from modules.common.message_resource import ObjectResource
from modules.edgecontroller import messages
from modules.edgecontroller.downstream.due import Target
from modules.edgecontroller.downstream.node_updates import NodeUpdater
from modules.edgecontroller.downstream.state import State
from modules.edgecontroller.objects import usable
from modules.edgecontroller.upstream.authorization import Rights
from modules.edgecontroller.upstream.message_queue import retry_briefly
from modules.edgecontroller.upstream.present import Present

#: The resources that an edge may query, by the type in the message's resource.
ASKED_FOR: Final[dict[str, Resource]] = {
    messages.CONFIGMAP: CONFIGMAPS,
    messages.SECRET: SECRETS,
    messages.SERVICE: SERVICES,
    messages.ENDPOINTS: ENDPOINTS,
    messages.PERSISTENTVOLUME: PERSISTENTVOLUMES,
    messages.PERSISTENTVOLUMECLAIM: PERSISTENTVOLUMECLAIMS,
    messages.VOLUMEATTACHMENT: VOLUMEATTACHMENTS,
    messages.NODE: NODES,
    messages.POD: PODS,
}

log = logging.getLogger(__name__)


class QueryAnswerer:
    """Reads the objects that edges ask for."""

    def __init__(
        self, client: KubeClient, rights: Rights, state: State, updater: NodeUpdater
    ) -> None:
        self._client = client
        self._rights = rights
        self._state = state
        self._present = Present(client, state)
        self._updater = updater
        # An edge asks again, for as long as a pod waits for what is missing.
        self._missing = FailureLog(log, logging.INFO)

    async def get(self, _: Message, about: ObjectResource) -> Object:
        """Return an object if the node may read it; raises Denied (authorization.py) if not."""
        resource = ASKED_FOR[about.type]
        namespace = about.namespace if resource.namespaced else None
        await self._rights.check_read(about)
        try:
            found = await retry_briefly(
                lambda: self._client.get(resource, about.name, namespace), self._client.health
            )
        except NotFound:
            what = f"{about.node} asks for {resource.describe(namespace, about.name)}"
            self._missing.failed(str(about), "", f"{what}: not found")
            raise
        self._missing.worked(str(about))
        usable(resource, found)
        target = Target(about.node, about.type, about.namespace, about.name)
        if about.type in (messages.CONFIGMAP, messages.SECRET):
            await self._updater.answered(target, found)
        found = await self._present.state_of(about.type, found)
        if about.type == messages.ENDPOINTS:
            self._state.due.mark(target._replace(type=messages.PODLIST))
        return found

    async def authority(self, _: Message, about: ObjectResource) -> str:
        """Return the CA of the API server, in PEM; it is no secret."""
        authority = self._client.authority
        if not authority:
            raise NotFound(404, "NotFound", f"{about.at_edge}: the kubeconfig names no CA")
        return authority
