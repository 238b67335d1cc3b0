"""The reference of messages has all that the code builds, and all that real edges send."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from docs.generate import messages
from docs.generate.message_table import DOWN, INSIDE, UP
from ipc import Message
from modules.cloudhub.cluster import protocol
from modules.edgecontroller.upstream.queries import ASKED_FOR
from tests.docs.pages import ROOT

CAPTURES = ROOT / "tests" / "data" / "captures"
#: Functions that build what they are told: their callers know which message it is.
BUILDERS = {
    "modules/edgecontroller/messages.py": {"change", "answer"},
    "modules/devicecontroller/v1beta1/messages.py": {"change"},
    "modules/cloudhub/cluster/protocol.py": {"process_message"},
}
NAMES = {name for names in BUILDERS.values() for name in names}
#: They build simulated edges' messages, or answers to CSI drivers, which are on no channel or wire.
ELSEWHERE = ("modules/hollow/", "modules/cloudhub/csi/answers.py")


def built(path: Path) -> Iterator[str]:
    """Return the functions in a file that build a message."""
    file = str(path.relative_to(ROOT))
    text = path.read_text()
    if "essage" not in text or file.startswith(ELSEWHERE):
        return
    tree = ast.parse(text)
    imported = {
        alias.name
        for each in ast.walk(tree)
        if isinstance(each, ast.ImportFrom)
        for alias in each.names
    }
    own = BUILDERS.get(file, set())
    for name, function in functions(tree):
        if name in own:
            continue
        inner = list(ast.walk(function))
        calls = [each.func for each in inner if isinstance(each, ast.Call)]
        renamed = any(gets_an_id(each) for each in inner)
        if renamed or any(builds(call, imported) for call in calls):
            yield f"{file}:{name}"


def functions(tree: ast.Module) -> Iterator[tuple[str, ast.AST]]:
    for each in tree.body:
        if isinstance(each, ast.ClassDef):
            for inner in each.body:
                if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef):
                    yield f"{each.name}.{inner.name}", inner
        elif isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef):
            yield each.name, each


def gets_an_id(node: ast.AST) -> bool:
    """Whether this gives a message another id, which makes another message of it."""
    return (
        isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Store)
        and node.attr == "id"
        and ast.unparse(node.value) in {"message", "made"}
    )


def builds(call: ast.expr, imported: set[str]) -> bool:
    if isinstance(call, ast.Name):
        return call.id in NAMES & imported
    if not isinstance(call, ast.Attribute):
        return False
    owner = ast.unparse(call.value)
    if call.attr == "build":
        return owner.endswith("Message")
    if call.attr in NAMES:
        return owner == "messages"
    return call.attr in {"response", "error"} and owner in {"message", "question", "request"}


def test_every_function_that_builds_a_message_is_named_and_no_other() -> None:
    found = {place for path in (ROOT / "modules").rglob("*.py") for place in built(path)}
    named = {place for each in (*DOWN, *UP, *INSIDE) for place in each.built}
    assert found - named == set(), "build a message that docs/generate/message_table.py has not"
    assert named - found == set(), "build no message any more"


def test_every_request_that_is_served_is_in_the_table() -> None:
    text = messages.requests_table()
    for request in messages.requests():
        for resource in request.resource.split(", "):
            assert f"`{resource}`" in text
    assert {f"NS/{type_}/NAME" for type_ in ASKED_FOR} <= {
        each.resource for each in messages.requests() if each.operation == "query"
    }
    assert all(each.meaning for each in messages.requests())


def test_every_message_between_processes_of_cloudhub_is_there() -> None:
    known = {
        name
        for each in INSIDE
        if each.group == protocol.GROUP
        for name in each.operation.split(", ")
    }
    defined = {
        value for name, value in vars(protocol).items() if name.isupper() and isinstance(value, str)
    }
    assert known == defined - {protocol.FIRST, protocol.GROUP, protocol._ALL}


def recorded(name: str) -> Iterator[Message]:
    """Return what a real edge has sent."""
    for line in (CAPTURES / f"{name}.jsonl").read_text().splitlines():
        record: dict[str, Any] = json.loads(line)
        if record["dir"] == "edge->cloud" and ("message" in record or "text" in record):
            sent = record.get("message") or json.loads(record["text"])
            header, route = sent["header"], sent["route"]
            yield Message(
                header["msg_id"], header.get("parent_msg_id", ""), 0, False,
                *(route.get(name, "") for name in ("source", "group", "operation", "resource")),
            )  # fmt: skip


@pytest.mark.parametrize("name", ["v1.1-edge", "v1.20-edged", "v1.23-edge", "v1.23-edged"])
def test_every_message_of_a_real_edge_has_an_entry_of_its_generation(name: str) -> None:
    generation = "1.1" if name == "v1.1-edge" else "1.15-1.23"
    sent = list(recorded(name))
    assert len(sent) > 10
    for message in sent:
        edges = {entry.edges for entry in messages.find(message)}
        assert edges & {generation, "all"}, message


@pytest.mark.parametrize(
    ("route", "known"),
    [
        (("edgecontroller", "resource", "insert", "node/edge-1/default/pod/web"), True),
        (("edgecontroller", "resource", "insert", "default/pod/web"), True),
        (("edgecontroller", "resource", "insert", "default/lamp/web"), False),
        (("edgecontroller", "resource", "restart", "default/pod/web"), False),
        (("cloudhub", "resource", "connected", "node/edge-1"), True),
        (("cloudhub", "resource", "connected", "node/edge-1/default/pod/web"), False),
        (("devicecontroller", "twin", "update", "device/lamp/twin/cloud_updated"), True),
        (("twin", "resource", "update", "device/default/lamp/twin/edge_updated"), True),
    ],
)
def test_a_message_is_found_by_its_route(route: tuple[str, str, str, str], known: bool) -> None:
    assert bool(messages.find(Message.build(*route))) == known
