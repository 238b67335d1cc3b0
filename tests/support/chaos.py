"""Who makes the modules of chaosmodules.py suffer: which faults there are, and whom they hit."""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from supervisor import client
from supervisor.telemetry.crash_reports import CrashReport, signal_name
from tests.support.chaosmodules import NAMES, SIGNALS
from tests.support.running import Running

#: Seconds between two of its deeds, on average.
MEAN_PAUSE: Final = 0.25
_HOUNDING: Final = 0.5  # seconds that the tormentor lies in wait for the next process
LAG: Final = 1.0  # seconds that the supervisor may need to note what has happened
LONG: Final = 60.0  # seconds: longer than anything takes that ends at all

#: What is done to a module, one after the other.
_VERBS: Final = (["restart"], ["stop", "start"], ["disable", "enable"])


@dataclass(frozen=True)
class Fault:
    """A signal, and which ends it may lead to: exit statuses and signals, and the reasons given."""

    name: str
    number: int
    ends: frozenset[int | str]
    reasons: str
    """a regular expression"""


def _killing(number: signal.Signals) -> Fault:
    return Fault(number.name, number, frozenset({number.name}), f"killed by {number.name}$")


def _order(name: str, *ways: tuple[int | str, str]) -> Fault:
    """Make what a module is told to do; one that does not listen yet is ended by the signal."""
    unheard = signal_name(SIGNALS[name])
    ways = (*ways, (unheard, f"killed by {re.escape(unheard)}$"))
    ends, reasons = zip(*ways, strict=True)
    return Fault(name, SIGNALS[name], frozenset(ends), "|".join(reasons))


def _raised(name: str, what: str, status: int) -> Fault:
    """Make an exception; where another one is being dealt with, none but Python sees to it."""
    return _order(name, (70, f"{what}$"), (status, f"exit status {status}$"))


_STATUSES: Final = (0, 1, 2, 255)
_HUNG: Final = "hung: |did not become ready within |did not stop within |did not stop in time"

KILL: Final = _killing(signal.SIGKILL)
FAULTS: Final = (
    *(KILL, _killing(signal.SIGSEGV), _killing(signal.SIGABRT)),
    Fault("SIGSTOP", signal.SIGSTOP, frozenset({"SIGABRT", "SIGKILL"}), _HUNG),
    # One that comes between `start` and `cleanup` finds nobody who heeds it.
    Fault(
        "SIGTERM", signal.SIGTERM, frozenset({0, "SIGTERM"}), "exit status 0$|killed by SIGTERM$"
    ),
    _order("hang", ("SIGABRT", _HUNG), ("SIGKILL", _HUNG)),
    _order("memory", (0, " over max_rss ")),
    _order("descriptors", (0, " over max_fds ")),
    _raised("exception", "Mischief: for no reason", 1),
    _raised("sys.exit(text)", "SystemExit: text", 1),
    *(_raised(f"sys.exit({status})", f"SystemExit: {status}", status) for status in _STATUSES),
    *(_order(f"os._exit({n})", (n, f"exit status {n}$")) for n in _STATUSES),
)


@dataclass(frozen=True)
class Hit:
    at: float
    """seconds since the epoch"""
    pid: int
    born: str
    """in the kernel's ticks: a process id comes again in a long run"""
    fault: Fault


def explain(hits: list[Hit], report: CrashReport) -> bool:
    """Say whether a death is what such faults lead to; one may end what another one began."""
    end = report.signal or report.code
    hits = [hit for hit in hits if hit.at > report.at - report.uptime_seconds - LAG]
    return any(end in hit.fault.ends for hit in hits) and any(
        re.search(hit.fault.reasons, report.reason) for hit in hits
    )


class Tormentor:
    """Deals out faults, each kind as often as any other, in an order that is left to chance."""

    def __init__(self, running: Running, dice: random.Random) -> None:
        self.running = running
        self.hits: list[Hit] = []
        self.verbs: list[str] = []
        self._dice = dice
        self._deck: list[Fault] = []
        self._pools = {module: ThreadPoolExecutor(1) for module in NAMES}
        self._under_way: list[Future[None]] = []

    def torment(self, seconds: float, look: Callable[[], None]) -> None:
        """Do one thing after the other for so long; `look` is called in between."""
        deadline = time.monotonic() + seconds
        deeds = (self.hit_one, self.hit_one, self.hound, self.hit_all, self.order_a_verb)
        while time.monotonic() < deadline or self._deck:  # each kind as often as any other
            assert time.monotonic() < deadline + LONG, "there is nobody left to torment"
            self._dice.choice(deeds)()
            self.running.listen(self._dice.expovariate(1 / MEAN_PAUSE))
            look()

    def hit_one(self) -> None:
        if children := self.children():
            self._hit(self._dice.choice(children))

    def hit_all(self) -> None:
        """Several at the same moment."""
        for pid in self.children():
            self._hit(pid)

    def hound(self) -> None:
        """Hit whatever comes after one that was hit: its cleanup, or the next one's start."""
        before = set(self.children())
        self.hit_one()
        deadline = time.monotonic() + _HOUNDING
        while time.monotonic() < deadline:
            if new := set(self.children()) - before:
                self.running.listen(self._dice.choice((0, 0, 0.02, 0.05)))
                self._hit(new.pop())
                return
            self.running.listen(0.001)

    def order_a_verb(self) -> None:
        """What people do; to one module one thing after the other, to several at a time."""
        module = self._dice.choice(NAMES)
        targets = [f"/modules/{module}/{verb}" for verb in self._dice.choice(_VERBS)]
        targets = self._dice.choice((targets, targets, targets, ["/reload"]))
        self.verbs.extend(target.rpartition("/")[2] for target in targets)
        self._under_way.append(self._pools[module].submit(self._order, targets))

    def settle(self) -> dict[str, Any]:
        """Wait until all that was begun has come to its end, and no message is under way.

        Returns the status document of then.
        """
        quiet = self.running.base / "journals" / "quiet"
        # While messages come, one that hangs is noticed: so first the faults, then the messages.
        self._wait_until(lambda: self._recovered() is not None, "the modules to recover")
        quiet.touch()
        before: list[int] = []

        def silent() -> bool:
            nonlocal before
            status = self._recovered()
            sent = [each["inbox"]["sent_total"] for each in status["modules"]] if status else []
            waiting = sum(each["inbox"]["messages"] for each in status["modules"]) if status else 1
            was, before = before, sent
            return not waiting and was == sent

        self._wait_until(silent, "all messages to arrive")
        return self.running.status()

    def resume(self) -> None:
        (self.running.base / "journals" / "quiet").unlink()

    def close(self) -> None:
        for pool in self._pools.values():
            pool.shutdown()

    def children(self) -> list[int]:
        """Give the supervisor's children now: modules, and cleanups."""
        pid = self.running.process.pid
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def zombies(self) -> list[int]:
        """Give those of its children that have ended, and that it has not waited for."""
        return [pid for pid in self.children() if is_zombie(pid)]

    def deal(self, pid: int, fault: Fault) -> bool:
        """Let a child of the supervisor suffer a fault; False if it has ended by itself."""
        with contextlib.suppress(ProcessLookupError), _held(pid) as descriptor:
            parent, born = _parent_and_birth(pid)
            if parent == self.running.process.pid:  # nobody else's, who has its id by now
                signal.pidfd_send_signal(descriptor, fault.number)
                self.hits.append(Hit(time.time(), pid, born, fault))
                return True
        return False

    def _hit(self, pid: int) -> None:
        if not self._deck:
            self._deck = self._dice.sample(FAULTS, len(FAULTS))
        if self.deal(pid, self._deck[-1]):
            self._deck.pop()

    def _order(self, targets: list[str]) -> None:
        for target in targets:
            client.request(self.running.admin_socket, "POST", target, timeout=LONG)

    def _recovered(self) -> dict[str, Any] | None:
        """Give the status if all are ready, nobody is any more who was hit, and nothing is left."""
        if not all(each.done() for each in self._under_way):
            return None
        for each in self._under_way:
            each.result()
        status = self.running.status()
        children = {pid for pid in self.children() if not is_zombie(pid)}
        ready = {each["pid"] for each in modules(status) if each["state"] == "ready"}
        recovered = len(ready) == len(NAMES) and children == ready
        return status if recovered and not any(map(self._was_hit, ready)) else None

    def _was_hit(self, pid: int) -> bool:
        with contextlib.suppress(ProcessLookupError):
            born = _parent_and_birth(pid)[1]
            return any(hit.pid == pid and hit.born == born for hit in self.hits)
        return False

    def _wait_until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + LONG
        while not condition():
            assert time.monotonic() < deadline, f"waited in vain for {what}: {self._state()}"
            self.running.listen(0.05)

    def _state(self) -> str:
        found = modules(self.running.status())
        how = [(each["name"], each["state"], each["pid"], each["inbox"]) for each in found]
        return f"{how}, children {self.children()}, hit {self.hits[-10:]}, {self._under_way[-3:]}"


def modules(status: dict[str, Any]) -> list[dict[str, Any]]:
    """Give those of the status document that the chaos is about."""
    return [module for module in status["modules"] if module["name"] in NAMES]


def is_zombie(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        return _stat(pid)[0] == "Z"
    return False


@contextlib.contextmanager
def _held(pid: int) -> Iterator[int]:
    descriptor = os.pidfd_open(pid)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _parent_and_birth(pid: int) -> tuple[int, str]:
    stat = _stat(pid)
    return int(stat[1]), stat[19]


def _stat(pid: int) -> list[str]:
    """Read what proc(5) tells of a process, from its state on."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        raise ProcessLookupError(pid) from None
    return stat.rpartition(")")[2].split()
