"""Crash reports, dead letters, certificates and tokens, over HTTP."""

from __future__ import annotations

import time

import pytest

from ipc import DeadLetterBox, Message
from ipc.message import encode
from modules.cloudhub.config import CloudHubConfig
from modules.cloudhub.joining.join_line import CannotJoin, Ports, join_command
from modules.common.pki.certificates import ensure_pki
from modules.common.pki.token_store import TokenStore
from modules.dashboard.web.reading import newest
from tests.modules.dashboard.visitor import Browser
from tests.support.running import Running

HOSTILE = "<img src=x onerror=alert(1)>"


async def test_dead_letters_with_content_replay_and_drop(
    cloudcore: Running, operator: Browser
) -> None:
    box = DeadLetterBox(cloudcore.base / "dead-letters")
    message = Message.build("a", "b", "insert", "pod/x", {"text": HOSTILE})
    first = box.put("good", encode(message), deliveries=3, reason="it crashed")
    second = box.put("good", b"\xc1broken", deliveries=3, reason="cannot be decoded")
    _, letters = await operator.get("/api/dead-letters")
    assert {each["id"] for each in letters["newest"]} == {first.id, second.id}
    assert "payload" not in letters["newest"][0]
    _, letter = await operator.get(f"/api/dead-letters/{first.id}")
    assert HOSTILE in letter["content"]
    assert letter["operation"] == "insert"
    _, broken = await operator.get(f"/api/dead-letters/{second.id}")
    assert "cannot be decoded" in broken["content"]
    assert (await operator.post(f"/api/dead-letters/{first.id}/replay"))[0] == 200
    assert (await operator.post(f"/api/dead-letters/{second.id}/drop"))[0] == 200
    assert (await operator.get("/api/dead-letters"))[1] == {"total": 0, "newest": []}
    assert (await operator.get(f"/api/dead-letters/{first.id}"))[0] == 404


def test_of_many_dead_letters_the_newest_are_shown_and_all_are_counted() -> None:
    letters = [{"id": number, "payload": "p"} for number in range(501)]
    found = newest(letters, ["id"])
    assert found["total"] == 501
    assert found["newest"] == [{"id": number} for number in range(500, 0, -1)]


async def test_certificates_and_tokens(cloudcore: Running, operator: Browser) -> None:
    ensure_pki(cloudcore.base / "pki", [])
    token = TokenStore(cloudcore.base).create(60)
    _, certificates = await operator.get("/api/certificates")
    assert {each["name"] for each in certificates} >= {"ca", "server"}
    assert all(each["expires"] > time.time() for each in certificates)
    _, (shown,) = await operator.get("/api/tokens")
    assert shown == {
        "id": token.id,
        "created": token.created,
        "expires": token.expires,
        "state": "good",
    }
    assert (await operator.post(f"/api/tokens/{token.id}/revoke"))[0] == 200
    assert (await operator.get("/api/tokens"))[1][0]["state"] == "revoked"
    assert (await operator.post("/api/tokens/nothing/revoke"))[0] == 404
    status, answer = await operator.post("/api/join")
    assert status == 502  # no cloudhub runs here
    assert "cloudhub" in answer["error"]


async def test_a_damaged_file_is_said(cloudcore: Running, operator: Browser) -> None:
    path = cloudcore.base / "tokens.json"
    kept = path.read_bytes() if path.exists() else b"[]"
    path.write_text("{")
    status, answer = await operator.get("/api/tokens")
    path.write_bytes(kept)
    assert status == 409
    assert "tokens.json" in answer["error"]


async def test_what_does_not_exist(operator: Browser) -> None:
    for path in ("/api/crashes/nothing", "/api/dead-letters/..%2fx"):
        status, answer = await operator.get(path)
        assert status == 404, answer
    status, answer = await operator.get("/api/edges/nothing")  # neither cloudhub nor an API runs
    assert status == 503, answer
    assert "whether there is an edge 'nothing' is not known: cloudhub does not" in answer["error"]
    assert (await operator.get("/api/history?span=week"))[0] == 400
    assert (await operator.get("/api/history?span=day"))[0] == 200
    assert (await operator.get("/api/devices?only=odd"))[0] == 400
    assert (await operator.get("/api/devices?only=not-well"))[0] == 200


async def test_devices_are_searched(operator: Browser) -> None:
    _, found = await operator.get("/api/devices?search=x")
    assert found["total"] == 0


async def test_a_body_is_bounded(operator: Browser) -> None:
    status, _ = await operator.post("/api/login", {"token": "x" * 5000})
    assert status == 413


async def test_a_header_is_bounded(operator: Browser) -> None:
    assert (await operator.get("/api/session", **{"X-Long": "x" * 5000}))[0] == 400


def test_the_line_for_a_new_edge_names_the_ports_in_use() -> None:
    config = CloudHubConfig(port=0, https_port=0, names=["cloud.example"])
    command = join_command(config, "1.23.1", Ports(1234, 5678))
    assert command == [
        *("keadm", "join", "--cloudcore-ipport=cloud.example:1234", "--certport=5678"),
        "--kubeedge-version=1.23.1",
    ]
    with pytest.raises(CannotJoin, match="ports are chosen"):
        join_command(config, "1.23.1")
    with pytest.raises(CannotJoin, match="https is false"):
        join_command(CloudHubConfig(https=False), "1.23.1")
