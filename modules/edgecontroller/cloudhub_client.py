"""Handing messages to cloudhub, however long it takes it to have room."""

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
    """Sends to cloudhub and waits out its absence; `sent` counts what it took."""

    def __init__(self, context: ModuleContext) -> None:
        self._context = context
        self._blocked = False
        self.sent = 0

    async def send(self, message: Message) -> None:
        """Send; returns when cloudhub's channel has the message.

        Raises the ChannelError of a message that no channel carries.
        """
        while True:
            try:
                if message.reply_to:
                    await self._context.send_resp(message)
                else:
                    await self._context.send(CLOUDHUB, message)
                break
            except (ChannelFull, ModuleUnavailable, UnknownModule) as error:
                if not self._blocked:
                    log.warning(f"cannot reach cloudhub, waiting for it: {error}")
                self._blocked = True
            await asyncio.sleep(_PAUSE)
        if self._blocked:
            log.info("cloudhub takes messages again")
            self._blocked = False
        self.sent += 1
