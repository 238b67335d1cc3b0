"""The metaManager of an edge: stores the cloud's objects, answers OK, queries missing ones.

After edge/pkg/metamanager/msg_processor.go. As there, an insert does not replace a stored object,
and is answered with OK nevertheless.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

from ipc import Message
from modules.hollow.events import Emit
from modules.hollow.store import Store, split

LISTS: Final = {"servicelist": "service", "endpointslist": "endpoints"}

OnChange = Callable[[str, str, dict[str, Any]], None]
"""Called with operation (insert, update, delete), key and object after the store changed."""


class MetaManager:
    """What one edge does with messages about objects."""

    def __init__(
        self, send: Callable[[Message], None], store: Store, emit: Emit, query_timeout: float
    ) -> None:
        self.store = store
        self.acknowledged = 0  # answers OK of the cloud to status reports
        self._send = send
        self._emit = emit
        self._query_timeout = query_timeout
        self._listeners: list[OnChange] = []
        self._refused: set[str] = set()
        self._queries: dict[str, str] = {}  # id of the question -> key it asks for

    def subscribe(self, listener: OnChange) -> None:
        self._listeners.append(listener)

    def handle(self, message: Message) -> None:
        """Handle a message of group `resource` from the cloud."""
        match message.operation:
            case "insert" | "update":
                self._store(message)
            case "delete":
                value = self.store.remove(message.resource)
                self._changed("delete", message.resource, value or {})
                self._answer(message)
            case "response" | "error":
                self._response(message)
            case _:
                self._emit("ignored", message.resource, f"operation {message.operation}")

    def query(self, key: str) -> None:
        """Query an object from the cloud, unless it is stored or the query is in flight."""
        if key in self.store.objects or key in self._queries.values():
            return
        question = Message.build("edged", "meta", "query", key)
        self._queries[question.id] = key
        asyncio.get_running_loop().call_later(
            self._query_timeout, self._queries.pop, question.id, None
        )
        self._emit("query", key, "")
        self._send(question)

    def _store(self, message: Message) -> None:
        try:
            value = msgspec.json.decode(message.content)
            found = dict(_items(message.resource, value))
        except (msgspec.DecodeError, UnicodeDecodeError, TypeError, KeyError) as error:
            self._emit("unreadable", message.resource, f"{type(error).__name__}: {error}")
            self._send(message.error(f"Error to unmarshal: {error}", source="metaManager"))
            return
        for key, item in found.items():
            if message.operation == "insert" and key in self.store.objects:
                self._emit("kept", key, "already stored; an insert does not replace it")
                continue
            operation = "update" if key in self.store.objects else "insert"
            self.store.put(key, item)
            self._changed(operation, key, item)
        if not found:
            self._emit(message.operation, message.resource, "nothing in it")
        self._answer(message)

    def _response(self, message: Message) -> None:
        key = self._queries.pop(message.parent_id, None)
        if message.content == b"OK":
            self.acknowledged += 1
            self._refused.clear()
            return
        if message.operation == "error" and key is None:
            self._refusal(message)
            return
        if key is None:
            self._emit("unasked", message.resource, f"answer to {message.parent_id or 'nothing'}")
            return
        if message.operation == "error":
            self._emit("query failed", key, message.content.decode(errors="replace"))
            return
        try:
            value = msgspec.json.decode(message.content)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            self._emit("query failed", key, f"unreadable answer: {error}")
            return
        if not value:
            self._emit("query failed", key, "empty answer")
            return
        self.store.put(key, value)
        self._changed("insert", key, value)

    def _refusal(self, message: Message) -> None:
        """Emit why the cloud refuses a report: each reason once, until a report is accepted."""
        text = message.content.decode(errors="replace")
        if text not in self._refused:
            self._refused.add(text)
            self._emit("refused", message.resource, text)

    def _answer(self, message: Message) -> None:
        self._send(message.response("OK"))

    def _changed(self, operation: str, key: str, value: dict[str, Any]) -> None:
        self._emit(operation, key, "")
        for listener in self._listeners:
            listener(operation, key, value)


def _items(resource: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield key and object of each object in a message; a podlist is stored as one object."""
    kind = LISTS.get(split(resource)[1])
    if kind is None:
        yield resource, value
        return
    for item in value or ():
        metadata = item["metadata"]
        yield f"{metadata.get('namespace', '')}/{kind}/{metadata['name']}", item
