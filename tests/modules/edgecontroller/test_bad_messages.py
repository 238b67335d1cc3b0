"""Whatever an edge sends, and whatever it asks for is like, one message is set aside by itself."""

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
from modules.common.kube import PODS
from tests.support.anything import contents, json, names
from tests.support.aside import no_bug
from tests.support.mutations import sample

from .conftest import NODE, pod
from .fakes import running

OPERATIONS = ["insert", "update", "delete", "query", "response", "error", "connected", "get"]
TYPES = ["podstatus", "nodestatus", "node", "pod", "configmap", "secret", "service", "endpoints"]

POD_STATUS = {"Name": "p", "Status": sample("PodStatus"), "UID": "u-p"}
NODE_STATUS = {
    "Status": sample("NodeStatus"),
    "ExtendResources": {"nvidia.com/gpu": [{"name": "a"}]},
}
NODE_UPDATE = {"metadata": {"annotations": {"a": "b"}}}

RESOURCES = st.one_of(
    st.text(max_size=30),
    st.builds(
        "/".join,
        st.tuples(
            st.just("node"),
            st.sampled_from([NODE, "stranger", ""]),
            st.sampled_from(["default"]) | names,
            st.sampled_from(TYPES) | names,
            st.sampled_from(["p", NODE]) | names,
        ),
    ),
    st.builds("node/{}/default/{}".format, st.just(NODE), st.sampled_from(TYPES)),
)
MESSAGES = st.builds(
    Message.build,
    st.sampled_from(["edged", "metaManager", "cloudhub"]),
    st.just("meta"),
    st.sampled_from(OPERATIONS) | st.text(max_size=10),
    RESOURCES,
    contents(POD_STATUS, [POD_STATUS, POD_STATUS], NODE_STATUS, NODE_UPDATE),
    parent_id=st.text(max_size=5),
)


@pytest.mark.timeout(300)
@settings(max_examples=settings.default.max_examples // 4)
@given(messages=st.lists(MESSAGES, min_size=1, max_size=20), answer=json)
def test_whatever_an_edge_sends_the_controller_goes_on(
    messages: list[Message], answer: Any
) -> None:
    """Every message is done with, and a good status after them is written."""
    with tempfile.TemporaryDirectory() as directory, no_bug():
        asyncio.run(send_all(Path(directory), messages, answer))


async def send_all(directory: Path, messages: list[Message], answer: Any) -> None:
    async with running(directory) as bench:
        bench.api.answer = answer
        bench.feed(PODS, pod("p", uid="u-p", resourceVersion="1"))
        taken = [bench.hear(message) for message in messages]
        await bench.settle()
        assert all(each.is_done for each in taken)
        bench.api.patches.clear()
        resource = f"node/{NODE}/default/podstatus/p"
        content = msgspec.json.encode({"Name": "p", "UID": "u-p", "Status": {"phase": "Running"}})
        bench.hear(Message.build("edged", "meta", "update", resource, content))
        await bench.settle()
        assert [name for _, name, _ in bench.api.patches] == ["p"]
