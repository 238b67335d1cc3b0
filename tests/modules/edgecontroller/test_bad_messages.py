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
from modules.common.wire.generations import V1_1, V1_23
from modules.edgecontroller.upstream.content import MOST_STATUSES
from tests.support.anything import almost, contents, json, names
from tests.support.aside import no_bug
from tests.support.mutations import sample

from .fakes import running
from .objects import NODE, pod
from .test_certificates import request
from .test_events_of_edges import event, repeated
from .test_mirror_pods import mirror
from .today import LEASE, REGISTERED, token_request, with_token

OPERATIONS = [
    *("insert", "update", "patch", "delete", "query"),
    *("response", "error", "connected", "get"),
]
TYPES = [
    *("podstatus", "nodestatus", "node", "pod", "configmap", "secret", "service", "endpoints"),
    *("nodepatch", "podpatch", "lease", "event", "serviceaccounttoken"),
    *("certificatesigningrequest", "persistentvolumeclaim", "ca.crt"),
]

POD_STATUS = {"Name": "p", "Status": sample("PodStatus"), "UID": "u-p"}
NODE_STATUS = {
    "Status": sample("NodeStatus"),
    "ExtendResources": {"nvidia.com/gpu": [{"name": "a"}]},
}
NODE_UPDATE = {"metadata": {"annotations": {"a": "b"}}}

POD_PATCH = {"metadata": {"uid": "u-p"}, "status": {"phase": "Running", "conditions": []}}
NODE_PATCH = {"metadata": {"labels": {"a": "b"}}, "status": {"conditions": []}}
LEASE_OF_NODE = {"metadata": {}, "spec": {"holderIdentity": NODE, "leaseDurationSeconds": 40}}

#: What edges send that they may send.
REQUESTS: list[tuple[str, str, Any]] = [
    ("update", "default/podstatus/p", POD_STATUS),
    ("update", "default/podstatus", [POD_STATUS, POD_STATUS]),
    ("update", f"default/nodestatus/{NODE}", NODE_STATUS),
    ("update", f"default/node/{NODE}", NODE_UPDATE),
    ("insert", f"null/node/{NODE}", REGISTERED),
    ("insert", f"default/nodestatus/{NODE}", REGISTERED),
    ("patch", f"null/nodepatch/{NODE}", NODE_PATCH),
    ("patch", "default/podpatch/p", POD_PATCH),
    ("insert", "default/pod/static-p", mirror("u-node")),
    ("delete", "default/pod/p", {"gracePeriodSeconds": 0, "preconditions": {"uid": "u-p"}}),
    ("insert", LEASE, LEASE_OF_NODE),
    ("update", LEASE, LEASE_OF_NODE),
    ("insert", "default/event/p.1234", event()),
    ("update", "default/event/p.1234", event()),
    ("patch", "default/event/p.1234", repeated(count=2)),
    ("query", "default/serviceaccounttoken/sa", token_request("u-p")),
    ("insert", "default/certificatesigningrequest/c", request()),
    ("query", "default/certificatesigningrequest/c", None),
    ("query", "default/configmap/c", None),
    ("query", "k8s/ca.crt", None),
]


#: What Go decodes although it makes no sense: lists whose items have no name.
NAMELESS: list[Any] = [
    {"containerStatuses": [{"state": {}}, {"name": None}, {"name": "a"}]},
    {"initContainerStatuses": [{"image": "x"}, {"name": "a"}]},
    {"conditions": [{"status": "True"}, {"type": None}, {"type": "Ready"}]},
]


def as_text(content: Any) -> str:
    """Return a content as a string of JSON, as an edge sends its patches."""
    return msgspec.json.encode(content).decode()


def sent(operation: str, resource: str, content: Any) -> st.SearchStrategy[Message]:
    """Give a request with some fields of its content made something else."""
    wrong = almost(content) if content else json
    return st.builds(
        Message.build,
        st.just("edged"),
        st.just("meta"),
        st.just(operation),
        st.just(f"node/{NODE}/{resource}"),
        st.just(content) | wrong | wrong.map(msgspec.json.encode) | wrong.map(as_text),
    )


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
    contents(*(content for *_, content in REQUESTS if content)) | st.text(max_size=20),
    parent_id=st.text(max_size=5),
) | st.one_of(*(sent(*each) for each in REQUESTS))


@pytest.mark.timeout(300)
@settings(max_examples=settings.default.max_examples // 4)
@given(
    messages=st.lists(MESSAGES, min_size=1, max_size=20),
    answer=json | st.sampled_from([pod("p", uid="u-p"), event(), request()]),
    generation=st.sampled_from([V1_1, V1_23]),
)
def test_whatever_an_edge_sends_the_controller_goes_on(
    messages: list[Message], answer: Any, generation: str
) -> None:
    """Every message is done with, and a good status after them is written."""
    with tempfile.TemporaryDirectory() as directory, no_bug():
        asyncio.run(send_all(Path(directory), messages, answer, generation))


async def send_all(directory: Path, messages: list[Message], answer: Any, generation: str) -> None:
    async with running(directory, generation=generation) as bench:
        bench.api.answer = answer
        spec = {"serviceAccountName": "sa", **with_token("")}
        bench.feed(PODS, pod("p", uid="u-p", resourceVersion="1", spec=spec))
        taken = [bench.hear(message) for message in messages]
        await bench.settle()
        assert all(each.is_done for each in taken)
        bench.api.patches.clear()
        resource = f"node/{NODE}/default/podstatus/p"
        content = msgspec.json.encode({"Name": "p", "UID": "u-p", "Status": {"phase": "Running"}})
        bench.hear(Message.build("edged", "meta", "update", resource, content))
        await bench.settle()
        assert [name for _, name, _ in bench.api.patches] == ["p"]


@pytest.mark.parametrize("status", NAMELESS, ids=lambda status: next(iter(status)))
async def test_a_status_without_names_is_no_bug(status: Any, tmp_path: Path) -> None:
    """Whether it is valid, the API server says."""
    async with running(tmp_path) as bench:
        present = pod("p", uid="u-p", resourceVersion="2")
        bench.feed(PODS, present | {"status": {"conditions": [{"status": "True"}]}})
        await bench.settle()
        reported = msgspec.json.encode({"Name": "p", "UID": "u-p", "Status": status})
        resource = f"node/{NODE}/default/podstatus/p"
        with no_bug():
            bench.hear(Message.build("edged", "meta", "update", resource, reported))
            await bench.settle()
        assert [name for _, name, _ in bench.api.patches] == ["p"]


async def test_one_message_has_statuses_of_a_limited_number_of_pods(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Each may cost requests to the API server, and a message back."""
    async with running(tmp_path) as bench:
        await bench.settle()
        bench.told()
        for count in (MOST_STATUSES, MOST_STATUSES + 1):
            statuses = [{"Name": str(number), "Status": {}} for number in range(count)]
            content = msgspec.json.encode(statuses)
            resource = f"node/{NODE}/default/podstatus"
            bench.hear(Message.build("edged", "meta", "update", resource, content))
            await bench.settle()
            assert len(bench.told()) == (count if count == MOST_STATUSES else 0)
    assert "array of length <= 1000" in caplog.text
