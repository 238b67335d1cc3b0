"""Calls of edges: requests whose callers wait for an answer, a kubelet for example.

A caller waits for a minute (syncMsgRespTimeout in edge/pkg/metamanager/client), and then tries
again. So it gets an answer within a third of that: while the API server is away, an error that it
can retry.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, TypeVar

from ipc import Message
from modules.common import message_resource
from modules.common.kube import AlreadyExists, Conflict, KubeError, NotFound, Unreachable
from modules.common.kube.health import ApiHealth
from modules.common.message_resource import ObjectResource
from modules.edgecontroller.upstream.answers import Answers
from modules.edgecontroller.upstream.authorization import Denied
from modules.edgecontroller.upstream.message_queue import Handler, retry_briefly

Result = TypeVar("Result")

#: Does what a request asks for, and returns the object or text that answers it.
Call = Callable[[Message, ObjectResource], Awaitable[Any]]

#: Seconds after which a request is answered with an error, or from which an outage has lasted.
_PATIENCE: Final = 20.0

#: Failures that are answers as good as any: nobody but the caller needs to know them.
_ANSWERS: Final = (NotFound, Conflict, AlreadyExists)


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


class Calls:
    """Answers each call with its result or its failure."""

    def __init__(self, answers: Answers, health: ApiHealth) -> None:
        self._answers = answers
        self._health = health

    def answered(self, call: Call) -> Handler:
        """Return the handler that answers a call.

        It raises what somebody beside the caller has to know: Denied, a malformed request, a
        refusal of the API server. Nothing is to be retried, since the caller has an answer.
        """

        async def handle(batch: list[Message]) -> None:
            question = batch[-1]
            about = message_resource.parse(question.resource)
            try:
                result = await self._within(partial(call, question, about))
                await self._answers.succeed(question, about, result)
            except Denied:
                raise
            except Exception as error:
                await self._answers.fail(question, about, error)
                if not (isinstance(error, _ANSWERS) or _is_retriable(error)):
                    raise

        return handle

    def answered_or_retried(self, call: Call) -> Handler:
        """Return the handler that answers a call also of edges that expect no errors.

        These get an answer whenever the call succeeds, and none if there is no such object.
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
            except NotFound:
                return
            await self._answers.succeed(question, about, result)

        return handle

    async def _within(self, work: Callable[[], Awaitable[Result]]) -> Result:
        """Await `work()` for a limited time, less in an outage; raises Unreachable after it."""
        left = _PATIENCE - self._health.away_for
        if left <= 0:
            raise Unreachable("the outage goes on")
        try:
            async with asyncio.timeout(left):
                return await work()
        except TimeoutError:
            raise Unreachable("no answer in time") from None


def _is_retriable(error: Exception) -> bool:
    return isinstance(error, KubeError) and error.retriable
