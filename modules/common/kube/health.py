"""Whether the Kubernetes API serves a client: one account of it, for log, status and retries.

All requests and watches of a client report here. What they lose together (the API server is away,
the token is refused) is an outage: one line in the log when it begins or its reason changes, one
when it is over. What only some of them lack (a right, a CRD) is told in one line for all of them.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from operator import itemgetter
from typing import Any, Final

from modules.common.kube.errors import KubeError
from supervisor.api import ModuleContext

#: Under which requests that are no watch are known here.
REQUESTS: Final = "requests"

#: Seconds after which a fault that is still there is told, and between looks whether somebody has
#: put the kubeconfig right. A connection that is back within them is no news.
_TICK: Final = 1.0

#: Seconds over which those who wait are spread when the API is back.
_SPREAD: Final = 0.1

log = logging.getLogger(__name__)


class ApiHealth:
    """What of the API does not work at present, since when and why."""

    def __init__(self, put_right: Callable[[], bool] = lambda: False) -> None:
        """Set up; `put_right` tells whether there are other credentials than those that failed."""
        self._put_right = put_right
        self._faults: dict[str, KubeError] = {}
        self._spells: tuple[_Spell, ...] = (_Outage(), _Refusals())
        self._timer: asyncio.TimerHandle | None = None
        self._recovered = asyncio.Event()
        self._refused = asyncio.Event()
        self._changed = asyncio.Event()

    @property
    def failing_for(self) -> float:
        """Seconds since the first of the present faults began; 0 while all is well."""
        return max(spell.age for spell in self._spells)

    def failed(self, what: str, error: KubeError) -> None:
        """Note that a watch, or REQUESTS, is not served for now."""
        self._faults[what] = error
        self._update()
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_TICK, self._tick)

    def suspect(self, what: str, error: KubeError) -> None:
        """Note that a watch has not been served yet, if nothing more exact is known of it."""
        if what not in self._faults:
            self.failed(what, error)

    def served(self, what: str) -> None:
        """Note that a watch, or REQUESTS, is served; whoever waits to try again does so now."""
        if what in self._faults:
            del self._faults[what]
            self._update()
            self._wake()

    def tell(self) -> None:
        """Log what has not been logged yet; what lasts is told without being asked to."""
        for spell in self._spells:
            spell.tell()
            if spell.told and not spell.outage:
                self._refused.set()
        self._changed.set()

    async def pause(self, seconds: float, *, at_least: float = 0.0) -> None:
        """Wait before another attempt: not longer than until another one has got through.

        `at_least` is what the server has asked for.
        """
        await asyncio.sleep(at_least)
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, seconds - at_least)):
                await self.recovered()
                await asyncio.sleep(_SPREAD * random.random())  # noqa: S311 - spreading

    async def recovered(self) -> None:
        """Wait until something that was not served is served again, or may be."""
        await self._recovered.wait()

    async def refused(self) -> None:
        """Wait until a watch has been refused, not by an outage, and that has been told."""
        await self._refused.wait()

    def details(self) -> dict[str, Any]:
        """Say for the module's status what is waited for and why; None for what is over."""
        told = {what: error for spell in self._spells if spell.told for what, error in spell}
        if not told:
            return {"waiting_for": None, "because": None}
        watches = sorted(told.keys() - {REQUESTS})
        error = next(iter(told.values()))
        because = f"{error.cause}; {error.hint}"
        return {"waiting_for": ", ".join(watches or told), "because": because}

    async def report_to(self, context: ModuleContext) -> None:
        """Keep `waiting_for` and `because` in the module's status true, until cancelled."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            context.report(**self.details())

    def close(self) -> None:
        if self._timer:
            self._timer.cancel()

    def _update(self) -> None:
        for spell in self._spells:
            spell.update(self._faults)
        self._changed.set()

    def _tick(self) -> None:
        self._timer = None
        if not self._faults:
            return
        self.tell()
        if self._put_right():
            self._wake()
        self._timer = asyncio.get_running_loop().call_later(_TICK, self._tick)

    def _wake(self) -> None:
        self._recovered.set()
        self._recovered = asyncio.Event()


class _Spell:
    """A time in which something fails: it begins, has reasons, and ends.

    Each reason is told once, however often the attempts alternate between some.
    """

    outage: bool

    def __init__(self) -> None:
        self._faults: dict[str, KubeError] = {}
        self._since: float | None = None
        self.told: set[str] = set()

    def __iter__(self) -> Iterator[tuple[str, KubeError]]:
        return iter(sorted(self._faults.items(), key=itemgetter(0)))

    @property
    def age(self) -> float:
        return 0.0 if self._since is None else time.monotonic() - self._since

    def update(self, faults: dict[str, KubeError]) -> None:
        self._faults = {
            what: error for what, error in faults.items() if error.outage is self.outage
        }
        if self._faults and self._since is None:
            self._since = time.monotonic()
        elif not self._faults and self._since is not None:
            if self.told:
                log.info(f"{self._end()} after {self.age:.1f} s")
            self._since = None
            self.told = set()

    def tell(self) -> None:
        raise NotImplementedError

    def _end(self) -> str:
        raise NotImplementedError


class _Outage(_Spell):
    """The API serves nothing: told by its reason, whatever waits for it."""

    outage = True

    def tell(self) -> None:
        for error in self._faults.values():
            reason = f"{type(error).__name__}, {error.hint}"
            if reason not in self.told:
                self.told.add(reason)
                log.warning(f"the Kubernetes API is not available: {error.cause}; {error.hint}")

    def _end(self) -> str:
        return "the Kubernetes API is available again"


class _Refusals(_Spell):
    """Some watches are refused: told by their names, those of a reason together."""

    outage = False

    def tell(self) -> None:
        news: dict[tuple[type[KubeError], str], list[str]] = {}
        for what, error in self._faults.items():
            if what not in self.told:
                news.setdefault((type(error), error.hint), []).append(what)
        for names in map(sorted, news.values()):
            self.told.update(names)
            error = self._faults[names[0]]
            log.warning(f"cannot watch {', '.join(names)}: {error.cause}; {error.hint}")

    def _end(self) -> str:
        return f"watching {', '.join(sorted(self.told))} again"
