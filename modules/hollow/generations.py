"""Puts together what is a generation's own of an edge: metamanager, edged and deviceTwin."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from ipc import Message
from modules.common.wire.generations import V1_1
from modules.hollow.confirmations import Confirmations
from modules.hollow.events import Emit
from modules.hollow.link import Link
from modules.hollow.store import Store
from modules.hollow.timing import Timing
from modules.hollow.v1_1.devicetwin import DeviceTwin as DeviceTwin11
from modules.hollow.v1_1.edged import Edged as Edged11
from modules.hollow.v1_1.metamanager import MetaManager as MetaManager11
from modules.hollow.v1_23.devicetwin import DeviceTwin as DeviceTwin123
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


class Twin(Protocol):
    """What an edge does with devices; `devices` maps id -> {id, name, state, twin ...}."""

    devices: dict[str, dict[str, Any]]
    confirmations: Confirmations
    follows: bool
    """Whether devices do what is desired; if not, a caller uses `report`."""

    def start(self) -> None:
        """Simulate the devices that are stored from before."""

    def connected(self) -> None:
        """Follow each new connection."""

    def handle(self, message: Message) -> None:
        """Handle a message of group `twin` from the cloud."""

    def report(self, device_id: str, values: dict[str, str]) -> None:
        """Report values of a device; raises KeyError if there is no such device or property."""

    def stop(self) -> None:
        """Cancel all timers."""


class Parts(NamedTuple):
    """The parts of an edge that differ between generations."""

    meta: Meta
    edged: Edged
    twin: Twin


def assemble(
    version: Version,
    node: str,
    *,
    link: Link,
    store: Store,
    devices: dict[str, dict[str, Any]],
    emit: Emit,
    timing: Timing,
    report_events: bool,
) -> Parts:
    """Return the parts of an edge of a version, which send by `link`.

    `store` and `devices` are what the edge keeps in its database.
    """
    if version.generation == V1_1:
        old = MetaManager11(link.send, store, emit, timing.query)
        twin_of_old = DeviceTwin11(node, devices, link, emit, timing)
        return Parts(old, Edged11(node, old, link.send, emit, timing), twin_of_old)
    meta = MetaManager123(link, store, emit, timing.query)
    edged = Edged123(node, version, meta, emit, timing, report_events=report_events)
    twin = DeviceTwin123(node, version, store, devices, link=link, emit=emit, timing=timing)
    meta.subscribe_devices(twin.object_changed)
    return Parts(meta, edged, twin)
