"""Every history of an edge that reports, two replicas that write it, and the API: breadth first.

It is a model of ReportFence and of those who write with it. There is one object, each version of
which has the number of the report that is in it. A request may arrive when its writer has given up.

What it leaves out: Leases that are deleted, after which both replicas go on; and an edge that comes
back to a replica before the controller there is told that it had gone, as CloudHub has crashed. A
report that has waited there is written over those of between.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Final, NamedTuple

#: What a replica does with a report: nothing, read the object or the Lease, send it, or wait for
#: the answer. With LEASE_FIRST it reads the Lease before the object, which is wrong.
IDLE, OBJECT, LEASE, LEASE_FIRST, READY, SENT = range(6)

NOBODY: Final = -1

#: What happens, and to which replica, or to the request of which number.
Step = tuple[str, int]


class Rules(NamedTuple):
    """The rules, each of which some history needs."""

    names_a_version: bool = True
    trusts_what_was_seen: bool = False
    trusts_what_was_read: bool = False
    believes_the_watch: bool = False
    reads_the_object_first: bool = True
    drops_with_the_connection: bool = True


class Budget(NamedTuple):
    """How often something that happens on its own may happen."""

    dials: int
    reports: int
    labels: int = 0
    lost: int = 0
    crashes: int = 0
    hub_crashes: int = 0


class Version(NamedTuple):
    """A version of the object, and the report that is in it; 0: none."""

    number: int
    report: int


class Side(NamedTuple):
    """A replica: the session, what it knows, and the one report that it writes."""

    has_session: bool = False
    believes: int = NOBODY
    """the holder, as its watch of Leases has shown it"""
    seen: Version = Version(1, 0)
    """the object, as its watch has shown it"""
    clean: int = 0
    waiting: int = 0
    """the latest report that waits; 0: none"""
    doing: int = IDLE
    report: int = 0
    base: int = 0
    """the version that is named"""


class Request(NamedTuple):
    replica: int
    report: int
    base: int


class World(NamedTuple):
    """The whole of one moment."""

    budget: Budget
    sides: tuple[Side, Side] = (Side(), Side())
    object: Version = Version(1, 0)
    holder: int = NOBODY
    newest: int = 0
    """the latest report that a holder has written"""
    reported: int = 0
    edge_at: int = NOBODY
    flying: tuple[Request, ...] = ()
    is_wrong: bool = False

    def change(self, number: int, **changes: object) -> World:
        """Return the world with something changed of a replica."""
        sides = list(self.sides)
        sides[number] = sides[number]._replace(**changes)  # type: ignore[arg-type]
        return self._replace(sides=(sides[0], sides[1]))

    def spend(self, name: str) -> World:
        left = getattr(self.budget, name) - 1
        return self._replace(budget=self.budget._replace(**{name: left}))


def steps(world: World) -> Iterator[Step]:
    """Yield what can happen next."""
    budget = world.budget
    if budget.labels:
        yield "label", NOBODY
    if budget.reports and world.edge_at != NOBODY and world.sides[world.edge_at].has_session:
        yield "report", world.edge_at
    for number, side in enumerate(world.sides):
        if budget.dials and (number == 0 or world.holder != NOBODY):  # the first is called a
            yield "dial", number
        if side.has_session and world.edge_at != number:
            yield "end", number
        if side.believes != world.holder:
            yield "see the lease", number
        if side.seen != world.object:
            yield "see the object", number
        if side.doing == IDLE and side.waiting:
            yield "begin", number
        if side.doing in (OBJECT, LEASE, LEASE_FIRST, READY):
            yield ("read", "ask", "ask first", "send")[side.doing - OBJECT], number
        if budget.crashes and (side.waiting or side.doing):
            yield "crash", number
        if budget.hub_crashes and side.has_session:
            yield "crash the hub", number
    for number in range(len(world.flying)):
        yield "arrive", number
        if budget.lost:
            yield "arrive in vain", number


def take(world: World, step: Step, rules: Rules) -> World:
    """Return the world in which something has happened."""
    name, number = step
    match name:
        case "label":
            changed = Version(world.object.number + 1, world.object.report)
            return world.spend("labels")._replace(object=changed)
        case "report":
            reported = world.reported + 1
            world = world.spend("reports")._replace(reported=reported)
            return world.change(number, waiting=reported)
        case "dial":
            return _dial(world.spend("dials"), number, rules)
        case "end":
            return _end(world, number, rules)
        case "see the lease":
            return _see_the_lease(world, number, rules)
        case "see the object":
            return world.change(number, seen=world.object)
        case "begin":
            return _begin(world, number, rules)
        case "read":
            return _read(world, number, rules)
        case "ask" | "ask first":
            return _ask(world, number, rules)
        case "send":
            side = world.sides[number]
            flying = (*world.flying, Request(number, side.report, side.base))
            return world.change(number, doing=SENT)._replace(flying=flying)
        case "arrive":
            return _arrive(world, number, rules, is_answered=True)
        case "arrive in vain":
            return _arrive(world.spend("lost"), number, rules, is_answered=False)
        case "crash":
            return _crash(world.spend("crashes"), number)
        case "crash the hub":
            world = world.spend("hub_crashes").change(number, has_session=False)
            return world._replace(edge_at=NOBODY) if world.edge_at == number else world
    raise AssertionError(name)


def _dial(world: World, number: int, rules: Rules) -> World:
    """Have the edge dial: a replica that believes that it holds the node writes no Lease."""
    if world.sides[number].has_session:
        world = _end(world, number, rules)
    if world.sides[number].believes != number:
        world = world._replace(holder=number).change(number, believes=number)
    return world.change(number, has_session=True)._replace(edge_at=number)


def _end(world: World, number: int, rules: Rules) -> World:
    """End a session, of which the controller is told."""
    world = world.change(number, has_session=False)
    if rules.drops_with_the_connection:
        world = _dropped(world, number).change(number, waiting=0)
    return world


def _dropped(world: World, number: int) -> World:
    """Give up the report that is being written; its request may be on its way."""
    return world.change(number, doing=IDLE, report=0, base=0)


def _see_the_lease(world: World, number: int, rules: Rules) -> World:
    side = world.sides[number]
    world = world.change(number, believes=world.holder)
    if side.has_session and world.holder != number:
        world = _end(world, number, rules)
        if world.edge_at == number:
            world = world._replace(edge_at=NOBODY)
    return world


def _begin(world: World, number: int, rules: Rules) -> World:
    side = world.sides[number]
    base, is_clean = side.clean, True
    if not base:
        base = side.seen.number
        is_clean = side.seen.report == 0 or rules.trusts_what_was_seen
    world = world.change(number, waiting=0, report=side.waiting, base=base)
    if is_clean:
        return world.change(number, doing=READY, clean=base)
    return world.change(number, doing=LEASE)


def _read(world: World, number: int, rules: Rules) -> World:
    side, base = world.sides[number], world.object.number
    if base == side.clean or rules.trusts_what_was_read or not rules.reads_the_object_first:
        return world.change(number, doing=READY, base=base, clean=base)
    return world.change(number, doing=LEASE, base=base)


def _ask(world: World, number: int, rules: Rules) -> World:
    side = world.sides[number]
    holder = side.believes if rules.believes_the_watch else world.holder
    if holder != number:
        return _dropped(world, number)
    if side.doing == LEASE_FIRST:
        return world.change(number, doing=OBJECT)
    return world.change(number, doing=READY, clean=side.base)


def _arrive(world: World, index: int, rules: Rules, *, is_answered: bool) -> World:
    request = world.flying[index]
    world = world._replace(flying=world.flying[:index] + world.flying[index + 1 :])
    number = request.replica
    side = world.sides[number]
    waits = side.doing == SENT and side.report == request.report and side.base == request.base
    is_written = request.base == world.object.number or not rules.names_a_version
    if is_written:
        world = _written(world, request)
    if not waits:
        return world
    if not is_answered:  # it is tried again, in the same way
        return world.change(number, doing=READY)
    if is_written:
        return _dropped(world.change(number, clean=world.object.number), number)
    return world.change(number, doing=OBJECT if rules.reads_the_object_first else LEASE_FIRST)


def _written(world: World, request: Request) -> World:
    if request.report < world.newest:
        return world._replace(is_wrong=True)
    world = world._replace(object=Version(world.object.number + 1, request.report))
    if request.replica == world.holder:
        world = world._replace(newest=request.report)
    return world


def _crash(world: World, number: int) -> World:
    """Restart a controller: what is not written is delivered again, and the object is listed."""
    side = world.sides[number]
    waiting = side.waiting or side.report
    return _dropped(world, number).change(number, clean=0, waiting=waiting, seen=world.object)


class Searched(NamedTuple):
    """What a search has found: a shortest history that is wrong, if there is one."""

    states: int
    history: list[Step] | None
    latest_is_written: bool
    """whether some history ends with the latest of all reports in the API"""


def search(budget: Budget, rules: Rules = Rules()) -> Searched:  # noqa: B008 - it is immutable
    """Look at every world that can be reached."""
    start = World(budget)
    came: dict[World, tuple[World, Step] | None] = {start: None}
    waiting = deque([start])
    is_reached = False
    while waiting:
        world = waiting.popleft()
        for step in steps(world):
            then = take(world, step, rules)
            if then in came:
                continue
            came[then] = world, step
            if then.is_wrong:
                return Searched(len(came), _history(came, then), is_reached)
            is_reached |= then.object.report == budget.reports
            waiting.append(then)
    return Searched(len(came), None, is_reached)


def _history(came: dict[World, tuple[World, Step] | None], at: World) -> list[Step]:
    found = []
    while origin := came[at]:
        at, step = origin
        found.append(step)
    return found[::-1]
