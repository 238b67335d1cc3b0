"""What edges have not acknowledged, from the controllers' records."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

from modules.common.sync.journal import Row
from modules.common.sync.record import Record
from modules.dashboard.sources.devices import alpha
from modules.dashboard.sources.unacknowledged import Unacknowledged
from modules.devicecontroller.v1alpha1.sync.inventory import DeviceSlot
from modules.devicecontroller.v1alpha1.sync.record import SyncRecord, Told


async def test_what_a_node_has_not_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "edgecontroller" / "told.jsonl"
    record = Record(path)
    unacknowledged = Unacknowledged(tmp_path)
    item = ("pod", "default", "web")
    try:
        record.set_generation("e", "v1.23")
        record.tell("e", item, "uid")
        assert not record.drop_gone("e", 86_400)  # which it notes in a row
        record.tell("e", ("configmap", "default", "c"), "uid")
        record.acknowledge("e", ("configmap", "default", "c"), "5")
        record.flush()
        assert await unacknowledged.of("e", ()) == [
            {
                "controller": "edgecontroller",
                "type": "pod",
                "namespace": "default",
                "name": "web",
                "why": "",
            }
        ]
        assert await unacknowledged.of("other", ()) == []
        record.acknowledge("e", item, "6")
        record.flush()
        assert await unacknowledged.of("e", ()) == []
        with path.open("ab") as file:
            file.write(b'["e","pod","default","half')  # as it is being written
        assert await unacknowledged.of("e", ()) == []
        assert path.exists()  # nothing is set aside: the file is another process's
    finally:
        record.close()
    assert record.row("e", item) == Row("uid", "6")


async def test_a_device_of_1_1_is_acknowledged_by_what_it_reports(tmp_path: Path) -> None:
    expression = {"key": "", "values": ["e"]}
    selector = {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}
    twin = {"propertyName": "power", "desired": {"value": "ON"}, "reported": {"value": "OFF"}}
    obj: dict[str, Any] = {
        "metadata": {"namespace": "default", "name": "led"},
        "spec": {"nodeSelector": selector},
        "status": {"twins": [twin]},
    }
    unacknowledged = Unacknowledged(tmp_path)

    async def why() -> str:
        found = await unacknowledged.of("e", [alpha(obj)])
        return found[0]["why"] if found else ""

    assert await why() == "it has not been sent yet"
    path = tmp_path / "devicecontroller" / "told.jsonl"
    with closing(SyncRecord(path)) as record:
        record.put(DeviceSlot("e", "led"), Told(obj))
        record.flush()
    assert await why() == "power: ON is desired, OFF is reported"
    twin["reported"] = {"value": "ON"}
    assert await why() == ""
    obj["status"]["conditions"] = [{"type": "Accepted", "status": "False", "message": "no model"}]
    twin["reported"] = {"value": ""}
    assert await why() == ""  # that is said where the device is shown
