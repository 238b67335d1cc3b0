"""Kubernetes Events that the kubelets of edges write (edged.reportEvent)."""

from __future__ import annotations

from typing import Final

from ipc import Message
from modules.common.kube import EVENTS, BadObject, KubeClient, Object
from modules.common.message_resource import ObjectResource
from modules.edgecontroller.upstream.authorization import Denied, Rights
from modules.edgecontroller.upstream.calls import ask
from modules.edgecontroller.upstream.content import listed, read_event_patch, read_object

#: Limit of an event, in bytes; a kubelet's have 1 kB.
_LARGEST: Final = 16 * 1024

#: What a kubelet changes of an event that it has written before (tools/record/events_cache.go).
_REPEATED: Final = frozenset({"count", "firstTimestamp", "lastTimestamp", "message"})


class EventWriter:
    """Writes events of nodes about themselves and their pods."""

    def __init__(self, client: KubeClient, rights: Rights) -> None:
        self._client = client
        self._rights = rights

    async def create(self, message: Message, about: ObjectResource) -> None:
        """Create an event about the node or one of its pods."""
        event = await self._event(message, about)
        await ask(lambda: self._client.create(EVENTS, event, about.namespace), self._client.health)

    async def replace(self, message: Message, about: ObjectResource) -> None:
        """Replace such an event of the node's."""
        event = await self._event(message, about)
        await self._check_present(about)
        await ask(lambda: self._client.replace(EVENTS, event, about.namespace), self._client.health)

    async def patch(self, message: Message, about: ObjectResource) -> None:
        """Count a repetition of such an event of the node's."""
        _check_size(message)
        patch = read_event_patch(message)
        if others := patch.keys() - _REPEATED:
            raise Denied(f"a node may not change {listed(others)} of an event")
        await self._check_present(about)
        await ask(
            lambda: self._client.patch(
                EVENTS, about.name, patch, about.namespace, type="strategic"
            ),
            self._client.health,
        )

    async def _event(self, message: Message, about: ObjectResource) -> Object:
        _check_size(message)
        event = read_object(message, about, EVENTS)
        await self._rights.check_event(about, event)
        return event

    async def _check_present(self, about: ObjectResource) -> None:
        """Raise Denied if there is an event of that name that is none of the node's."""
        present = await ask(
            lambda: self._client.get(EVENTS, about.name, about.namespace), self._client.health
        )
        await self._rights.check_event(about, present)


def _check_size(message: Message) -> None:
    size = len(message.content) if isinstance(message.content, bytes | str) else 0
    if size > _LARGEST:
        raise BadObject("", f"it has {size} bytes; an event has up to {_LARGEST}")
