"""No history of replicas, takeovers and failures in which an edge ends with an older state."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from tests.modules.common.replicas.model import Api, Edge, Replica

REPLICAS = st.integers(0, 2)
ITEMS = st.sampled_from(["pod", "configmap"])

#: Rounds in which everything comes to rest, if it does.
ROUNDS = 6


class Replicas(RuleBasedStateMachine):
    """Every step of every part, in any order; `settle` lets all of them finish."""

    @initialize()
    def begin(self) -> None:
        self.api = Api()
        self.replicas = [Replica(name, self.api) for name in "abc"]
        self.edge = Edge()

    def working(self, number: int) -> Replica | None:
        replica = self.replicas[number]
        return None if replica.stopped else replica

    def online(self, number: int) -> Replica | None:
        replica = self.replicas[number]
        return replica if replica.reaches_api else None

    @rule(item=ITEMS)
    def change(self, item: str) -> None:
        self.api.objects[item] = self.api.next()

    @rule(item=ITEMS)
    def need(self, item: str) -> None:
        """Let the node need an object, or not: its version does not show that."""
        self.api.needed ^= {item}

    @rule(number=REPLICAS)
    def dial(self, number: int) -> None:
        if replica := self.working(number):
            self.edge.dial(replica)

    @rule(number=REPLICAS)
    def lose_the_connection(self, number: int) -> None:
        if replica := self.working(number):
            replica.end()

    @rule(number=REPLICAS, answer=st.sampled_from(["comes", "is lost", "is late"]))
    def claim(self, number: int, answer: str) -> None:
        if replica := self.online(number):
            replica.claim(answer_is_lost=answer == "is lost", answer_is_late=answer == "is late")

    @rule(number=REPLICAS)
    def hear_the_claim(self, number: int) -> None:
        if replica := self.online(number):
            replica.hear_the_claim()

    @rule(number=REPLICAS)
    def see_a_lease(self, number: int) -> None:
        if replica := self.online(number):
            replica.read_event()

    @rule(number=REPLICAS, is_behind=st.booleans())
    def notice_the_watch(self, number: int, is_behind: bool) -> None:
        """Take the watch of Leases for behind, or for none that is: rightly or wrongly."""
        self.replicas[number].is_behind = is_behind

    @rule()
    def delete_the_lease(self) -> None:
        if self.api.lease:
            self.api.delete_lease()

    @rule(number=REPLICAS)
    def see_the_objects(self, number: int) -> None:
        if replica := self.online(number):
            replica.cache = dict(self.api.desired)

    @rule(number=REPLICAS)
    def load(self, number: int) -> None:
        if replica := self.online(number):
            replica.load()

    @rule(number=REPLICAS, item=ITEMS)
    def send(self, number: int, item: str) -> None:
        if replica := self.online(number):
            replica.send(item)

    @rule()
    def read(self) -> None:
        self.edge.read()

    @rule(number=REPLICAS)
    def acknowledged(self, number: int) -> None:
        if replica := self.working(number):
            replica.acknowledged()

    @rule(number=REPLICAS)
    def write_late(self, number: int) -> None:
        if replica := self.online(number):
            replica.write_late()

    @rule(number=REPLICAS)
    def crash(self, number: int) -> None:
        self.replicas[number].end()
        self.replicas[number].start()

    @rule(number=REPLICAS)
    def stop(self, number: int) -> None:
        self.replicas[number].stopped = True

    @rule(number=REPLICAS, long=st.booleans())
    def go_on(self, number: int, long: bool) -> None:
        """Wake up; after a stop that was longer than a Lease, all nodes are let go first."""
        replica = self.replicas[number]
        if replica.stopped:
            replica.stopped = False
            if long:
                replica.end()

    @rule(number=REPLICAS, cut=st.booleans())
    def cut_from_api(self, number: int, cut: bool) -> None:
        self.replicas[number].cut = cut

    @rule(number=REPLICAS)
    def settle(self, number: int) -> None:
        """Let all failures end, and everybody finish: the edge has what the API says."""
        for replica in self.replicas:
            replica.stopped = replica.cut = replica.is_behind = False
        for _ in range(ROUNDS):
            if self.edge.session is None or self.edge.session.over:
                self.edge.dial(self.replicas[number])
            for replica in self.replicas:
                self.finish(replica)
            for _ in range(4):
                self.edge.read()
        assert self.edge.stored == self.api.desired
        for replica in self.replicas:
            holder = self.api.lease.holder if self.api.lease else replica.name
            assert replica.session is None or holder == replica.name

    def finish(self, replica: Replica) -> None:
        replica.hear_the_claim()
        replica.claim()
        while replica.events_read < len(self.api.events):
            replica.read_event()
        replica.cache = dict(self.api.desired)
        replica.load()
        for item in ("pod", "configmap"):
            replica.send(item)
        for _ in range(4):
            replica.acknowledged()
        for _ in range(4):
            replica.write_late()

    def teardown(self) -> None:
        if hasattr(self, "api"):
            self.settle(0)


def test_an_edge_never_ends_with_an_older_state() -> None:
    run_state_machine_as_test(
        Replicas,
        settings=settings(
            max_examples=60,
            stateful_step_count=50,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],  # which a busy machine may be
        ),
    )


def test_an_acknowledgement_that_is_written_late_does_not_outlive_a_deletion() -> None:
    """The history for which a replica that loads a row writes it anew if it has no version."""
    machine = Replicas()
    machine.begin()
    a, b, c = machine.replicas
    machine.change("configmap")
    machine.need("configmap")
    serve(machine, a)
    a.send("configmap")
    machine.edge.read()
    a.acknowledged()  # but that is not in the API yet
    serve(machine, b)
    machine.need("configmap")
    b.cache = {}
    b.send("configmap")
    machine.edge.read()
    assert machine.edge.stored == {}
    a.write_late()
    a.write_late()  # it does not insist: the edge may be elsewhere
    b.end()
    b.start()
    machine.need("configmap")
    serve(machine, c)
    machine.settle(2)


def serve(machine: Replicas, replica: Replica) -> None:
    machine.edge.dial(replica)
    replica.claim()  # of a Lease that it may not know
    replica.claim()
    replica.cache = dict(machine.api.desired)
    replica.load()
    assert replica.loaded


def test_a_deletion_whose_acknowledgement_is_lost_is_not_forgotten() -> None:
    """The history for which the record is made weaker before a deletion is sent."""
    machine = Replicas()
    machine.begin()
    a, b, _ = machine.replicas
    machine.change("configmap")
    machine.need("configmap")
    serve(machine, a)
    a.send("configmap")
    machine.edge.read()
    a.acknowledged()
    a.write_late()
    machine.need("configmap")
    a.cache = {}
    a.send("configmap")
    machine.edge.read()
    assert machine.edge.stored == {}
    a.end()
    a.start()  # before it has written that the edge no longer has it
    machine.need("configmap")
    serve(machine, b)
    machine.settle(1)


def test_a_replica_whose_claim_is_answered_late_does_not_hold_what_another_has_taken() -> None:
    machine = Replicas()
    machine.begin()
    a, b, _ = machine.replicas
    machine.edge.dial(b)  # a dial that the edge has given up, which B does not know
    machine.edge.dial(a)
    a.claim(answer_is_late=True)
    b.claim()
    b.claim()
    while a.events_read < len(machine.api.events):
        a.read_event()
    a.hear_the_claim()
    assert a.session is None
    machine.settle(0)
