"""A watch that is opened anew if it does not show in time what was written.

An API server that hangs while others serve the writes keeps the connection of its watch, which
would last for minutes. Whoever writes an object that the watch shows notices it. A watch shows all
writes of a resource in their order, so what was written before is known then, too.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final

from modules.common.failure_log import FailureLog
from modules.common.kube.client import KubeClient
from modules.common.kube.errors import Unreachable
from modules.common.kube.kinds import Resource
from modules.common.kube.reflector import Reflector
from modules.common.kube.versions import is_newer
from modules.common.kube.watching import Object

#: Seconds for which the watch may be behind a write.
_PATIENCE: Final = 10.0

log = logging.getLogger(__name__)


class WatchProgress:
    """How far a watch has come with the writes of one object: the mark."""

    def __init__(self, resource: Resource, consequence: str) -> None:
        """Set up; `consequence` says in the log what happens while the watch is behind."""
        self.behind = asyncio.Event()
        """set when the watch has to be opened anew"""
        self._what = resource.plural
        self._consequence = consequence
        self._version = ""
        """the latest of the mark that the watch has shown"""
        self._missed = ""
        """the one that it has not shown in time, and not since"""
        self._any_seen = asyncio.Event()
        self._failures = FailureLog(log)

    @property
    def is_behind(self) -> bool:
        """Whether the watch has not shown in time what was written, and has not since."""
        return bool(self._missed)

    def seen(self, mark: Object) -> None:
        """Take note that the watch has come to a write of the mark."""
        self._version = mark["metadata"]["resourceVersion"]
        if not is_newer(self._missed, self._version):
            self._caught_up()
        self._any_seen.set()
        self._any_seen = asyncio.Event()

    def start_over(self) -> None:
        """Wait for the next write even if the API was restored, and has lower versions now."""
        self._version = ""

    async def shown(self, mark: Object) -> None:
        """Wait until the watch has shown what was written; raises Unreachable if it is behind."""
        version = mark["metadata"]["resourceVersion"]
        try:
            async with asyncio.timeout(_PATIENCE):
                while is_newer(version, self._version):
                    await self._any_seen.wait()
        except TimeoutError:
            text = f"the watch of {self._what} has not shown in {_PATIENCE:.0f} s what was written"
            self._failures.failed("", "behind", f"{text}: {self._consequence}")
            self._missed = version
            self.behind.set()
            raise Unreachable(text, request=f"watch {self._what}") from None
        self._caught_up()

    def _caught_up(self) -> None:
        self._missed = ""
        self._failures.worked("", f"the watch of {self._what} shows again what is written")


class CheckedReflector(Reflector):
    """A reflector whose watch is opened anew when it is behind."""

    def __init__(
        self, client: KubeClient, resource: Resource, *args: Any, progress: WatchProgress, **kw: Any
    ) -> None:
        """Set up as a Reflector; what it shows of the mark is to be told to `progress`."""
        super().__init__(client, resource, *args, **kw)
        self._progress = progress

    async def _watch(self) -> None:
        """Watch until the watch ends, or is found to be behind."""
        self._progress.behind.clear()
        watching = asyncio.create_task(super()._watch())
        behind = asyncio.create_task(self._progress.behind.wait())
        try:
            await asyncio.wait((watching, behind), return_when=asyncio.FIRST_COMPLETED)
        finally:
            behind.cancel()
            watching.cancel()
            await asyncio.wait((behind, watching))
        if not watching.cancelled():
            watching.result()
