"""Sorting what comes from cloudhub: to a lane by its kind, in order by its object."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import msgspec

from ipc import Closed, Message
from ipc.message import OP_ERROR
from modules.common import resources
from modules.common.failurelog import FailureLog
from modules.common.kube import Forbidden, KubeError
from modules.edgecontroller import messages
from modules.edgecontroller.config import EdgeControllerConfig
from modules.edgecontroller.downstream.delivery import Delivery as Downward
from modules.edgecontroller.downstream.nodes import NodeConcern
from modules.edgecontroller.downstream.outbox import Target
from modules.edgecontroller.messages import (
    CLOUDHUB,
    CONNECTED,
    DISCONNECTED,
    REFUSED,
    RESPONSE,
    UPDATE,
)
from modules.edgecontroller.upstream.content import BadContent, read_pod_statuses, text_of
from modules.edgecontroller.upstream.denials import Denials
from modules.edgecontroller.upstream.lanes import Delivery, Handler, Lane
from modules.edgecontroller.upstream.queries import ASKED_FOR, QueryAnswerer
from modules.edgecontroller.upstream.rights import Denied
from modules.edgecontroller.upstream.writes import NodeWriter, PodWriter

log = logging.getLogger(__name__)


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
        *,
        on_report: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Set up; `on_report` gets the name of a node that connects, or sends its status."""
        self._on_report = on_report
        self._concern = concern
        self._downward = downward
        nodes, pods, queries = handlers.nodes, handlers.pods, handlers.queries
        guarded = partial(_guard, handlers.denials)
        workers = config.workers
        self._node_status = Lane(
            guarded(nodes.write_status), workers.update_node_status, latest_only=True
        )
        self._pod_status = Lane(
            guarded(pods.write_status), workers.update_pod_status, latest_only=True
        )
        self._node_update = Lane(guarded(nodes.write_annotations), workers.update_node)
        self._query = Lane(guarded(queries.answer), workers.query)
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
        """Give a message to its lane; one that is for none is logged and done."""
        try:
            taken = self._route(delivery)
        except (resources.BadResource, BadContent) as error:
            log.warning(f"message {delivery.message.id} is dropped: {error}")
            taken = False
        if not taken:
            delivery.done()

    def _route(self, delivery: Delivery) -> bool:
        """Return whether a lane has taken the message and will call it done."""
        message = delivery.message
        if message.operation in (CONNECTED, DISCONNECTED, REFUSED):
            self._connection(message)
            return False
        about = resources.parse(message.resource)
        self._concern.heard_from(about.node)
        if message.operation in (RESPONSE, OP_ERROR):
            self._answer(message, Target(about.node, about.type, about.namespace, about.name))
            return False
        if about.type == messages.POD_STATUS and message.operation == UPDATE:
            return self._split(delivery, about)
        lane = self._lane(about.type, message.operation)
        if lane is None or not about.name:
            log.warning(f"{message.operation} {message.resource} is nothing an edge can ask for")
            return False
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
        node = resources.node_of(message.resource)
        if message.source != CLOUDHUB or message.resource != f"{resources.NODE}/{node}":
            raise BadContent(f"{message.operation} {message.resource} is for cloudhub to say")
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
            self._downward.refused(target, text_of(message))

    def _split(self, delivery: Delivery, about: resources.ObjectResource) -> bool:
        """Put each status of a list into the lane of its own pod, behind that pod's others."""
        split = list(_statuses(delivery.message, about))
        if not split:
            return False
        parts = _Parts(_Held(delivery, self), len(split))
        for key, part in split:
            self._pod_status.put(key, _Part(part, parts))
        return True


def _statuses(
    message: Message, about: resources.ObjectResource
) -> Iterator[tuple[Hashable, Message]]:
    """Give each status of a message one of its own, with its pod; an unusable one is logged."""
    for status in read_pod_statuses(message, one=bool(about.name)):
        try:
            resource = resources.build(about.node, about.namespace, messages.POD, status.name)
        except resources.BadResource as error:
            log.warning(f"a status in message {message.id} is dropped: {error}")
        else:
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


def _guard(denials: Denials, handle: Handler) -> Handler:
    """Let a message that cannot be served be one log line; any other fault ends the module.

    An edge repeats what it reports every few seconds: it is logged again when the reason changes.
    A missing right is one line for all.
    """
    failures = FailureLog(log)

    async def guarded(batch: list[Message]) -> None:
        try:
            await handle(batch)
        except Denied as denied:
            await denials.answer(batch[-1], denied)
        except Forbidden as error:
            failures.failed("", "", f"{batch[-1].resource}: {error}; {error.hint}")
        except (KubeError, BadContent, resources.BadResource) as error:
            resource = batch[-1].resource
            text = f"message {batch[-1].id} ({resource}): {error}"
            failures.failed(resource, type(error).__name__, text)
        else:
            failures.worked("")
            failures.worked(batch[-1].resource)

    return guarded
