"""The leases of edge nodes, which kubelets renew every 10 s."""

from __future__ import annotations

from ipc import Message
from modules.common.kube import LEASES, KubeClient, Object
from modules.common.message_resource import ObjectResource
from modules.edgecontroller.upstream.authorization import check_own_lease
from modules.edgecontroller.upstream.calls import ask
from modules.edgecontroller.upstream.content import read_object


class LeaseKeeper:
    """Reads and writes the lease of a node; a Conflict is its kubelet's to resolve."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client

    async def get(self, _: Message, about: ObjectResource) -> Object:
        """Return the node's own lease."""
        check_own_lease(about)
        return await ask(
            lambda: self._client.get(LEASES, about.name, about.namespace), self._client.health
        )

    async def create(self, question: Message, about: ObjectResource) -> Object:
        """Create the node's own lease; one that exists is for the kubelet to resolve."""
        check_own_lease(about)
        lease = read_object(question, about, LEASES)
        return await ask(
            lambda: self._client.create(LEASES, lease, about.namespace), self._client.health
        )

    async def replace(self, question: Message, about: ObjectResource) -> Object:
        """Replace the node's own lease; a Conflict is for the kubelet to resolve."""
        check_own_lease(about)
        lease = read_object(question, about, LEASES)
        return await ask(
            lambda: self._client.replace(LEASES, lease, about.namespace), self._client.health
        )
