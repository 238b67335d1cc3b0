"""The health of the Kubernetes API as one client sees it: for its log, status and retries.

All requests and watches of a client report here. During an outage the API server serves none of
them (it does not respond, it refuses the credentials). An outage is logged when it begins, when its
reason changes, and when it ends. Refusals of single watches (a missing right, a missing CRD) are
logged in one line for all of them.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from operator import itemgetter
from typing import Any, Final

from modules.common.kube.errors import KubeError
from supervisor.api import ModuleContext

#: The name of all requests that are not watches.
REQUESTS: Final = "requests"

#: Seconds after which a persistent fault is logged, and between checks whether the kubeconfig
#: has been corrected. A shorter interruption is not logged.
_TICK: Final = 1.0

#: Seconds over which the retries are spread when the API is available again.
_SPREAD: Final = 0.1

log = logging.getLogger(__name__)


class ApiHealth:
    """The watches and requests that the API server does not serve at present, and the reasons."""

    def __init__(self, reload: Callable[[], bool] = lambda: False) -> None:
        """Set up; `reload` reads the credentials again, and returns whether they have changed."""
        self._reload = reload
        self._faults: dict[str, KubeError] = {}
        self._unserved_since = 0.0
        self._served_at = -math.inf
        self._incidents: tuple[_Incident, ...] = (_Outage(), _Refusals())
        self._timer: asyncio.TimerHandle | None = None
        self._recovered = asyncio.Event()
        self._refused = asyncio.Event()
        self._changed = asyncio.Event()

    @property
    def failing_for(self) -> float:
        """The seconds since the first of the present faults began; 0 without a fault."""
        return max(incident.age for incident in self._incidents)

    @property
    def unserved_for(self) -> float:
        """The seconds since a request failed after which none has been served; 0 without one."""
        return time.monotonic() - self._unserved_since if REQUESTS in self._faults else 0.0

    def failed(self, what: str, error: KubeError) -> None:
        """Record that a watch (the plural of its resource) or REQUESTS is not served."""
        if what == REQUESTS and what not in self._faults:
            self._unserved_since = time.monotonic()
        self._faults[what] = error
        self._update()
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_TICK, self._tick)

    def has_served_since(self, then: float) -> bool:
        """Whether a watch or request was served later than `then`, by the monotonic clock."""
        return self._served_at > then

    def suspect(self, what: str, error: KubeError) -> None:
        """Record that a watch has not been served yet, unless it has a known fault."""
        if what not in self._faults:
            self.failed(what, error)

    def served(self, what: str) -> None:
        """Record that a watch or REQUESTS is served; if it was not before, wake all retries.

        An open watch ends an outage of REQUESTS too: there may be no further request.
        """
        self._served_at = time.monotonic()
        requests = self._faults.get(REQUESTS)
        ended = {what, REQUESTS} if requests and requests.outage else {what}
        if ended & self._faults.keys():
            self._faults = {key: self._faults[key] for key in self._faults.keys() - ended}
            self._update()
            self._wake()

    def log_now(self) -> None:
        """Log new faults at once, persistent or not."""
        for incident in self._incidents:
            incident.log()
            if incident.logged and not incident.outage:
                self._refused.set()
        self._changed.set()

    async def pause(self, seconds: float, *, at_least: float = 0.0) -> None:
        """Wait before a retry, at most until another request has been served.

        `at_least` is the server's Retry-After, in seconds.
        """
        recovered = self._recovered  # which counts too if it is meanwhile
        await asyncio.sleep(at_least)
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, seconds - at_least)):
                await recovered.wait()
                await asyncio.sleep(_SPREAD * random.random())  # noqa: S311 - not for secrecy

    async def recovered(self) -> None:
        """Wait until a watch or request is served again, or the credentials have changed."""
        await self._recovered.wait()

    async def refused(self) -> None:
        """Wait until the refusal of a watch has been logged, not counting outages."""
        await self._refused.wait()

    def details(self) -> dict[str, Any]:
        """Return `waiting_for` and `because` for the module's status; both None without a fault."""
        outage, refusals = self._incidents
        faults = {what: error for each in (refusals, outage) if each.logged for what, error in each}
        if not faults:
            return {"waiting_for": None, "because": None}
        watches = sorted(faults.keys() - {REQUESTS})
        error = next((each for each in faults.values() if each.outage), next(iter(faults.values())))
        because = f"{error.cause}; {error.hint}"
        return {"waiting_for": ", ".join(watches or faults), "because": because}

    async def report_to(self, context: ModuleContext) -> None:
        """Report `waiting_for` and `because` in the module's status, until cancelled."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            context.report(**self.details())

    def close(self) -> None:
        if self._timer:
            self._timer.cancel()

    def _update(self) -> None:
        for incident in self._incidents:
            incident.update(self._faults)
        self._changed.set()

    def _tick(self) -> None:
        self._timer = None
        if not self._faults:
            return
        self.log_now()
        if self._reload():
            self._wake()
        self._timer = asyncio.get_running_loop().call_later(_TICK, self._tick)

    def _wake(self) -> None:
        self._recovered.set()
        self._recovered = asyncio.Event()


class _Incident:
    """The faults of one sort, from the first one until there is none.

    Each reason is logged once, even if attempts alternate between several reasons.
    """

    outage: bool

    def __init__(self) -> None:
        self._faults: dict[str, KubeError] = {}
        self._since: float | None = None
        self.logged: set[tuple[str, str]] = set()
        """what was logged, by watch and by hint, which stands for the reason"""

    def __iter__(self) -> Iterator[tuple[str, KubeError]]:
        return iter(sorted(self._faults.items(), key=itemgetter(0)))

    @property
    def age(self) -> float:
        """The seconds since it began; 0 without a fault."""
        return 0.0 if self._since is None else time.monotonic() - self._since

    def update(self, faults: dict[str, KubeError]) -> None:
        """Set the present faults of this sort; log the end of the last one."""
        self._faults = {
            what: error for what, error in faults.items() if error.outage is self.outage
        }
        if self._faults and self._since is None:
            self._since = time.monotonic()
        elif not self._faults and self._since is not None:
            if self.logged:
                log.info("%s after %.1f s", self._end(), self.age)
            self._since = None
            self.logged = set()

    def log(self) -> None:
        """Log the faults whose reason has not been logged."""
        raise NotImplementedError

    def _end(self) -> str:
        raise NotImplementedError


class _Outage(_Incident):
    """An outage: the API server serves neither watches nor requests."""

    outage = True

    def log(self) -> None:
        for error in self._faults.values():
            # A starting server refuses requests in several ways, and all watches.
            if ("", error.hint) not in self.logged:
                self.logged.add(("", error.hint))
                log.warning("the Kubernetes API is not available: %s; %s", error.cause, error.hint)

    def _end(self) -> str:
        return "the Kubernetes API is available again"


class _Refusals(_Incident):
    """Refused watches, each with its own reason."""

    outage = False

    def update(self, faults: dict[str, KubeError]) -> None:
        """Set the refusals; what was refused before an outage is not known to be served."""
        before = {
            what: self._faults[what]
            for what, error in faults.items()
            if error.outage and what in self._faults
        }
        super().update(faults | before)

    def log(self) -> None:
        news: dict[tuple[type[KubeError], str], list[str]] = {}
        for what, error in self:
            if (what, error.hint) not in self.logged:
                news.setdefault((type(error), error.hint), []).append(what)
        for watches in news.values():
            error = self._faults[watches[0]]
            self.logged.update((what, error.hint) for what in watches)
            log.warning("cannot watch %s: %s; %s", ", ".join(watches), error.cause, error.hint)

    def _end(self) -> str:
        return f"watching {', '.join(sorted({what for what, _ in self.logged}))} again"
