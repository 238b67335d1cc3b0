"""Writing reports of edges to the API: node status, node annotations, pod status."""

from __future__ import annotations

import logging
from functools import partial
from typing import Final

from ipc import Message
from modules.common import message_resource, times
from modules.common.kube import (
    NODES,
    PODS,
    Conflict,
    KubeClient,
    NotFound,
    Object,
    key_of,
    reference,
)
from modules.edgecontroller.cloudhub_client import CloudHubClient
from modules.edgecontroller.downstream.state import State
from modules.edgecontroller.messages import (
    DELETE,
    GROUP,
    NODE,
    OK,
    POD,
    SOURCE,
    answer,
    change,
)
from modules.edgecontroller.objects import placeholder_pod, uid_of, usable
from modules.edgecontroller.upstream import nodestatus, podstatus
from modules.edgecontroller.upstream.authorization import (
    may_report,
    own_node,
)
from modules.edgecontroller.upstream.content import (
    PodStatusRequest,
    check_pod_status,
    read_node_status,
    read_node_update,
)
from modules.edgecontroller.upstream.message_queue import retry_briefly

_STATUS: Final = "status"

log = logging.getLogger(__name__)


class NodeWriter:
    """Writes node status and annotations, and acknowledges each with OK afterwards."""

    def __init__(
        self, client: KubeClient, cloudhub: CloudHubClient, state: State, update_frequency: float
    ) -> None:
        self._client = client
        self._cloudhub = cloudhub
        self._state = state
        self._update_frequency = update_frequency
        self._unknown: set[str] = set()

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
            await retry_briefly(
                lambda: self._client.patch(
                    NODES, name, patch, type="strategic", subresource=_STATUS
                ),
                self._client.health,
            )
        except NotFound:
            self._log_unknown(name)
            text = f"there is no Node {name} in the cluster: {_create(name)}"
            await self._cloudhub.send(message.error(text, source=SOURCE, group=GROUP))
            return
        if name in self._unknown:
            self._unknown.discard(name)
            log.info("node %s: exists in the Kubernetes API now, its status is written", name)
        for written in messages:
            await self._answer(written)

    def _log_unknown(self, name: str) -> None:
        """Log once that a node reports without a Node object: it does so every 10 s."""
        if name not in self._unknown:
            self._unknown.add(name)
            log.warning(
                "node %s: connected, but the Kubernetes API has no node of that name; %s",
                name,
                _create(name),
            )

    async def write_annotations(self, messages: list[Message]) -> None:
        """Merge the annotations that an edge has put on its node."""
        for message in messages:
            name = own_node(message_resource.parse(message.resource))
            annotations = read_node_update(message).metadata.annotations
            if annotations:
                await self._annotate(name, annotations)
            await self._answer(message)

    async def _annotate(self, name: str, annotations: dict[str, str]) -> None:
        patch = {"metadata": {"annotations": annotations}}
        await retry_briefly(lambda: self._client.patch(NODES, name, patch), self._client.health)

    async def _answer(self, message: Message) -> None:
        about = message_resource.parse(message.resource)
        resource = message_resource.build(about.node, about.namespace, NODE, about.name)
        await self._cloudhub.send(answer(message, resource, OK))


def _create(node: str) -> str:
    labels = '{"node-role.kubernetes.io/edge": ""}'
    manifest = (
        '{"apiVersion": "v1", "kind": "Node", '
        f'"metadata": {{"name": "{node}", "labels": {labels}}}}}'
    )
    return f"create it, with the label of edge nodes: echo '{manifest}' | kubectl create -f -"


class PodWriter:
    """Writes pod status; a pod that the API does not have on that node is deleted there."""

    def __init__(self, client: KubeClient, cloudhub: CloudHubClient, state: State) -> None:
        self._client = client
        self._cloudhub = cloudhub
        self._state = state

    async def write_status(self, messages: list[Message]) -> None:
        """Write the latest of a pod's statuses, and complete the pod's deletion if it has ended."""
        message = messages[-1]
        about = message_resource.parse(message.resource)
        reported: PodStatusRequest = message.content
        pod = self._known(about, reported.uid) or await self._read(about)
        if pod is None or not may_report(about.node, pod):
            await self._remove_from_node(about)
        elif reported.uid and reported.uid != uid_of(pod):
            log.info("%s: status of an earlier pod of that name dropped", message.resource)
        else:
            await self._write(about, pod, reported)

    async def _write(
        self, about: message_resource.ObjectResource, pod: Object, reported: PodStatusRequest
    ) -> None:
        namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
        check_pod_status(reported)
        patch = podstatus.status_patch(pod, reported.status, times.now())
        # Another pod of that name, maybe on another node, must not get this status.
        uid = uid_of(pod)
        if uid:
            patch["metadata"] = {"uid": uid}

        async def attempt() -> Object | None:
            try:
                return await self._client.patch(
                    PODS, name, patch, namespace, type="strategic", subresource=_STATUS
                )
            except Conflict:
                found = await self._client.get(PODS, name, namespace)
                if reference(PODS, found).get("uid", "") == uid:
                    raise  # to be retried
                return None

        try:
            written = await retry_briefly(attempt, self._client.health)
        except NotFound:
            written = None
        if written is None:
            await self._remove_from_node(about)
            return
        # Even with a malformed spec it is deleted when its containers have terminated.
        written.pop("spec", None)
        if podstatus.deletion_complete(usable(PODS, written)):
            deletion = partial(delete_pod, self._client, written)
            await retry_briefly(deletion, self._client.health)

    def _known(self, about: message_resource.ObjectResource, uid: str) -> Object | None:
        """Return the pod from the cache.

        An edge's list of all statuses names one namespace, whatever those of the pods are, so the
        uid identifies the pod.
        """
        pods = self._state.stores[POD]
        pod = pods.get((about.namespace, about.name))
        if pod is not None or not uid:
            return pod
        on_node = (pods.get(key) for key in self._state.locations.pods_on(about.node))
        return next((pod for pod in on_node if pod and uid_of(pod) == uid), None)

    async def _read(self, about: message_resource.ObjectResource) -> Object | None:
        """Return a pod from the API that is not in the cache, which may lag behind."""
        try:
            found = await retry_briefly(
                lambda: self._client.get(PODS, about.name, about.namespace), self._client.health
            )
        except NotFound:
            return None
        return usable(PODS, found)

    async def _remove_from_node(self, about: message_resource.ObjectResource) -> None:
        log.info(
            "pod %s/%s: not bound to node %s, deleted there",
            about.namespace,
            about.name,
            about.node,
        )
        resource = message_resource.build(about.node, about.namespace, POD, about.name)
        content = placeholder_pod(about.namespace, about.name)
        await self._cloudhub.send(change(DELETE, resource, content))


async def delete_pod(client: KubeClient, pod: Object) -> None:
    """Delete a pod that has terminated on its node from the API, without a grace period."""
    namespace, name = key_of(pod)
    try:
        await client.delete(PODS, name, namespace, grace_period=0, uid=uid_of(pod))
    except (NotFound, Conflict):
        log.debug("pod %s/%s: already deleted", namespace, name)
