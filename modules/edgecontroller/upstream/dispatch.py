"""Sorting what comes from cloudhub: to a lane by its kind, in order by its object."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import msgspec

from ipc import Closed, Message
from ipc.message import OP_ERROR
from modules.common import message_resource
from modules.common.failure_log import FailureLog
from modules.common.kube import NODES, Forbidden, KubeError, SetAside, Subject, reference
from modules.edgecontroller import messages
from modules.edgecontroller.config import EdgeControllerConfig
from modules.edgecontroller.downstream.due import Target
from modules.edgecontroller.downstream.node_updates import Delivery as Downward
from modules.edgecontroller.downstream.nodes import NodeConcern
from modules.edgecontroller.messages import (
    CLOUDHUB,
    CONNECTED,
    DISCONNECTED,
    REFUSED,
    RESPONSE,
    UPDATE,
)
from modules.edgecontroller.upstream.authorization import Denied
from modules.edgecontroller.upstream.content import BadContent, read_pod_statuses, text_of
from modules.edgecontroller.upstream.denials import Denials
from modules.edgecontroller.upstream.keyed_queue import (
    Delivery,
    Handler,
    Lane,
)
from modules.edgecontroller.upstream.queries import ASKED_FOR, QueryAnswerer
from modules.edgecontroller.upstream.writes import NodeWriter, PodWriter

log = logging.getLogger(__name__)

#: Characters of an operation or a resource that are repeated.
_LONGEST = 300


@dataclass(frozen=True)
class Handlers:
    """Who serves the messages."""

    nodes: NodeWriter
    pods: PodWriter
    queries: QueryAnswerer
    denials: Denials


class Upstream:
    """Takes messages and gives each to the lane of its kind.

    A message is done, and so out of the channel, when its lane has handled it: what is being
    handled when the process dies is handled by its successor.
    """

    def __init__(
        self,
        handlers: Handlers,
        concern: NodeConcern,
        downward: Downward,
        config: EdgeControllerConfig,
        set_aside: SetAside,
        *,
        on_report: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Set up; `on_report` gets the name of a node that connects, or sends its status."""
        self._set_aside = set_aside
        self._on_report = on_report
        self._denials = handlers.denials
        self._concern = concern
        self._downward = downward
        nodes, pods, queries = handlers.nodes, handlers.pods, handlers.queries
        workers = config.workers
        self._node_status = Lane(
            self._isolated(nodes.write_status), workers.update_node_status, latest_only=True
        )
        self._pod_status = Lane(
            self._isolated(pods.write_status), workers.update_pod_status, latest_only=True
        )
        self._node_update = Lane(self._isolated(nodes.write_annotations), workers.update_node)
        self._query = Lane(self._isolated(queries.answer), workers.query)
        self.lanes = {
            messages.NODE_STATUS: self._node_status,
            messages.POD_STATUS: self._pod_status,
            messages.NODE: self._node_update,
            messages.QUERY: self._query,
        }
        """by what they are for"""
        self._max_pending = config.max_pending
        self._has_room = asyncio.Event()
        self.pending = 0

    @property
    def handled(self) -> int:
        return sum(lane.handled for lane in self.lanes.values())

    async def run(self, take: Callable[[], Awaitable[Delivery]]) -> None:
        """Dispatch until cancelled, while lanes hold no more than `max_pending` messages.

        When the module is asked to stop nothing more is taken, but what is held goes on.
        """
        async with asyncio.TaskGroup() as tasks:
            for lane in self.lanes.values():
                tasks.create_task(lane.run())
            with suppress(Closed):
                while True:
                    while self.pending >= self._max_pending:
                        self._has_room.clear()
                        await self._has_room.wait()
                    self.dispatch(await take())

    def let_go(self) -> None:
        """Make room for one more message."""
        self.pending -= 1
        self._has_room.set()

    def dispatch(self, delivery: Delivery) -> None:
        """Give a message to its lane; one that is for none is set aside and done."""
        taken = False
        with self._isolating(delivery.message):
            taken = self._route(delivery)
        if not taken:
            delivery.done()

    @contextmanager
    def _isolating(self, message: Message) -> Iterator[None]:
        """Set a message aside if anything is raised by working on it."""
        try:
            yield
        except Exception as error:
            if isinstance(error, KubeError) and error.retriable:
                raise  # for the lane to try again
            self._set_aside.put(self._subject(message), error)

    def _used(self, message: Message) -> None:
        """Take note that a message was handled, of whose kind one may have been set aside."""
        if self._set_aside.count:
            self._set_aside.end(self._subject(message), used=True)

    def _subject(self, message: Message) -> Subject:
        """Name what a message is about: the same fault is told once, on the node it comes from."""
        node = self._concern.find(message.resource)
        name = f"message {message.operation[:_LONGEST]!r} {message.resource[:_LONGEST]!r}"
        return Subject("message", name, node and reference(NODES, node), f"cannot use {name}")

    def _isolated(self, handle: Handler) -> Handler:
        """Let a message that cannot be handled be set aside, and others go on.

        A right that cloudcore lacks is no fault of a message: it is one log line for all.
        """
        failures = FailureLog(log)

        async def isolated(batch: list[Message]) -> None:
            with self._isolating(batch[-1]):
                try:
                    await handle(batch)
                except Denied as denied:
                    await self._denials.answer(batch[-1], denied)
                except Forbidden as error:
                    failures.failed("", "", f"{batch[-1].resource}: {error}; {error.hint}")
                else:
                    failures.worked("")
                    self._used(batch[-1])

        return isolated

    def _route(self, delivery: Delivery) -> bool:
        """Return whether a lane has taken the message and will call it done."""
        message = delivery.message
        if message.operation in (CONNECTED, DISCONNECTED, REFUSED):
            self._connection(message)
            return False
        about = message_resource.parse(message.resource)
        self._concern.heard_from(about.node)
        if message.operation in (RESPONSE, OP_ERROR):
            self._answer(message, Target(about.node, about.type, about.namespace, about.name))
            return False
        if about.type == messages.POD_STATUS and message.operation == UPDATE:
            return self._split(delivery, about)
        lane = self._lane(about.type, message.operation)
        if lane is None or not about.name:
            raise BadContent("it is nothing an edge can ask for")
        if about.type == messages.NODE_STATUS:
            self._on_report(about.node)
        # By node too: what one says of another node's status, in vain, takes the place of none.
        lane.put(about, _Held(delivery, self))
        return True

    def _lane(self, type_: str, operation: str) -> Lane | None:
        if operation == messages.QUERY:
            return self._query if type_ in ASKED_FOR else None
        if operation == UPDATE:
            return {
                messages.NODE_STATUS: self._node_status,
                messages.NODE: self._node_update,
            }.get(type_)
        return None

    def _connection(self, message: Message) -> None:
        node = message_resource.node_of(message.resource)
        if message.source != CLOUDHUB or message.resource != f"{message_resource.NODE}/{node}":
            raise BadContent("it is for cloudhub to say")
        if message.operation == CONNECTED:
            self._on_report(node)
            self._concern.connected(node)
        elif message.operation == DISCONNECTED:
            self._concern.disconnected(node)
        else:
            self._concern.refused(node, text_of(message))

    def _answer(self, message: Message, target: Target) -> None:
        if message.operation == RESPONSE:
            self._downward.acknowledged(target, message.parent_id)
        else:
            self._downward.refused(target, message.parent_id, text_of(message))

    def _split(self, delivery: Delivery, about: message_resource.ObjectResource) -> bool:
        """Put each status of a list into the lane of its own pod, behind that pod's others."""
        split = list(self._statuses(delivery.message, about))
        if not split:
            return False
        parts = _Parts(_Held(delivery, self), len(split))
        for key, part in split:
            self._pod_status.put(key, _Part(part, parts))
        return True

    def _statuses(
        self, message: Message, about: message_resource.ObjectResource
    ) -> Iterator[tuple[Hashable, Message]]:
        """Give each status of a message one of its own, with its pod."""
        for status in read_pod_statuses(message, one=bool(about.name)):
            with self._isolating(message):
                resource = message_resource.build(
                    about.node, about.namespace, messages.POD, status.name
                )
                pod = (about.node, about.namespace, status.name)
                yield pod, msgspec.structs.replace(message, resource=resource, content=status)


class _Held:
    """A delivery that counts against `max_pending` until it is done."""

    def __init__(self, delivery: Delivery, upstream: Upstream) -> None:
        self.message = delivery.message
        self._delivery = delivery
        self._upstream = upstream
        upstream.pending += 1

    def done(self) -> None:
        self._delivery.done()
        self._upstream.let_go()


class _Parts:
    """A delivery that is done when all of its parts are."""

    def __init__(self, delivery: Delivery, count: int) -> None:
        self._delivery = delivery
        self._left = count

    def done(self) -> None:
        self._left -= 1
        if not self._left:
            self._delivery.done()


class _Part:
    def __init__(self, message: Message, parts: _Parts) -> None:
        self.message = message
        self._parts = parts

    def done(self) -> None:
        self._parts.done()
