"""Every history of two replicas, one edge and the API, up to a number of failures: breadth first.

Stops and cuts need no steps of their own: a replica that is stopped or cut off the API is one that
does nothing for a while, and in some history each does nothing for a while. What a long stop means
is that the session ends. Steps of which the order makes no difference are one step here; they are
apart in test_model.py.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple, TypeVar

from tests.modules.common.replicas.model import NODE, Api, Edge, Replica, Session

T = TypeVar("T")

ITEM: Final = "pod"

#: What happens, and to which replica.
Step = tuple[str, int]
#: The number for what happens to no replica.
NOBODY: Final = -1


#: The edge has what it is to have, and the API does not know it yet.
SERVED: Final[tuple[Step, ...]] = (
    ("dial", 0),
    ("serve", 0),
    ("send", 0),
    ("read", NOBODY),
    ("hear", 0),
)


class Budget(NamedTuple):
    """How often something that happens on its own may happen."""

    dials: int
    needs: int = 0
    changes: int = 0
    ends: int = 0
    crashes: int = 0
    lost: int = 0
    deleted: int = 0


class State:
    """The whole of one moment; at first the edge is to have one object, and has nothing."""

    def __init__(self, replica: type[Replica], budget: Budget) -> None:
        self.api = Api()
        self.api.objects[ITEM] = self.api.next()
        self.api.needed.add(ITEM)
        self.replicas = [replica(name, self.api) for name in "ab"]
        self.edge = Edge()
        self.budget = budget

    def copied(self, changes: int) -> State:
        """Return a copy that shares nothing that changes if something happens to that replica."""
        new = _shallow(self)
        new.api = api = _shallow(self.api)
        api.events, api.record = api.events[:], api.record.copy()
        api.objects, api.needed = api.objects.copy(), api.needed.copy()
        new.edge = edge = _shallow(self.edge)
        edge.stored = edge.stored.copy()
        sessions: dict[int, Session | None] = {id(None): None}
        for old in (edge.session, *(s for r in self.replicas for s in (r.session, r.waiting))):
            if old is not None and id(old) not in sessions:
                made = sessions[id(old)] = _shallow(old)
                made.down, made.up = old.down.copy(), old.up.copy()
        edge.session = sessions[id(edge.session)]
        new.replicas = [_shallow(each) for each in self.replicas]
        for number, each in enumerate(new.replicas):
            each.api = api
            each.session, each.waiting = sessions[id(each.session)], sessions[id(each.waiting)]
            if number == changes:
                each.holdings = _shallow(each.holdings)
                each.holdings._leases = each.holdings._leases.copy()
                each.holdings._held = each.holdings._held.copy()
                each.holdings._ahead = each.holdings._ahead.copy()
                each.memory, each.versions = each.memory.copy(), each.versions.copy()
                each.written = each.written.copy()
                each.late, each.in_flight = each.late[:], each.in_flight.copy()
        return new

    def steps(self) -> Iterator[Step]:
        """Yield what can happen next."""
        left = self.budget
        if left.changes:
            yield "change", NOBODY
        if left.needs:
            yield "need", NOBODY
        if left.deleted and self.api.lease:
            yield "delete the lease", NOBODY
        if self.edge.session and self.edge.session.down:
            yield "read", NOBODY
        for number, replica in enumerate(self.replicas):
            if left.dials and (number == 0 or self.edge.dials):  # the first one is called a
                yield "dial", number
            if left.ends and (replica.session or replica.waiting):
                yield "end", number
            if left.crashes and (replica.versions or replica.holdings.holder(NODE)):
                yield "crash", number
            if replica.waiting or (replica.session and not replica.loaded):
                yield "serve", number
                if left.lost and replica.waiting:
                    yield "claim in vain", number
            if replica.events_read < len(self.api.events):
                yield "see the lease", number
            if replica.late:
                yield "record", number
            if replica.session and replica.session.up:
                yield "hear", number
            if replica.session and replica.loaded:
                if replica.cache != self.api.desired:
                    yield "see the object", number
                cached, known = replica.cache.get(ITEM), replica.memory.get(ITEM)
                if cached != known and ITEM not in replica.in_flight:
                    yield "send", number

    def take(self, step: Step) -> None:
        """Let something happen."""
        name, number = step
        api, replica = self.api, self.replicas[number]
        match name:
            case "change":
                self._spend("changes")
                api.objects[ITEM] = api.next()
            case "need":
                self._spend("needs")
                api.needed ^= {ITEM}
            case "delete the lease":
                self._spend("deleted")
                api.delete_lease()
            case "read":
                self.edge.read()
            case "dial":
                self._spend("dials")
                self.edge.dial(replica)
            case "end":
                self._spend("ends")
                replica.end()
            case "crash":
                self._spend("crashes")
                replica.end()
                replica.start()
            case "serve":
                while replica.waiting:
                    replica.claim()
                replica.cache = dict(api.desired)
                replica.load()
            case "claim in vain":
                self._spend("lost")
                replica.claim(answer_is_lost=True)
            case "see the lease":
                replica.read_event()
            case "record":
                replica.write_late()
            case "hear":
                replica.acknowledged()
            case "see the object":
                replica.cache = dict(api.desired)
            case "send":
                replica.send(ITEM)

    def _spend(self, what: str) -> None:
        self.budget = self.budget._replace(**{what: getattr(self.budget, what) - 1})

    @property
    def is_wrong(self) -> bool:
        """Whether the replica that serves the edge has nothing to do, and the edge is not right."""
        desired = self.api.desired.get(ITEM)
        if self.edge.session is None or self.edge.stored.get(ITEM) == desired:
            return False
        return any(
            replica.session is self.edge.session
            and replica.loaded
            and not replica.in_flight
            and not replica.late
            and replica.cache.get(ITEM) == desired == replica.memory.get(ITEM)
            for replica in self.replicas
        )

    def key(self) -> int:
        """Return what tells this state apart; of versions only whether they are the same."""
        names: dict[object, int] = {None: -1, "": -2, 0: -3}
        api, edge = self.api, self.edge
        first = min(*(each.events_read for each in self.replicas), max(0, len(api.events) - 1))
        parts: list[object] = [self.budget, edge.dials > 0, bool(api.needed)]
        versions: list[object] = [api.objects[ITEM], *api.record.get(ITEM, (-1, -1))]
        versions.append(edge.stored.get(ITEM))
        for lease in (api.lease, *api.events[first:]):
            parts.append(lease and lease.holder)
            versions.append(lease and int(lease.version))
        if edge.session:
            versions += [each.version for each in edge.session.down]
            parts.append(len(edge.session.down))
        for each in self.replicas:
            lease = each.holdings._leases.get(NODE)
            parts += (each.events_read - first, lease and lease.holder, len(each.holdings))
            parts.append(len(each.holdings._ahead))
            parts += (each.loaded, len(each.late), len(each.in_flight))
            versions += (lease and int(lease.version), each.cache.get(ITEM) if each.loaded else 0)
            versions += (each.memory.get(ITEM), each.versions.get(ITEM), each.written.get(ITEM))
            for late in each.late:
                versions += (late.seen, late.version)
            versions += [sent.version for sent in each.in_flight.values()]
            for session in (each.session, each.waiting):
                parts.append(session and session is edge.session)
                if session:
                    parts.append(len(session.up))
                    versions += [sent.version for sent in session.up]
        parts += [names.setdefault(version, len(names)) for version in versions]
        return hash(tuple(parts))


def _shallow(old: T) -> T:
    """Copy an object, as copy.copy does in five times the time."""
    new = object.__new__(type(old))
    new.__dict__.update(old.__dict__)
    return new


class Found(NamedTuple):
    """What a search has found: a shortest history that is wrong, if there is one."""

    states: int
    history: list[Step] | None


def explore(replica: type[Replica], budget: Budget, begin: Sequence[Step] = ()) -> Found:
    """Look at every state that can be reached after some steps, which the budget has to have."""
    start = State(replica, budget)
    for step in begin:
        start.take(step)
    came: dict[int, tuple[int, Step] | None] = {start.key(): None}
    waiting = deque([(start.key(), start)])
    while waiting:
        number, state = waiting.popleft()
        for step in state.steps():
            then = state.copied(step[1])
            then.take(step)
            key = then.key()
            if key in came:
                continue
            came[key] = number, step
            if then.is_wrong:
                return Found(len(came), _history(came, key))
            waiting.append((key, then))
    return Found(len(came), None)


def _history(came: dict[int, tuple[int, Step] | None], at: int) -> list[Step]:
    steps = []
    while origin := came[at]:
        at, step = origin
        steps.append(step)
    return steps[::-1]
