"""Sending to cloudhub, with back-pressure while its channel is full."""

from __future__ import annotations

import asyncio
import logging

from ipc import ChannelFull, Message, ModuleUnavailable, UnknownModule
from modules.edgecontroller.messages import CLOUDHUB
from supervisor.api import ModuleContext

#: Seconds between attempts while cloudhub is down or its channel full.
_PAUSE = 0.25

log = logging.getLogger(__name__)


class CloudHubClient:
    """Sends to cloudhub, and waits while it is down; `sent` is the number of messages sent."""

    def __init__(self, context: ModuleContext) -> None:
        self._context = context
        self._blocked = False
        #: One at a time, in the order of the calls: an answer that waits for room has a state of
        #: its object, and a message with a later one must not go before it.
        self._turn = asyncio.Lock()
        self.sent = 0

    async def send(self, message: Message) -> None:
        """Send a message; return when it is in cloudhub's channel.

        Messages to nodes get there in the order of the calls. Raises a ChannelError if no channel
        can carry the message, such as MessageTooLarge.
        """
        if message.reply_to:  # it goes to whoever has asked, who may be away
            await self._send(message)
            return
        async with self._turn:
            await self._send(message)

    async def _send(self, message: Message) -> None:
        while True:
            try:
                if message.reply_to:
                    await self._context.send_resp(message)
                else:
                    await self._context.send(CLOUDHUB, message)
                break
            except (ChannelFull, ModuleUnavailable, UnknownModule) as error:
                if not self._blocked:
                    log.warning("cannot send to cloudhub: %s; retrying until it can", error)
                self._blocked = True
            await asyncio.sleep(_PAUSE)
        if self._blocked:
            log.info("cloudhub accepts messages again")
            self._blocked = False
        self.sent += 1
