"""What edges write about the pods on their nodes: status, and the end of their deletion."""

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
    Invalid,
    KubeClient,
    NotFound,
    Object,
    key_of,
    reference,
)
from modules.common.log_limit import LogLimit
from modules.common.message_resource import ObjectResource
from modules.edgecontroller.cloudhub_client import CloudHubClient
from modules.edgecontroller.downstream.state import State
from modules.edgecontroller.messages import DELETE, OK, POD, change
from modules.edgecontroller.objects import placeholder_pod, uid_of, usable
from modules.edgecontroller.upstream import podstatus
from modules.edgecontroller.upstream.authorization import Rights, may_report
from modules.edgecontroller.upstream.calls import ask
from modules.edgecontroller.upstream.content import (
    PodStatusRequest,
    check_pod_status,
    read_deletion,
    read_object,
    read_patch,
)
from modules.edgecontroller.upstream.message_queue import retry_briefly
from modules.edgecontroller.upstream.present import Present
from modules.edgecontroller.upstream.report_patches import ReportPatcher
from modules.edgecontroller.upstream.restriction import check_mirror, check_pod_patch

_STATUS: Final = "status"

log = logging.getLogger(__name__)


class PodWriter:
    """Writes pod status; a pod that the API does not have on that node is deleted there."""

    def __init__(
        self,
        client: KubeClient,
        reports: ReportPatcher,
        cloudhub: CloudHubClient,
        state: State,
        rights: Rights,
    ) -> None:
        self._client = client
        self._reports = reports
        self._rights = rights
        self._cloudhub = cloudhub
        self._state = state
        self._present = Present(client, state)
        self._log = LogLimit(log)

    async def create_mirror(self, question: Message, about: ObjectResource) -> Object:
        """Create the mirror of a static pod, which shows it in the API."""
        pod = read_object(question, about, PODS)
        check_mirror(pod, about.node, await self._uid_of_node(about.node))
        made = await ask(
            lambda: self._client.create(PODS, pod, about.namespace), self._client.health
        )
        return await self._present.state_of(POD, made)

    async def patch(self, question: Message, about: ObjectResource) -> Object:
        """Patch the status of a pod, as the kubelet asks for, if it is still the same pod."""
        patch = read_patch(question)
        check_pod_patch(patch)
        metadata = patch.setdefault("metadata", {})
        pod = await self._rights.own_pod(about, metadata.get("uid") or "")
        metadata.setdefault("uid", uid_of(pod))
        written = await ask(
            lambda: self._patch(about.node, about.name, patch, about.namespace, pod),
            self._client.health,
        )
        return await self._present.state_of(POD, written)

    async def delete(self, question: Message, about: ObjectResource) -> str:
        """Delete a pod that has ended; return OK, also if it is gone or another pod by now."""
        options = read_deletion(question)
        try:
            pod = await self._rights.own_pod(about, options.uid)
            if options.uid in ("", uid_of(pod)):
                await ask(
                    lambda: self._client.delete(
                        PODS,
                        about.name,
                        about.namespace,
                        grace_period=options.grace_period_seconds,
                        uid=uid_of(pod),
                    ),
                    self._client.health,
                )
        except (NotFound, Conflict):
            log.debug("pod %s/%s: already deleted", about.namespace, about.name)
        return OK

    async def write_status(self, messages: list[Message]) -> None:
        """Write the latest of a pod's statuses, and complete the pod's deletion if it has ended."""
        message = messages[-1]
        about = message_resource.parse(message.resource)
        reported: PodStatusRequest = message.content
        await self._state.pods_known(about.node)
        pod = self._known(about, reported.uid) or await self._read(about)
        if pod is None or not may_report(about.node, pod):
            await self._remove_from_node(about)
        elif reported.uid and reported.uid != uid_of(pod):
            text = f"{message.resource}: status of an earlier pod of that name dropped"
            self._log.put(about.node, logging.INFO, text)
        else:
            await self._write(about, pod, reported)

    async def _uid_of_node(self, name: str) -> str:
        node = self._state.nodes.get(("", name))
        if node is None:
            found = await ask(lambda: self._client.get(NODES, name), self._client.health)
            node = usable(NODES, found)
        return uid_of(node)

    async def _write(self, about: ObjectResource, pod: Object, reported: PodStatusRequest) -> None:
        namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
        check_pod_status(reported)
        patch = podstatus.status_patch(pod, reported.status, times.now())
        # Another pod of that name, maybe on another node, must not get this status.
        uid = uid_of(pod)
        if uid:
            patch["metadata"] = {"uid": uid}

        async def attempt() -> Object | None:
            try:
                return await self._patch(about.node, name, patch, namespace, pod)
            except (Conflict, Invalid):  # kube-apiserver: the uid in a patch is a field
                found = await self._client.get(PODS, name, namespace)
                if reference(PODS, found).get("uid", "") == uid:
                    raise  # to be retried
                return None

        try:
            written = await retry_briefly(attempt, self._client.health)
        except NotFound:
            written = None
        if written is None:
            await self._remove_from_node(about, uid)
            return
        # Even with a malformed spec it is deleted when its containers have terminated.
        written.pop("spec", None)
        if podstatus.deletion_complete(usable(PODS, written)):
            deletion = partial(delete_pod, self._client, written)
            await retry_briefly(deletion, self._client.health)

    async def _patch(
        self, node: str, name: str, patch: Object, namespace: str, known: Object
    ) -> Object:
        return await self._reports.patch(
            node,
            PODS,
            name,
            patch,
            namespace,
            known=known,
            is_first=not podstatus.is_reported(known),
            subresource=_STATUS,
        )

    def _known(self, about: ObjectResource, uid: str) -> Object | None:
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

    async def _read(self, about: ObjectResource) -> Object | None:
        """Return a pod from the API that is not in the cache, which may lag behind."""
        try:
            found = await retry_briefly(
                lambda: self._client.get(PODS, about.name, about.namespace), self._client.health
            )
        except NotFound:
            return None
        return usable(PODS, found)

    async def _remove_from_node(self, about: ObjectResource, uid: str = "") -> None:
        """Have a node delete a pod that it is not to have; `uid` is that of the pod, if known."""
        now = self._state.stores[POD].get((about.namespace, about.name))
        if now is not None and uid_of(now) != uid and may_report(about.node, now):
            return  # it has come meanwhile, and the node has been sent it: it would delete that one
        text = f"pod {about.namespace}/{about.name}: not bound to node {about.node}, deleted there"
        self._log.put(about.node, logging.INFO, text)
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
