"""Requests without the right: they are answered with an error, counted and logged."""

from __future__ import annotations

import logging
import time
from typing import Final

from ipc import Message
from modules.common import message_resource
from modules.edgecontroller import messages
from modules.edgecontroller.downstream.due import Target
from modules.edgecontroller.downstream.node_updates import NodeUpdater
from modules.edgecontroller.metrics import REQUESTS_DENIED
from modules.edgecontroller.upstream.answers import Answers
from modules.edgecontroller.upstream.authorization import Denied

#: Seconds between two log lines about one node.
_QUIET: Final = 60.0
#: Limit of nodes for which the time of the last log line is kept.
_REMEMBERED: Final = 4096

log = logging.getLogger(__name__)


class Denials:
    """Answers requests that are denied, in a form that the edge's version understands."""

    def __init__(self, answers: Answers, updater: NodeUpdater) -> None:
        self._answers = answers
        self._updater = updater
        self._logged: dict[str, tuple[float, int]] = {}  # when, and how many since

    async def answer(self, message: Message, denied: Denied) -> None:
        """Answer with an error, which the edge returns to its caller."""
        about = message_resource.parse(message.resource)
        REQUESTS_DENIED.labels(message.operation, about.type).inc()
        self._log(about.node, f"{message.operation} {about.at_edge}: {denied}")
        if message.operation == messages.QUERY:
            self._updater.denied(Target(about.node, about.type, about.namespace, about.name))
        text = f"{message.operation} {about.at_edge} is forbidden: {denied}"
        await self._answers.deny(message, about, Denied(text))

    def _log(self, node: str, what: str) -> None:
        """Log at most one line per minute and node."""
        now = time.monotonic()
        last, more = self._logged.get(node, (-_QUIET, 0))
        if now < last + _QUIET:
            self._logged[node] = last, more + 1
            return
        if len(self._logged) >= _REMEMBERED:
            self._logged.clear()
        self._logged[node] = now, 0
        others = f"; {more} more since the last such line" if more else ""
        log.warning("node %s may not %s%s", node, what, others)
