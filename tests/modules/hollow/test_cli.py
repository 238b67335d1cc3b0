"""The command `cloudcore hollow`."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from modules.common.pki import certificates
from modules.hollow.cli import hollow
from tests.modules.hollow.cloud import Cloud
from tests.support.waiting import DEADLINE


async def start(*arguments: str, kubeedge: str = "1.1") -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "from modules.hollow.cli import hollow; hollow()",
        "--kubeedge",
        kubeedge,
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_joins_prints_and_ends_on_a_signal(
    number: signal.Signals, tls_cloud: Cloud, edge_certs: Path
) -> None:
    process = await start("edge-1", "--server", tls_cloud.url, "--certs", str(edge_certs))
    try:
        await tls_cloud.message("keepalive", "node", timeout=30)
        tls_cloud.send_object("insert", "default/configmap/c", {"data": {}})
        await tls_cloud.message("response", "default/configmap/c")
        process.send_signal(number)
        out, err = await asyncio.wait_for(process.communicate(), DEADLINE)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    lines = out.decode().splitlines()
    assert process.returncode == 0
    assert err == b""
    assert f"edge-1 connected {tls_cloud.url}" in lines[0]
    assert any("insert default/configmap/c" in line for line in lines)


async def test_many_with_certificates_of_the_data_directory(
    tls_cloud: Cloud, pki: certificates.Pki, tmp_path: Path
) -> None:
    (tmp_path / "pki").symlink_to(pki.directory)
    process = await start(
        "edge", "--count", "2", "--server", tls_cloud.url, "--data-dir", str(tmp_path), "-o", "json"
    )
    try:
        await tls_cloud.wait(lambda: len(tls_cloud.requests) == 2, 30)
        await tls_cloud.message("keepalive", "node", skip=1)
        process.terminate()
        out, _ = await asyncio.wait_for(process.communicate(), DEADLINE)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0
    assert {request.headers["node_id"] for request in tls_cloud.requests} == {"edge-0", "edge-1"}
    events = [json.loads(line) for line in out.splitlines()]
    assert {event["node"] for event in events if event["event"] == "connected"} == {
        "edge-0", "edge-1",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        (["edge-1", "--data-dir", "{empty}"], 1, "no CA in"),
        (["Edge_1", "--data-dir", "{pki}"], 1, "'Edge_1' cannot be a node's name"),
        (
            ["edge-1", "--certs", "{empty}"],
            1,
            "cannot use {empty}/rootCA.crt: No such file or directory",
        ),
        (["edge-1", "--server", "ws://127.0.0.1:1"], 2, "does not start with wss://"),
        (["edge-1", "--count", "0"], 2, "--count"),
        (["edge-1", "--kubeedge", "1.0"], 2, "'1.0' is not one of"),
        (["edge-1", "--kubeedge", "1.1", "--token", "a.b.c.d"], 2, "cannot join with a --token"),
        (["edge-1", "--token", "a.b.c.d", "--certs", "{empty}"], 2, "exclude each other"),
        (
            ["edge-1", "--token", "a.b.c.d", "--https-server", "https://127.0.0.1:1"],
            1,
            "cannot get https://127.0.0.1:1/ca.crt",
        ),
    ],
)
def test_what_is_wrong_is_said(
    arguments: list[str], status: int, text: str, pki: certificates.Pki, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "pki").symlink_to(pki.directory)
    (tmp_path / "empty").mkdir()
    places = {"empty": tmp_path / "empty", "pki": tmp_path / "data"}
    result = CliRunner().invoke(hollow, [part.format(**places) for part in arguments])
    assert result.exit_code == status
    assert text.format(**places) in result.output
    assert "Traceback" not in result.output
