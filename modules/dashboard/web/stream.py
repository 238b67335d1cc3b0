"""The stream of what is live: server-sent events of the topics that a page shows."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Final

from modules.common.http_library import hdrs, web
from modules.dashboard.access.sessions import Sessions
from modules.dashboard.live.board import Board
from modules.dashboard.live.logs import LogTails
from modules.dashboard.live.viewers import TooManyViewers, Viewer, Viewers, event
from modules.dashboard.web.guard import COOKIE, TRUSTED, RequestRefused

TOPICS: Final = frozenset({"status", "changes", "edges", "sample"})
#: Topic of the output of a module, or of all with an empty name: for those who have logged in.
LOGS: Final = "logs:"
#: Topics of one page at most.
_MOST: Final = 6

#: Seconds of silence after which a page is sent a comment, so that one that is gone is noticed,
#: and seconds that a write may take.
_HEARTBEAT: Final = 15.0
_WRITE_TIMEOUT: Final = 20.0
#: Milliseconds after which a browser connects again.
_RETRY: Final = 2000


class Live:
    """The handler of the stream."""

    def __init__(self, board: Board, logs: LogTails, viewers: Viewers, sessions: Sessions) -> None:
        self._board = board
        self._logs = logs
        self._viewers = viewers
        self._sessions = sessions

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Send what is known of the topics, and then each change, until the page closes."""
        topics = self._topics(request)
        try:
            with self._viewers.open(topics, trusted=request[TRUSTED]) as viewer:
                return await self._serve(request, viewer)
        except TooManyViewers as error:
            raise RequestRefused(HTTPStatus.SERVICE_UNAVAILABLE, str(error)) from error

    def _topics(self, request: web.Request) -> list[str]:
        topics = [topic for topic in request.query.get("topics", "").split(",") if topic]
        if len(topics) > _MOST:
            raise RequestRefused(HTTPStatus.BAD_REQUEST, f"more than {_MOST} topics")
        for topic in topics:
            if topic not in TOPICS and not topic.startswith(LOGS):
                allowed = ", ".join(sorted(TOPICS))
                text = f"no topic {topic!r} (allowed: {allowed}, {LOGS}MODULE)"
                raise RequestRefused(HTTPStatus.BAD_REQUEST, text)
            if topic.startswith(LOGS) and not request[TRUSTED]:
                raise RequestRefused(
                    HTTPStatus.UNAUTHORIZED, "logs are for those who have logged in"
                )
        return topics

    async def _serve(self, request: web.Request, viewer: Viewer) -> web.StreamResponse:
        first = [b"retry: %d\n\n" % _RETRY]
        for topic in sorted(viewer.topics):
            known = (
                self._logs.snapshot(topic.removeprefix(LOGS))
                if topic.startswith(LOGS)
                else self._board.snapshot(topic)
            )
            if known is not None:
                first.append(event(topic, known))
        answer = web.StreamResponse(
            headers={hdrs.CONTENT_TYPE: "text/event-stream", "X-Accel-Buffering": "no"}
        )
        await answer.prepare(request)
        try:
            await _write(answer, b"".join(first))
            while not viewer.too_slow and self._may_look(request):
                await _write(answer, await viewer.take(_HEARTBEAT) or b":\n\n")
        except (ConnectionError, TimeoutError):
            _abort(request)  # it is gone, or stuck
        if viewer.too_slow:
            _abort(request)
        return answer

    def _may_look(self, request: web.Request) -> bool:
        """Whether the login with which the stream was opened has not ended."""
        return not request[COOKIE] or self._sessions.has(request[COOKIE])


def _abort(request: web.Request) -> None:
    """Close a connection at once: the end of an answer would wait until all of it was read."""
    if request.transport is not None:
        request.transport.abort()


async def _write(answer: web.StreamResponse, data: bytes) -> None:
    async with asyncio.timeout(_WRITE_TIMEOUT):
        await answer.write(data)
