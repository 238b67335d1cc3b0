"""One edge, several replicas and the API, one step at a time: the steps can come in any order.

The takeover is the real code (Holdings). The record is a model of what modules/common/sync/ does
with ObjectSyncs: what makes a row weaker is written before the message is sent, and what makes it
stronger is written later, on the condition that nobody has written it since.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

from modules.common.replicas.holdings import Claim, Holdings, NodeLease

NODE = "n"


class Row(NamedTuple):
    """A row of the record in the API; `seen` 0: the edge may have the object, in any version."""

    seen: int
    version: int


class Late(NamedTuple):
    """A write that makes a row stronger; None: the edge no longer has the object."""

    item: str
    seen: int | None
    version: int


class Sent(NamedTuple):
    item: str
    version: int | None
    """None: a deletion"""


@dataclass
class Session:
    """A connection of the edge; `number` is the order in which it dialed."""

    number: int
    down: deque[Sent] = field(default_factory=deque)
    up: deque[Sent] = field(default_factory=deque)
    over: bool = False


class Api:
    """What the API server has."""

    def __init__(self) -> None:
        self.revision = 0
        self.lease: NodeLease | None = None
        self.events: list[NodeLease | None] = []
        self.record: dict[str, Row] = {}
        self.objects: dict[str, int] = {}
        self.needed: set[str] = set()

    def next(self) -> int:
        self.revision += 1
        return self.revision

    @property
    def desired(self) -> dict[str, int]:
        return {item: version for item, version in self.objects.items() if item in self.needed}

    def write_lease(self, claim: Claim) -> NodeLease | None:
        """Return the Lease as written; None for a conflict."""
        if claim.version != (self.lease.version if self.lease else ""):
            return None
        self.lease = NodeLease(claim.holder, claim.transitions, str(self.next()))
        self.events.append(self.lease)
        return self.lease

    def delete_lease(self) -> None:
        self.lease = None
        self.events.append(None)

    def write_row(self, item: str, seen: int) -> int:
        self.record[item] = Row(seen, self.next())
        return self.revision


class Replica:
    """A cloudcore: its CloudHub and EdgeController in one."""

    holdings_class = Holdings

    def __init__(self, name: str, api: Api) -> None:
        self.name = name
        self.api = api
        self.cut = False
        self.stopped = False
        self.start()

    def start(self) -> None:
        """Start without any memory, as after a crash."""
        self.holdings = self.holdings_class(self.name)
        self.events_read = max(0, len(self.api.events) - 1)
        """a restart lists, which shows the last state"""
        self.session: Session | None = None
        self.is_behind = False
        """whether it knows that its watch of Leases may be"""
        self.waiting: Session | None = None
        """the session for which the node is claimed"""
        self.answer: NodeLease | None = None
        """that to a claim, which is still on its way"""
        self.cache = dict(self.api.desired)
        self.memory: dict[str, int] = {}
        self.versions: dict[str, int] = {}
        self.written: dict[str, int] = {}
        """the versions of rows that this replica has written"""
        self.late: list[Late] = []
        self.in_flight: dict[str, Sent] = {}
        self.loaded = False

    @property
    def reaches_api(self) -> bool:
        return not (self.cut or self.stopped)

    # CloudHub

    def dialed(self, session: Session) -> None:
        self.end()
        if self.holdings.dialed(NODE, is_sure=not self.is_behind) is None:
            self.session = session
        else:
            self.waiting = session

    def end(self) -> None:
        for session in filter(None, (self.session, self.waiting)):
            session.over = True
        self.session = self.waiting = None
        self.loaded = False
        self.in_flight.clear()
        self.holdings.left(NODE)

    def claim(self, *, answer_is_lost: bool = False, answer_is_late: bool = False) -> None:
        """Do one attempt to write the claim."""
        session = self.waiting
        if session is None or self.answer is not None:
            return
        claim = self.holdings.dialed(NODE, is_sure=not self.is_behind)
        if claim is None:
            self.waiting, self.session = None, session
            return
        lease = self.api.write_lease(claim)
        if lease is None:
            self.holdings.read(NODE, self.api.lease, claim)
        elif answer_is_lost:
            self.end()
        else:
            self.answer = lease
            if not answer_is_late:
                self.hear_the_claim()

    def hear_the_claim(self) -> None:
        """Get the answer to a claim, maybe long after others have seen what it wrote."""
        lease, self.answer = self.answer, None
        if lease is None:
            return
        holds = self.holdings.written(NODE, lease)
        if not holds or self.waiting is None:
            self.end()
        else:
            self.waiting, self.session = None, self.waiting

    def read_event(self) -> None:
        if self.events_read < len(self.api.events):
            self.events_read += 1
            if self.holdings.seen(NODE, self.api.events[self.events_read - 1]):
                self.end()

    # EdgeController

    def load(self) -> None:
        """Read the record before anything is sent."""
        if self.session is None or self.loaded:
            return
        self.read_record()
        self.late = [late for late in self.late if late.version == self.versions.get(late.item)]
        self.loaded = True

    def read_record(self) -> None:
        rows = {}
        for item, row in self.caught_up().items():
            known = self.versions.get(item) == row.version
            rows[item] = self.memory[item] if known and item in self.memory else row.seen
            self.versions[item] = row.version
            is_ours = self.written.get(item) == row.version
            if not rows[item] and not (is_ours and all(late.item != item for late in self.late)):
                self.take(item)  # a late one may be on its way
        self.memory = rows

    def caught_up(self) -> dict[str, Row]:
        """Return the rows when the watch has shown all that was written before."""
        return self.api.record

    def take(self, item: str) -> None:
        """Write a row anew: what the former holder may still write about it has to fail."""
        self.write(item, 0)

    def write(self, item: str, seen: int) -> None:
        self.versions[item] = self.written[item] = self.api.write_row(item, seen)

    def send(self, item: str) -> None:
        """Bring the edge up to date with an object; the record is made weaker before that."""
        if not self.loaded or self.session is None or item in self.in_flight:
            return
        wanted, seen = self.cache.get(item), self.memory.get(item)
        if seen == wanted:
            return
        if wanted is None or seen is None:
            self.doubt(item)
        self.weaken(item, wanted)
        sent = Sent(item, wanted)
        self.in_flight[item] = sent
        self.session.down.append(sent)

    def weaken(self, item: str, wanted: int | None) -> None:
        """Have in the record that the edge may have the object, or none of the versions known."""
        stored = self.api.record.get(item)
        if stored is None or (wanted is None and stored.seen):
            self.write(item, 0)
        elif item not in self.versions:
            self.versions[item] = stored.version  # it was there already, when it was to be made

    def doubt(self, item: str) -> None:
        """Know no more than that the edge may have the object."""
        self.memory[item] = 0
        self.late = [late for late in self.late if late.item != item]

    def acknowledged(self) -> None:
        if self.session is None or not self.session.up:
            return
        sent = self.session.up.popleft()
        if self.in_flight.get(sent.item) != sent:
            return
        del self.in_flight[sent.item]
        if sent.version is None:
            self.memory.pop(sent.item, None)
        else:
            self.memory[sent.item] = sent.version
        self.late = [late for late in self.late if late.item != sent.item]
        self.late.append(Late(sent.item, sent.version, self.versions.get(sent.item, 0)))

    def write_late(self) -> None:
        """Write the first acknowledgement that is not in the API yet, maybe long after it came."""
        if not self.late:
            return
        late = self.late.pop(0)
        row = self.api.record.get(late.item)
        if row is None or not self.is_unchanged(row, late):
            if self.loaded and row is not None:
                self.conflict(late, row)
        elif late.seen is None:
            del self.api.record[late.item]
            self.versions.pop(late.item, None)
        else:
            self.write(late.item, late.seen)

    def is_unchanged(self, row: Row, late: Late) -> bool:
        """Whether nobody has written the row since: the precondition of the write."""
        return row.version == late.version

    def conflict(self, late: Late, row: Row) -> None:
        """Ask whose node it is: only an answer to a message sent from now on shows that."""
        self.versions[late.item] = row.version
        self.memory[late.item] = 0
        self.in_flight.pop(late.item, None)


class Edge:
    """An edge: its database, and the one connection that it reads."""

    def __init__(self) -> None:
        self.stored: dict[str, int] = {}
        self.session: Session | None = None
        self.dials = 0

    def dial(self, replica: Replica) -> None:
        self.dials += 1
        self.session = Session(self.dials)
        replica.dialed(self.session)

    def read(self) -> None:
        if self.session is None or not self.session.down:
            return
        sent = self.session.down.popleft()
        if sent.version is None:
            self.stored.pop(sent.item, None)
        else:
            self.stored[sent.item] = sent.version
        self.session.up.append(sent)
