"""The metamanager of an edge: stores what the cloud pushes, asks the cloud, and acknowledges.

After edge/pkg/metamanager/process.go and edge/pkg/edgehub/messagehandler/handler_meta.go. A message
with a parent id goes to the call that waits for it, and is dropped if there is none; the others are
pushes. What edged sends as patches is not kept: nothing reads it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

import msgspec

from ipc import Message
from modules.hollow.events import Emit
from modules.hollow.link import Link
from modules.hollow.store import Store, split

OK: Final = "OK"

#: The sender of devices and their models, which are not for edged.
_DEVICES: Final = "devicecontroller"

#: The senders whose updates an edge acknowledges.
_UPDATERS: Final = ("edgecontroller", "dynamiccontroller", "devicecontroller", "policycontroller")

OnPush = Callable[[str, str, dict[str, Any]], None]
"""Called with operation (insert, update, delete), key and object of a pushed pod."""

OnDevice = Callable[[str, str, Any], None]
"""Called with operation, key and content of a message about a device or a model."""

OnAnswer = Callable[[Message], None]


class RequestError(Exception):
    """A question to the cloud was not answered, or with an error."""


class NotConnected(RequestError):
    """The edge takes itself for disconnected: nothing was sent."""


class MetaManager:
    """What one edge does with messages about objects."""

    def __init__(self, link: Link, store: Store, emit: Emit, timeout: float) -> None:
        self.store = store
        self._link = link
        self._emit = emit
        self._timeout = timeout
        #: By the question's id.
        self._waiting: dict[str, tuple[OnAnswer, asyncio.Future[Message]]] = {}
        self._listeners: list[OnPush] = []
        self._device_listeners: list[OnDevice] = []

    def subscribe(self, listener: OnPush) -> None:
        self._listeners.append(listener)

    def subscribe_devices(self, listener: OnDevice) -> None:
        self._device_listeners.append(listener)

    def handle(self, message: Message) -> None:
        """Handle a message of group `resource` from the cloud."""
        if message.parent_id:
            self._answered(message)
            return
        match message.operation:
            case "insert" | "response":
                self._stored(message)
            case "update":
                self._stored(message, acknowledge=message.source in _UPDATERS)
            case "delete":
                self._deleted(message)
            case _:
                self._emit("ignored", message.resource, f"operation {message.operation}")

    async def ask(
        self,
        operation: str,
        resource: str,
        content: Any = None,
        *,
        on_answer: OnAnswer = lambda _: None,
    ) -> Message:
        """Send a question, and return its answer; `on_answer` sees it before any later message.

        Raises RequestError if the edge is not connected, or there is no answer in time.
        """
        if not self._link.up:
            raise NotConnected(f"cannot {operation} {resource}: not connected")
        question = Message.build("edged", "meta", operation, resource, content)
        answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._waiting[question.id] = on_answer, answer
        self._link.send(question)
        try:
            async with asyncio.timeout(self._timeout):
                return await answer
        except TimeoutError:
            raise RequestError(
                f"cannot {operation} {resource}: no answer within {self._timeout:g} s"
            ) from None
        finally:
            del self._waiting[question.id]

    async def remote(
        self, operation: str, resource: str, content: Any = None, *, key: str = ""
    ) -> Message:
        """Send a question as `ask`; store its answer as `key` (or `resource`), and acknowledge it.

        "OK", an error, and an ObjectResp with Err are not stored.
        """

        def store(answer: Message) -> None:
            value = value_of(answer)
            if is_object_response(value):
                if value["Err"] is None:
                    self.store.put(key or resource, value["Object"])
            elif answer.operation == "response" and value != OK:
                self.store.put(key or resource, value)
            self._link.send(answer.response(OK))

        return await self.ask(operation, resource, content, on_answer=store)

    async def patch(self, resource: str, key: str, content: str) -> Message:
        """Send a patch as `ask`, and store the object in its answer as `key`."""

        def store(answer: Message) -> None:
            value = value_of(answer)
            if is_object_response(value) and not value["Err"] and value["Object"]:
                self.store.put(key, value["Object"])

        return await self.ask("patch", resource, content, on_answer=store)

    def tell(self, message: Message) -> None:
        """Send a message that has no answer."""
        if self._link.up:
            self._link.send(message)

    def _answered(self, message: Message) -> None:
        on_answer, answer = self._waiting.get(message.parent_id, (None, None))
        if on_answer is None or answer is None or answer.done():
            self._emit("unasked", message.resource, f"answer to {message.parent_id}")
            return
        on_answer(message)
        answer.set_result(message)

    def _stored(self, message: Message, *, acknowledge: bool = True) -> None:
        key, value = message.resource, value_of(message)
        operation = "update" if key in self.store.objects else "insert"
        self.store.put(key, value)
        self._pushed(operation, key, value)
        self._tell_devicetwin(message, value)
        if acknowledge:
            self._acknowledge(message)
        else:
            self._emit("ignored", key, f"an update from {message.source}")

    def _deleted(self, message: Message) -> None:
        """Delete an object; a stored pod with another uid than the message's one stays."""
        key, value = message.resource, value_of(message)
        known = self.store.get(key)
        if split(key)[1] != "pod" or _uid(known) == _uid(value):
            self.store.remove(key)
            self._pushed("delete", key, known or {})
        self._tell_devicetwin(message, value)
        self._acknowledge(message)

    def _tell_devicetwin(self, message: Message, value: Any) -> None:
        if message.source == _DEVICES:
            for listener in self._device_listeners:
                listener(message.operation, message.resource, value)

    def _acknowledge(self, message: Message) -> None:
        """Acknowledge an object; an insert of a device has been sent on to devicetwin by then."""
        if message.source == _DEVICES and message.operation == "insert":
            self._link.send(message.response(OK, source="meta", group="twin"))
        else:
            self._link.send(message.response(OK))

    def _pushed(self, operation: str, key: str, value: Any) -> None:
        self._emit(operation, key, "")
        if split(key)[1] == "pod" and isinstance(value, dict):
            for listener in self._listeners:
                listener(operation, key, value)


def value_of(message: Message) -> Any:
    """Return a message's content as a Python object; text that is no JSON as it is."""
    if not isinstance(message.content, bytes):
        return message.content
    try:
        return msgspec.json.decode(message.content)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return message.content.decode(errors="replace")


def is_object_response(value: Any) -> bool:
    """Whether the value is an ObjectResp, in which the cloud answers a write."""
    return isinstance(value, dict) and "Object" in value and "Err" in value


def _uid(value: Any) -> str:
    metadata = value.get("metadata") if isinstance(value, dict) else None
    return str(metadata.get("uid", "")) if isinstance(metadata, dict) else ""
