"""Dispatching messages from cloudhub: to a queue by kind, in order by object."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable, Iterator
from contextlib import contextmanager, suppress

import msgspec

from ipc import Closed, Delivery, Message
from ipc.message import OP_ERROR
from modules.common import message_resource
from modules.common.failure_log import FailureLog
from modules.common.kube import NODES, Forbidden, KubeError, SetAside, Subject, reference
from modules.common.sync.in_flight import InFlight
from modules.common.wire.generations import generation_of
from modules.edgecontroller import messages
from modules.edgecontroller.config import EdgeControllerConfig
from modules.edgecontroller.downstream.due import Target
from modules.edgecontroller.downstream.node_updates import NodeUpdater
from modules.edgecontroller.downstream.nodes import NodeEventHandler
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
from modules.edgecontroller.upstream.message_queue import MessageQueue
from modules.edgecontroller.upstream.rows import (
    LATEST_ONLY,
    REPORTS,
    Rows,
    workers_by_queue,
)

log = logging.getLogger(__name__)

#: Limit of an operation and of a resource in an error message, in characters.
_LONGEST = 300


class Upstream:
    """Takes messages and puts each into the queue of its kind.

    A message leaves the channel when it has been handled. So what is in flight when the process
    crashes is handled after its restart.
    """

    def __init__(
        self,
        rows: Rows,
        denials: Denials,
        node_events: NodeEventHandler,
        updater: NodeUpdater,
        set_aside: SetAside,
        *,
        config: EdgeControllerConfig,
        on_report: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Set up; `on_report` gets the name of a node that connects, or shows that it is alive."""
        self._rows = rows
        self._set_aside = set_aside
        self._on_report = on_report
        self._denials = denials
        self._node_events = node_events
        self._updater = updater
        self._failures = FailureLog(log)
        self.queues = {
            name: MessageQueue(self._handle, workers, latest_only=name in LATEST_ONLY)
            for name, workers in workers_by_queue(config.workers).items()
        }
        """by kind of message"""
        self._in_flight = InFlight(config.max_pending)

    @property
    def pending(self) -> int:
        """The number of messages in flight."""
        return len(self._in_flight)

    @property
    def handled(self) -> int:
        return sum(queue.handled for queue in self.queues.values())

    async def run(self, take: Callable[[], Awaitable[Delivery]]) -> None:
        """Dispatch until cancelled, with at most `max_pending` messages in flight.

        When the module is asked to stop, no more are taken, and those in flight are handled.
        """
        async with asyncio.TaskGroup() as tasks:
            for queue in self.queues.values():
                tasks.create_task(queue.run())
            with suppress(Closed):
                while True:
                    await self._in_flight.room()
                    self.dispatch(await take())

    def _begin(self, delivery: Delivery) -> Callable[[], None]:
        """Count a message as in flight; return what is to be called when it is done."""
        self._in_flight.begin()

        def done() -> None:
            delivery.done()
            self._in_flight.end()

        return done

    def dispatch(self, delivery: Delivery) -> None:
        """Put a message into its queue; one without a queue is set aside and done."""
        taken = False
        with self._isolating(delivery.message):
            taken = self._route(delivery)
        if not taken:
            delivery.done()

    @contextmanager
    def _isolating(self, message: Message) -> Iterator[None]:
        """Set a message aside if its handling raises anything but a retriable KubeError."""
        try:
            yield
        except Exception as error:
            if isinstance(error, KubeError) and error.retriable:
                raise  # the queue retries
            self._set_aside.put(self._subject(message), error)

    def _used(self, message: Message) -> None:
        """End the setting aside of a message's subject: a message like it was handled."""
        if self._set_aside.count:
            self._set_aside.end(self._subject(message), used=True)

    def _subject(self, message: Message) -> Subject:
        """Return what to name in the log and in an Event: the message, and its node."""
        node = self._node_events.find(message.resource)
        name = f"message {message.operation[:_LONGEST]!r} {message.resource[:_LONGEST]!r}"
        return Subject("message", name, node and reference(NODES, node), f"cannot use {name}")

    async def _handle(self, batch: list[Message]) -> None:
        """Handle a message; set it aside if it cannot be handled (a poison message).

        A right that cloudcore lacks is not the message's fault, and is logged once for all of its
        kind.
        """
        message = batch[-1]
        with self._isolating(message):
            about = message_resource.parse(message.resource)
            row = self._rows[about.type, message.operation]
            try:
                await row.handle(batch)
            except Denied as denied:
                await self._denials.answer(message, denied)
            except Forbidden as error:
                self._failures.failed(row.queue, "", f"{message.resource}: {error}; {error.hint}")
            else:
                self._failures.worked(row.queue)
                self._used(message)

    def _route(self, delivery: Delivery) -> bool:
        """Route a message; return whether a queue has taken it and will call it done."""
        message = delivery.message
        if message.operation in (CONNECTED, DISCONNECTED, REFUSED):
            self._connection(message)
            return False
        about = message_resource.parse(message.resource)
        self._node_events.heard_from(about.node)
        if message.operation in (RESPONSE, OP_ERROR):
            self._answer(message, Target(about.node, about.type, about.namespace, about.name))
            return False
        if about.type == messages.POD_STATUS and message.operation == UPDATE:
            return self._split(delivery, about)
        row = self._rows.get((about.type, message.operation))
        if row is None or not about.name:
            raise BadContent("no such request exists")
        if about.type in REPORTS:
            self._on_report(about.node)
        # By node too: a status for another node is denied, and must not replace that node's.
        self.queues[row.queue].put(about, message, self._begin(delivery))
        return True

    def _connection(self, message: Message) -> None:
        node = message_resource.node_of(message.resource)
        if message.source != CLOUDHUB or message.resource != f"{message_resource.NODE}/{node}":
            raise BadContent("only cloudhub may send it")
        if message.operation == CONNECTED:
            self._on_report(node)
            self._node_events.connected(node, generation_of(message.content))
        elif message.operation == DISCONNECTED:
            self._node_events.disconnected(node)
        else:
            self._node_events.refused(node, text_of(message))

    def _answer(self, message: Message, target: Target) -> None:
        if message.operation == RESPONSE:
            self._updater.acknowledged(target, message.parent_id)
        else:
            self._updater.refused(target, message.parent_id, text_of(message))

    def _split(self, delivery: Delivery, about: message_resource.ObjectResource) -> bool:
        """Queue each status of a list under the key of its pod."""
        split = list(self._statuses(delivery.message, about))
        if not split:
            return False
        done = _when_all(len(split), self._begin(delivery))
        for key, part in split:
            self.queues[messages.POD_STATUS].put(key, part, done)
        return True

    def _statuses(
        self, message: Message, about: message_resource.ObjectResource
    ) -> Iterator[tuple[Hashable, Message]]:
        """Yield a message for each status in a message, with its pod."""
        for status in read_pod_statuses(message, one=bool(about.name)):
            with self._isolating(message):
                resource = message_resource.build(
                    about.node, about.namespace, messages.POD_STATUS, status.name
                )
                pod = (about.node, about.namespace, status.name)
                yield pod, msgspec.structs.replace(message, resource=resource, content=status)


def _when_all(count: int, done: Callable[[], None]) -> Callable[[], None]:
    """Return what calls `done` when it has been called `count` times."""
    left = count

    def one_done() -> None:
        nonlocal left
        left -= 1
        if not left:
            done()

    return one_done
