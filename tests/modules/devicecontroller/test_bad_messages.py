"""Whatever an edge sends, one message is set aside by itself."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipc import Message
from modules.common.kube import DEVICES
from modules.common.wire.generations import V1_1, V1_23, tell
from tests.modules.devicecontroller.fakes import running
from tests.modules.devicecontroller.samples import NODE, device
from tests.support.anything import contents, names
from tests.support.aside import no_bug

TWIN = {
    "event_id": "e",
    "timestamp": 1,
    "twin": {
        "power-status": {
            "actual": {"value": "ON", "metadata": {"timestamp": 1}},
            "expected": {"value": "ON", "metadata": {"timestamp": 1}},
            "metadata": {"type": "string"},
            "actual_version": {"cloud": 0, "edge": 1},
        }
    },
}
RESOURCES = st.one_of(
    st.text(max_size=30),
    st.sampled_from(
        [
            f"node/{NODE}",
            f"node/{NODE}/membership/detail",
            f"node/{NODE}/membership",
            f"node/{NODE}/device/d/twin/edge_updated",
            f"node/{NODE}/device/d/state",
            "node/stranger/membership/detail",
        ]
    ),
    st.builds("node/{}/device/{}/twin/edge_updated".format, st.just(NODE) | names, names),
)
MESSAGES = st.builds(
    Message.build,
    st.sampled_from(["twin", "cloudhub"]),
    st.just("twin"),
    st.sampled_from(["get", "update", "response", "error", "disconnected"]) | st.text(max_size=10),
    RESOURCES,
    contents(TWIN, {"event_id": "e"}),
)


@pytest.mark.timeout(300)
@settings(max_examples=settings.default.max_examples // 4)
@given(messages=st.lists(MESSAGES, min_size=1, max_size=20))
def test_whatever_an_edge_sends_the_controller_goes_on(messages: list[Message]) -> None:
    """Every message is done with, and what is reported after them is written."""
    with (
        tempfile.TemporaryDirectory() as directory,
        no_bug(),
        pytest.MonkeyPatch.context() as patches,
    ):
        patches.setattr("modules.devicecontroller.status.acceptance._GRACE", 0.0)
        patches.setattr("modules.devicecontroller.upstream._ASK_WITHIN", 0.0)
        asyncio.run(send_all(Path(directory), messages))


async def send_all(directory: Path, messages: list[Message]) -> None:
    async with running(directory) as bench:
        bench.api.feed(DEVICES, device("d"))
        connected = Message.build("cloudhub", "resource", "connected", f"node/{NODE}", tell(V1_1))
        taken = [bench.hear(message) for message in (connected, *messages)]
        await bench.settle()
        assert all(each.is_done for each in taken)
        value = str(len(messages)) * 3
        twin = {"power-status": {"actual": {"value": value, "metadata": {"timestamp": 2**62}}}}
        content = msgspec.json.encode({"twin": twin})
        resource = f"node/{NODE}/device/d/twin/edge_updated"
        bench.hear(Message.build("twin", "twin", "update", resource, content))
        await bench.settle()
        written = [patch["status"].get("twins") for _, _, patch in bench.api.patches]
        assert value in repr(written)


async def test_confirmations_that_cannot_go_on_end_the_module(tmp_path: Path) -> None:
    """Messages would wait for them for ever, and the module would count as ready."""

    def fail(*_: object) -> None:
        raise RuntimeError("a bug")

    async with running(tmp_path) as bench:
        await bench.ready()
        queue: Any = bench.controller.upstream._confirmations
        queue._handle = queue._put_aside = fail
        queue.add("an id")
        async with asyncio.timeout(20):
            await asyncio.wait([bench.task])
        assert "RuntimeError('a bug')" in repr(bench.task.exception())


async def test_messages_of_one_id_are_each_done(tmp_path: Path) -> None:
    """One that is not would keep the room of all after it in the channel, and a place in flight."""
    async with running(tmp_path) as bench:
        await bench.ready()
        bench.hear(Message.build("cloudhub", "resource", "connected", f"node/{NODE}", tell(V1_23)))
        message = Message.build("twin", "twin", "update", f"node/{NODE}/device/d/state", b"[]")
        taken = [bench.hear(msgspec.structs.replace(message)) for _ in range(3)]
        await bench.settle()
        assert all(each.is_done for each in taken)
