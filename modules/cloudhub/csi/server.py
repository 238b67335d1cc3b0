"""The Unix socket of CSI drivers (cloud/pkg/cloudhub/servers/udsserver).

A driver connects, writes one message in JSON and reads one: the edge's answer, or an error. The
Go server reads once, up to 10480 bytes; here a message may be larger, and may arrive in parts.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Final

from ipc import Message
from ipc.message import new_id
from modules.cloudhub.csi import answers, requests
from modules.cloudhub.questions import NoAnswer, Questions
from modules.cloudhub.unix_server import UnixServer
from modules.common.failure_log import FailureLog
from modules.common.message_resource import ObjectResource
from modules.common.wire import WireError

log = logging.getLogger(__name__)

#: Connections at once: one for each request, which may wait for a minute.
CONNECTIONS: Final = 1024
#: Seconds until the request must have been read.
_REQUEST: Final = 10.0


class CsiServer(UnixServer):
    """The server for the drivers of all edges; `address` is `unix://PATH`."""

    def __init__(self, address: str, questions: Questions) -> None:
        path = Path(address.removeprefix("unix://"))
        busy = answers.failure(None, f"{CONNECTIONS} requests are open already; try again later")
        super().__init__(path, self._exchange, limit=CONNECTIONS, busy=busy)
        self._questions = questions
        self._failures = FailureLog(log)

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_REQUEST):
                request = await requests.read(reader)
        except (WireError, TimeoutError) as error:
            reason = str(error) or f"not complete within {_REQUEST:g} s"
            log.warning("CSI driver: cannot read its message: %s", reason)
            writer.write(answers.failure(None, f"cannot read the message: {reason}"))
        else:
            if request is not None:
                writer.write(await self._answer(request))
        await writer.drain()

    async def _answer(self, request: Message) -> bytes:
        try:
            about = requests.check(request)
        except requests.BadRequest as error:
            log.warning("CSI driver: request refused: %.300s", error)
            return answers.failure(request, str(error))
        what = f"{request.operation} of volume {about.name}"
        try:
            found = await self._questions.ask(about.node, _question(request, about))
            answer = answers.success(request, about.node, found)
        except NoAnswer as error:
            text = f"CSI driver: {what:.300} failed: {error}"
            self._failures.failed(about.node, str(error), text)
            return answers.failure(request, str(error))
        self._failures.worked(about.node, f"CSI driver: node {about.node} answers again")
        log.debug("CSI driver: node %s answered %s", about.node, what)
        return answer


def _question(request: Message, about: ObjectResource) -> Message:
    """Return the message for the edge, which takes one with a parent id for an answer."""
    made = Message.build("cloudhub", "resource", request.operation, str(about), request.content)
    made.id = request.id or new_id()
    return made
