"""Answering queries of edges, with the present object from the API."""

from __future__ import annotations

import logging
from typing import Final

from ipc import Message
from modules.common import message_resource
from modules.common.failure_log import FailureLog
from modules.common.kube import (
    CONFIGMAPS,
    ENDPOINTS,
    NODES,
    PERSISTENTVOLUMECLAIMS,
    PERSISTENTVOLUMES,
    SECRETS,
    SERVICES,
    VOLUMEATTACHMENTS,
    KubeClient,
    NotFound,
    Resource,
)
from modules.edgecontroller import messages
from modules.edgecontroller.cloudhub_client import CloudHubClient
from modules.edgecontroller.downstream.due import Target
from modules.edgecontroller.downstream.node_updates import NodeUpdater
from modules.edgecontroller.downstream.state import State
from modules.edgecontroller.messages import answer
from modules.edgecontroller.objects import keep, usable
from modules.edgecontroller.upstream.authorization import Rights
from modules.edgecontroller.upstream.message_queue import retry_briefly

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
}

log = logging.getLogger(__name__)


class QueryAnswerer:
    """Answers with the object if the node may read it; raises Denied (authorization.py) if not.

    An object that it may read and that does not exist gets no answer, because an edge of v1.1
    stores any answer as the object.
    """

    def __init__(
        self, client: KubeClient, cloudhub: CloudHubClient, state: State, updater: NodeUpdater
    ) -> None:
        self._client = client
        self._rights = Rights(state, client)
        self._cloudhub = cloudhub
        self._state = state
        self._updater = updater
        # An edge asks again, for as long as a pod waits for what is missing.
        self._missing = FailureLog(log, logging.INFO)

    async def answer(self, questions: list[Message]) -> None:
        for question in questions:
            await self._answer(question)

    async def _answer(self, question: Message) -> None:
        about = message_resource.parse(question.resource)
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
            return
        self._missing.worked(str(about))
        usable(resource, found)
        target = Target(about.node, about.type, about.namespace, about.name)
        if about.type in (messages.CONFIGMAP, messages.SECRET):
            self._updater.answered(target, found)
        await self._cloudhub.send(answer(question, str(about), keep(found)))
        if about.type == messages.ENDPOINTS:
            self._state.due.mark(target._replace(type=messages.PODLIST))
