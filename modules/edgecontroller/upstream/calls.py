"""Calls of edges: requests whose callers wait for an answer, a kubelet for example.

A caller waits for a minute (syncMsgRespTimeout in edge/pkg/metamanager/client), and then tries
again. So it gets an answer within a third of that: while the API server is away, an error that it
can retry.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, TypeVar

from ipc import Message
from modules.common import message_resource
from modules.common.kube import AlreadyExists, Conflict, KubeError, NotFound, Unreachable
from modules.common.kube.health import ApiHealth
from modules.common.message_resource import ObjectResource
from modules.edgecontroller.upstream.answers import Answers
from modules.edgecontroller.upstream.message_queue import Handler, retry_briefly

Result = TypeVar("Result")

#: Does what a request asks for, and returns the object or text that answers it.
Call = Callable[[Message, ObjectResource], Awaitable[Any]]

#: Seconds after which a call is answered with an error.
_PATIENCE: Final = 20.0

#: In an outage that has lasted for longer than that: seconds between two calls that are tried, and
#: the timeout of each. The calls between them fail at once.
_PROBE: Final = 1.0

#: Failures that are the caller's to resolve.
_CALLERS: Final = (NotFound, Conflict, AlreadyExists)


async def ask(attempt: Callable[[], Awaitable[Result]], health: ApiHealth) -> Result:
    """Await `attempt()` as `retry_briefly`, but for a Conflict, which the edge resolves."""

    async def once() -> Result | Conflict:
        try:
            return await attempt()
        except Conflict as conflict:
            return conflict

    result = await retry_briefly(once, health)
    if isinstance(result, Conflict):
        raise result
    return result


class CallFailed(Exception):
    """A call has failed; its caller is told of `error`, and nobody else needs to know."""

    def __init__(self, error: KubeError) -> None:
        super().__init__(str(error))
        self.error = error


class Calls:
    """Answers each call with its result; dispatch.py answers with what it raises."""

    def __init__(self, answers: Answers, health: ApiHealth) -> None:
        self._answers = answers
        self._health = health
        self._probed = -math.inf

    def answered(self, call: Call) -> Handler:
        """Return the handler of a call, which raises no error for the queue to retry."""

        async def handle(batch: list[Message]) -> None:
            question = batch[-1]
            about = message_resource.parse(question.resource)
            result = await self._settled(partial(call, question, about))
            await self._answers.succeed(question, about, result)

        return handle

    def unanswered(self, call: Call) -> Handler:
        """Return the handler of a call whose caller waits for nothing."""

        async def handle(batch: list[Message]) -> None:
            about = message_resource.parse(batch[-1].resource)
            await self._settled(partial(call, batch[-1], about))

        return handle

    def answered_or_retried(self, call: Call) -> Handler:
        """Return the handler of a call that edges of v1.1 make too.

        These expect no error, so they get an answer whenever the call succeeds.
        """
        answered = self.answered(call)

        async def handle(batch: list[Message]) -> None:
            question = batch[-1]
            about = message_resource.parse(question.resource)
            if self._answers.expects_errors(about.node):
                await answered(batch)
                return
            try:
                result = await call(question, about)
            except NotFound as error:
                raise CallFailed(error) from error
            await self._answers.succeed(question, about, result)

        return handle

    def acknowledged(self, report: Handler) -> Handler:
        """Return the handler of reports that edges of today await an OK for."""

        async def handle(batch: list[Message]) -> None:
            await report(batch)
            if self._answers.expects_errors(message_resource.node_of(batch[-1].resource)):
                for question in batch:
                    await self._answers.acknowledge(question)

        return handle

    async def _settled(self, work: Callable[[], Awaitable[Result]]) -> Result:
        """Await `work()`; raises CallFailed if it fails with what its caller alone can resolve."""
        try:
            return await self._within(work)
        except KubeError as error:
            if isinstance(error, _CALLERS) or error.retriable:
                raise CallFailed(error) from error
            raise

    async def _within(self, work: Callable[[], Awaitable[Result]]) -> Result:
        """Await `work()` for a limited time, less in an outage; raises Unreachable after it."""
        left = _PATIENCE - self._health.unserved_for
        if left < _PROBE:
            left = self._probe()
        try:
            async with asyncio.timeout(left):
                return await work()
        except TimeoutError:
            raise Unreachable("no answer in time") from None

    def _probe(self) -> float:
        """Return the seconds for an attempt in a long outage; raises Unreachable if it is early."""
        now = time.monotonic()
        if now < self._probed + _PROBE:
            raise Unreachable("the outage goes on")
        self._probed = now
        return _PROBE
