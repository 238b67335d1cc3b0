"""The Unix socket of KubeEdge's CSI driver (cloud/pkg/cloudhub/servers/udsserver).

The driver connects, writes one message in JSON and reads one: the edge's answer, or an error. The
Go server reads once, up to 10480 bytes; here a message may be larger, and may arrive in parts.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Final

from ipc import ChannelError, Message
from modules.cloudhub.unix_server import UnixServer
from modules.common.message_resource import (
    BadResource,
    node_of,
)
from modules.common.wire import (
    WireError,
    json_form,
)
from supervisor.api import ModuleContext

log = logging.getLogger(__name__)

#: Seconds until the edge must have answered: CSISyncMsgRespTimeout, common/constants/default.go.
_ANSWER: Final = 60.0
#: Seconds until the request must have been read.
_REQUEST: Final = 10.0
_PIECE: Final = 64 * 1024


class CsiServer(UnixServer):
    """The server for the driver; `address` is `unix://PATH`, `max_message` in bytes."""

    def __init__(self, address: str, context: ModuleContext, max_message: int) -> None:
        super().__init__(Path(address.removeprefix("unix://")), self._exchange)
        self._context = context
        self._max_message = max_message

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_REQUEST):
                request = await self._read(reader)
        except (WireError, TimeoutError) as error:
            reason = str(error) or f"not complete within {_REQUEST:g} s"
            log.warning("CSI driver: cannot read its message: %s", reason)
            text = f"cannot read the message: {reason}"
            answer = Message.build("cloudhub", "resource", "error", "", text)
        else:
            if request is None:
                return
            answer = await self._ask(request)
        writer.writelines(json_form.encode(answer))
        await writer.drain()

    async def _read(self, reader: asyncio.StreamReader) -> Message | None:
        """Read until the message is complete; None if the client disconnects before sending."""
        data = bytearray()
        decoder = json_form.Decoder(self._max_message)
        while piece := await reader.read(_PIECE):
            data += piece
            if len(data) > self._max_message or data.rstrip().endswith(b"}"):
                try:
                    return decoder.feed(data)[0]
                except WireError:
                    if len(data) > self._max_message:
                        raise
        if data:
            return decoder.feed(data)[0]
        return None

    async def _ask(self, request: Message) -> Message:
        """Send the message to its edge, and return the answer."""
        try:
            node_of(request.resource)
            # To CloudHub's own channel, as in Go: another process may hold the node.
            answer = await self._context.send_sync(self._context.name, request, _ANSWER)
        except (BadResource, ChannelError) as error:
            log.warning("CSI driver: %s %s failed: %s", request.operation, request.resource, error)
            return request.error(str(error), source="cloudhub")
        log.debug("CSI driver: %s %s answered", request.operation, request.resource)
        return answer
