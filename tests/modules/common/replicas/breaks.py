"""The protocol with one of its rules broken, each of which some history needs."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from tests.modules.common.replicas.model import Late, Replica, Row


class NewRowsAreNotWrittenFirst(Replica):
    """An object is sent before the record says that the edge may have it."""

    def weaken(self, item: str, wanted: int | None) -> None:
        if item in self.api.record:
            super().weaken(item, wanted)
        else:
            self.versions[item] = 0


class DeletionsDoNotWeaken(Replica):
    """A deletion is sent while the record says that the edge has the object."""

    def weaken(self, item: str, wanted: int | None) -> None:
        super().weaken(item, wanted or 1)


class LateWritesHaveNoPrecondition(Replica):
    """An acknowledgement is recorded whoever has written the row since."""

    def is_unchanged(self, row: Row, late: Late) -> bool:
        return True


class WeakRowsAreNotTaken(Replica):
    """A row without a version is read at a takeover, and not written anew."""

    def take(self, item: str) -> None:
        pass


class WeakRowsAreTakenOnce(Replica):
    """A row without a version that another replica has written counts as one of its own."""

    def conflict(self, late: Late, row: Row) -> None:
        super().conflict(late, row)
        self.written[late.item] = row.version


class ConflictsAreOverruled(Replica):
    """An acknowledgement that meets a foreign row is recorded with the next attempt."""

    def conflict(self, late: Late, row: Row) -> None:
        self.late.append(late._replace(version=row.version))


class ForeignRowsAreBelieved(Replica):
    """A foreign row does not put in doubt what is known of the edge."""

    def conflict(self, late: Late, row: Row) -> None:
        self.versions[late.item] = row.version


class TheRecordIsNotRead(Replica):
    """What was known of an edge counts when it comes back, and the rows do not."""

    def read_record(self) -> None:
        for item, row in self.api.record.items():
            self.versions[item] = row.version


class TheWatchIsBehind(Replica):
    """The rows are those that the watch has shown by the time a node was taken over before."""

    shown: Mapping[str, Row] = MappingProxyType({})

    def caught_up(self) -> dict[str, Row]:
        shown, self.shown = self.shown, dict(self.api.record)
        return dict(shown)


class WhatWasKnownIsBelieved(Replica):
    """What was known of an edge counts when it comes back, more than its rows."""

    def read_record(self) -> None:
        known = dict(self.memory)
        super().read_record()
        self.memory |= known


class NothingIsInDoubt(Replica):
    """What is sent first, or deleted, is not in doubt until the answer comes."""

    def doubt(self, item: str) -> None:
        pass


BREAKS: Final = (
    NewRowsAreNotWrittenFirst,
    DeletionsDoNotWeaken,
    LateWritesHaveNoPrecondition,
    WeakRowsAreNotTaken,
    WeakRowsAreTakenOnce,
    ConflictsAreOverruled,
    ForeignRowsAreBelieved,
    TheRecordIsNotRead,
    TheWatchIsBehind,
    WhatWasKnownIsBelieved,
    NothingIsInDoubt,
)
