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
from modules.common.kube.health import ApiHealth
from modules.common.log_limit import LogLimit
from modules.common.message_resource import ObjectResource
from modules.common.replicas.report_fence import HeldElsewhere
from modules.common.sync.deliveries import Deliveries, size_of
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
    RESPONSE,
    UPDATE,
)
from modules.edgecontroller.upstream.answers import Answers
from modules.edgecontroller.upstream.authorization import Denied
from modules.edgecontroller.upstream.calls import CallFailed
from modules.edgecontroller.upstream.content import BadContent, read_pod_statuses, text_of
from modules.edgecontroller.upstream.denials import Denials
from modules.edgecontroller.upstream.rows import NOT_SERVED, REPORTS, Row, Rows, queues
from modules.edgecontroller.upstream.shares import Shares

log = logging.getLogger(__name__)

#: Limit of an operation and of a resource in an error message, in characters.
_LONGEST = 300


class Upstream:
    """Takes messages and puts each into the queue of its kind.

    A message leaves the channel when it has been handled, or takes too long (sync/deliveries.py).
    So what is in flight when the process crashes is handled after its restart.
    """

    def __init__(
        self,
        rows: Rows,
        answers: Answers,
        node_events: NodeEventHandler,
        updater: NodeUpdater,
        set_aside: SetAside,
        *,
        health: ApiHealth,
        config: EdgeControllerConfig,
        on_report: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Set up; `on_report` gets the name of a node that connects, or shows that it is alive."""
        self._rows = rows
        self._answers = answers
        self._set_aside = set_aside
        self._on_report = on_report
        self._denials = Denials(answers, updater)
        self._node_events = node_events
        self._updater = updater
        self._failures = FailureLog(log)
        self.queues = queues(self._handle, config.workers)
        """by kind of message"""
        self._deliveries = Deliveries(config.max_pending, health)
        self._shares = Shares(config.max_pending)
        self._floods = LogLimit(log, lines=1)
        self.dropped = 0
        """messages of edges that had too many in flight"""

    @property
    def pending(self) -> int:
        """The number of messages in flight."""
        return len(self._deliveries)

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
            tasks.create_task(self._deliveries.run())
            with suppress(Closed):
                while True:
                    await self._deliveries.room()
                    self.dispatch(await take())

    def _begin(self, delivery: Delivery, node: str) -> Callable[[], None]:
        """Count a node's message as in flight; return what is to be called when it is done."""
        size = size_of(delivery.message)
        self._shares.begin(node, size)
        self._deliveries.begin(delivery)

        def done() -> None:
            self._deliveries.done(delivery)
            self._shares.end(node, size)

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
        """Handle a message; answer with its failure, if the edge expects that.

        A message that cannot be handled is set aside (a poison message). A right that cloudcore
        lacks is not the message's fault, and is logged once for all of its kind.
        """
        message = batch[-1]
        with self._isolating(message):
            about = message_resource.parse(message.resource)
            row = self._row(about, message.operation)
            try:
                await row.handle(batch)
            except Denied as denied:
                await self._denials.answer(message, denied)
            except HeldElsewhere:
                log.debug("%s: dropped, another replica holds its node", message.resource)
            except CallFailed as failed:
                log.debug("%s %s: %s", message.operation, message.resource, failed)
                await self._answers.fail(message, about, failed.error)
            except Forbidden as error:
                self._failures.failed(row.queue, "", f"{message.resource}: {error}; {error.hint}")
                await self._answers.fail(message, about, error)
            except Exception as error:
                if not (isinstance(error, KubeError) and error.retriable):
                    await self._answers.fail(message, about, error)
                raise
            else:
                self._failures.worked(row.queue)
                self._used(message)

    def _route(self, delivery: Delivery) -> bool:
        """Route a message; return whether a queue has taken it and will call it done."""
        message = delivery.message
        if message.operation in (CONNECTED, DISCONNECTED):
            self._connection(message)
            return False
        about = message_resource.parse(message.resource)
        if self._node_events.is_elsewhere(about.node):
            log.debug("%s: its node is not connected here any more", message.resource)
            return False
        self._node_events.heard_from(about.node)
        if message.operation in (RESPONSE, OP_ERROR):
            self._answer(message, Target(about.node, about.type, about.namespace, about.name))
            return False
        if not self._shares.has_room(about.node, size_of(message)):
            self._drop(about.node)
            return False
        if about.type == messages.POD_STATUS and message.operation == UPDATE:
            return self._split(delivery, about)
        row = self._row(about, message.operation)
        if about.type in REPORTS:
            self._on_report(about.node)
        self._notice(about, message.operation)
        # By node too: a status for another node is denied, and must not replace that node's.
        key = (about.node, row.queue) if row.queue == messages.EVENT else about
        self.queues[row.queue].put(key, message, self._begin(delivery, about.node))
        return True

    def _drop(self, node: str) -> None:
        """Drop a message of a node that floods the module; what it has to say, it says again."""
        self.dropped += 1
        text = f"node {node}: sends more than can be handled, messages of it are dropped"
        self._floods.put(node, logging.WARNING, text)

    def _row(self, about: ObjectResource, operation: str) -> Row:
        named = about.name or about.type == messages.AUTHORITY
        return (self._rows.get((about.type, operation)) if named else None) or NOT_SERVED

    def _notice(self, about: ObjectResource, operation: str) -> None:
        """Note what a request shows of the edge's database."""
        if about.type == messages.NODE_PATCH:
            self._node_events.registrations.patches_its_node(about.node, about.namespace)
        elif operation == messages.QUERY:
            self._updater.asked(Target(about.node, about.type, about.namespace, about.name))

    def _connection(self, message: Message) -> None:
        node = message_resource.node_of(message.resource)
        if message.source != CLOUDHUB or message.resource != f"{message_resource.NODE}/{node}":
            raise BadContent("only cloudhub may send it")
        if message.operation == CONNECTED:
            self._on_report(node)
            self._node_events.connected(node, generation_of(message.content))
        else:
            self._node_events.disconnected(node)
            if self._node_events.is_elsewhere(node):
                # What it has reported since, another replica writes.
                for queue in self.queues.values():
                    queue.drop(lambda key: _is_of(node, key))

    def _answer(self, message: Message, target: Target) -> None:
        if message.operation == RESPONSE:
            self._updater.acknowledged(target, message.parent_id)
        else:
            self._updater.refused(target, message.parent_id, text_of(message))

    def _split(self, delivery: Delivery, about: ObjectResource) -> bool:
        """Queue each status of a list under the key of its pod."""
        split = list(self._statuses(delivery.message, about))
        if not split:
            return False
        done = _when_all(len(split), self._begin(delivery, about.node))
        for key, part in split:
            self.queues[messages.POD_STATUS].put(key, part, done)
        return True

    def _statuses(
        self, message: Message, about: ObjectResource
    ) -> Iterator[tuple[Hashable, Message]]:
        """Yield a message for each status in a message, with its pod."""
        for status in read_pod_statuses(message, one=bool(about.name)):
            with self._isolating(message):
                resource = message_resource.build(
                    about.node, about.namespace, messages.POD_STATUS, status.name
                )
                pod = (about.node, about.namespace, status.name)
                yield pod, msgspec.structs.replace(message, resource=resource, content=status)


def _is_of(node: str, key: Hashable) -> bool:
    """Whether the object of a key is a node's: keys begin with the node."""
    return isinstance(key, tuple) and key[:1] == (node,)


def _when_all(count: int, done: Callable[[], None]) -> Callable[[], None]:
    """Return what calls `done` when it has been called `count` times."""
    left = count

    def one_done() -> None:
        nonlocal left
        left -= 1
        if not left:
            done()

    return one_done
