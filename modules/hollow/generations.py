"""Puts together what is a generation's own of an edge: its metamanager and its edged."""

from __future__ import annotations

from typing import Any, Protocol

from ipc import Message
from modules.common.wire.generations import V1_1
from modules.hollow.events import Emit
from modules.hollow.link import Link
from modules.hollow.store import Store
from modules.hollow.timing import Timing
from modules.hollow.v1_1.edged import Edged as Edged11
from modules.hollow.v1_1.metamanager import MetaManager as MetaManager11
from modules.hollow.v1_23.edged import Edged as Edged123
from modules.hollow.v1_23.metamanager import MetaManager as MetaManager123
from modules.hollow.versions import Version


class Meta(Protocol):
    """What an edge does with messages about objects."""

    def handle(self, message: Message) -> None:
        """Handle a message of group `resource` from the cloud."""


class Edged(Protocol):
    """What runs the pods of an edge, and reports about the node."""

    @property
    def statuses(self) -> dict[str, dict[str, Any]]:
        """The status of each pod, by the pod's key."""

    async def run(self) -> None:
        """Run the pods that are stored from before; ends when cancelled, or at once."""

    def connected(self) -> None:
        """Follow each new connection."""

    def stop(self) -> None:
        """End what does not end with `run`."""


def assemble(
    version: Version,
    node: str,
    *,
    link: Link,
    store: Store,
    emit: Emit,
    timing: Timing,
    report_events: bool,
) -> tuple[Meta, Edged]:
    """Return the parts of an edge of a version, which send and store by `link` and `store`."""
    if version.generation == V1_1:
        old = MetaManager11(link.send, store, emit, timing.query)
        return old, Edged11(node, old, link.send, emit, timing)
    meta = MetaManager123(link, store, emit, timing.query)
    return meta, Edged123(node, version, meta, emit, timing, report_events=report_events)
