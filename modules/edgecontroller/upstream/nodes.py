"""What edges write about their own nodes: registration, status, annotations."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

from ipc import Message
from modules.common import message_resource, times
from modules.common.edge_versions import EDGE_LABEL
from modules.common.failure_log import FailureLog
from modules.common.kube import NODES, AlreadyExists, KubeClient, NotFound, Object
from modules.common.message_resource import ObjectResource
from modules.edgecontroller.downstream.state import State
from modules.edgecontroller.messages import NODE, OK
from modules.edgecontroller.objects import usable, version_of
from modules.edgecontroller.upstream import nodestatus
from modules.edgecontroller.upstream.answers import Answers
from modules.edgecontroller.upstream.authorization import own_node
from modules.edgecontroller.upstream.calls import ask
from modules.edgecontroller.upstream.content import (
    listed,
    read_node_status,
    read_node_update,
    read_object,
    read_patch,
)
from modules.edgecontroller.upstream.message_queue import retry_briefly
from modules.edgecontroller.upstream.present import Present
from modules.edgecontroller.upstream.report_patches import ReportPatcher
from modules.edgecontroller.upstream.restriction import check_labels, check_node_patch, registration

_STATUS: Final = "status"

log = logging.getLogger(__name__)


class NodeWriter:
    """Writes Nodes, and acknowledges node status and annotations of edges of v1.1 with OK."""

    def __init__(
        self,
        client: KubeClient,
        reports: ReportPatcher,
        answers: Answers,
        state: State,
        *,
        update_frequency: float,
        registered: Callable[..., Awaitable[None]],
    ) -> None:
        """Set up; `registered` is NodeEventHandler's."""
        self._client = client
        self._reports = reports
        self._answers = answers
        self._state = state
        self._present = Present(client, state)
        self._update_frequency = update_frequency
        self._registered = registered
        self._trouble = FailureLog(log)
        self._unknown = FailureLog(log)
        """nodes that report and have no Node object: each does so every 10 s"""

    async def register(self, question: Message, about: ObjectResource) -> Object:
        """Create the Node of an edge; one that exists is not changed.

        The configuration of an edge may have labels that a kubelet may not set: the Node is created
        without them, where the admission plugin NodeRestriction refuses it.
        """
        name = own_node(about)
        node, refused = registration(read_object(question, about, NODES))
        if refused:
            text = f"node {name}: may not have the labels {listed(refused)}"
            self._trouble.failed(f"{name} labels", "", text)
        try:
            created = await ask(lambda: self._client.create(NODES, node), self._client.health)
        except AlreadyExists:
            self._check_known(name)
            await self._registered(name, about.namespace, exists=True)
            raise
        log.info("node %s: registered", name)
        await self._registered(name, about.namespace, exists=False)
        return await self._present.state_of(NODE, created)

    async def register_if_absent(self, question: Message, about: ObjectResource) -> str:
        """Create the Node of an edge before 1.12, which takes one that exists as its own."""
        with suppress(AlreadyExists):
            await self.register(question, about)
        return OK

    async def patch(self, question: Message, about: ObjectResource) -> Object:
        """Patch the status of a Node, as its kubelet asks for."""
        name = own_node(about)
        patch = read_patch(question)
        check_node_patch(patch)
        written = await ask(
            lambda: self._patch(name, patch, subresource=_STATUS), self._client.health
        )
        return await self._present.state_of(NODE, written)

    async def write_status(self, messages: list[Message]) -> None:
        """Write the latest of a node's statuses, and acknowledge those it has replaced too.

        Without a Node the answer is an error, which an edge of v1.1 ignores and a hollow one shows.
        """
        message = messages[-1]
        name = own_node(message_resource.parse(message.resource))
        request = read_node_status(message)
        node = self._state.nodes.get(("", name))
        patch = nodestatus.status_patch(request, node, times.now(), self._update_frequency)
        try:
            written = await retry_briefly(
                lambda: self._patch(name, patch, subresource=_STATUS), self._client.health
            )
        except NotFound:
            what = f"node {name}: connected, but the Kubernetes API has no node of that name"
            self._unknown.failed(name, "", f"{what}; {_create(name)}")
            text = f"there is no Node {name} in the cluster: {_create(name)}"
            await self._answers.error(message, text)
            return
        text = f"node {name}: exists in the Kubernetes API now, its status is written"
        self._unknown.worked(name, text)
        for each in messages:
            await self._answers.acknowledge(each, version_of(written))

    def _check_known(self, name: str) -> None:
        """Log that an edge is sent nothing, since its Node lacks the label of edge nodes."""
        if ("", name) not in self._state.nodes:
            text = (
                f"node {name}: exists in the Kubernetes API, but not as an edge node; "
                f"give it the label: kubectl label node {name} {EDGE_LABEL}="
            )
            self._trouble.failed(f"{name} unlabelled", "", text)

    async def update(self, messages: list[Message]) -> None:
        """Merge the annotations that an edge has put on its node, and labels if it may."""
        for message in messages:
            name = own_node(message_resource.parse(message.resource))
            metadata = read_node_update(message).metadata
            changed = {"annotations": metadata.annotations, "labels": None}
            if metadata.labels and self._answers.expects_errors(name):
                changed["labels"] = await self._changed_labels(name, metadata.labels)
            patch = {"metadata": {key: value for key, value in changed.items() if value}}
            version = version_of(await self._merge(name, patch)) if patch["metadata"] else ""
            await self._answers.acknowledge(message, version)

    async def _changed_labels(self, name: str, labels: dict[str, str]) -> dict[str, str]:
        """Return the labels that differ from the Node's; raises Denied if it may not change them.

        An edge from 1.2 on sends the whole Node.
        """
        found = await retry_briefly(lambda: self._client.get(NODES, name), self._client.health)
        before = usable(NODES, found)["metadata"].get("labels") or {}
        changed = {key: value for key, value in labels.items() if before.get(key) != value}
        check_labels(changed)
        return changed

    async def _merge(self, name: str, patch: Object) -> Object:
        return await retry_briefly(
            lambda: self._patch(name, patch, type="merge"), self._client.health
        )

    async def _patch(self, name: str, patch: Object, **form: Any) -> Object:
        known = self._state.nodes.get(("", name))
        return await self._reports.patch(name, NODES, name, patch, known=known, **form)


def _create(node: str) -> str:
    labels = f'{{"{EDGE_LABEL}": ""}}'
    manifest = (
        '{"apiVersion": "v1", "kind": "Node", '
        f'"metadata": {{"name": "{node}", "labels": {labels}}}}}'
    )
    return f"create it, with the label of edge nodes: echo '{manifest}' | kubectl create -f -"
