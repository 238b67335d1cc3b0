"""What is used of other packages beyond their documentation: the upper bounds in pyproject.toml.

Other tests would break too when one of these changes; these say what it was.
"""

import asyncio
import json
import socket
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
from picows import WSTransport
from picows.picows import WSProtocol  # type: ignore[attr-defined]

from modules.cloudhub.config import CloudHubConfig
from modules.cloudhub.endpoint.websocket import _Connection

METRICS = """
import sys
from pathlib import Path
from prometheus_client import Counter, Gauge
from supervisor.telemetry import process_metrics as metrics
directory = Path(sys.argv[1])
with metrics.kept_in(directory):
    counter = Counter("things", "Things.")
    gauge = Gauge("level", "Level.", multiprocess_mode="livesum")
    counter.inc()
    metrics.belong_to("module")
    counter.inc(2)
    gauge.set(3)
    print(sorted(file.name for file in directory.iterdir()))
    metrics.forget_gauges("module", directory)
    print(sorted(file.name for file in directory.iterdir()))
"""


def broken(package: str, file: str, what: str) -> str:
    return (
        f"{package} {version(package)}: {what}. {file} relies on it: adapt that file, or keep "
        f"{package} below this version in pyproject.toml"
    )


def relied_on(fulfilled: object, package: str, file: str, what: str) -> None:
    assert fulfilled, broken(package, file, what)


async def test_aiohttp_reads_a_body_where_its_connection_gets_data() -> None:
    def check(fulfilled: object, what: str) -> None:
        relied_on(fulfilled, "aiohttp", "modules/common/kube/tap.py", what)

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        await asked.wait()
        writer.write(b"5\r\nhello\r\n")
        await ended.wait()
        writer.write(b"0\r\n\r\n")
        writer.close()

    asked, ended = asyncio.Event(), asyncio.Event()
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    async with server, aiohttp.ClientSession() as session, session.get(url) as response:
        transport = response.connection and response.connection.transport
        check(transport, "an answer that is not complete has no connection.transport")
        assert transport
        behind = cast(asyncio.Protocol, transport.get_protocol())
        check(hasattr(behind, "data_received"), "the connection's protocol has no data_received()")
        seen: asyncio.Queue[tuple[bytes, bool]] = asyncio.Queue()

        class Before(asyncio.Protocol):
            def data_received(self, data: bytes) -> None:
                behind.data_received(data)
                seen.put_nowait((response.content.read_nowait(), response.content.at_eof()))

        transport.set_protocol(Before())
        asked.set()
        check(
            await seen.get() == (b"hello", False),
            "data_received() does not make the body readable by content.read_nowait() at once",
        )
        ended.set()
        check(await seen.get() == (b"", True), "content.at_eof() is not set by the last chunk")
        transport.set_protocol(behind)


async def test_picows_private_protocol_is_the_one_that_cloudhub_builds_on() -> None:
    def check(fulfilled: object, what: str) -> None:
        relied_on(fulfilled, "picows", "modules/cloudhub/endpoint/websocket.py", what)

    here, there = socket.socketpair()
    with here, there:
        server: Any = SimpleNamespace(owner=SimpleNamespace(config=CloudHubConfig()))
        try:
            made = _Connection(server, "127.0.0.1:1", here)
        except TypeError as error:
            raise AssertionError(
                broken("picows", "modules/cloudhub/endpoint/websocket.py", f"WSProtocol(): {error}")
            ) from error
    for name in ("connection_made", "connection_lost", "get_buffer", "buffer_updated", "transport"):
        check(hasattr(made, name), f"WSProtocol has no {name}")
    check(issubclass(WSProtocol, asyncio.BufferedProtocol), "WSProtocol is no BufferedProtocol")
    check(hasattr(WSTransport, "underlying_transport"), "WSTransport has no underlying_transport")


def test_prometheus_client_keeps_values_in_files_named_for_their_owner(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", METRICS, tmp_path / "metrics"],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 0, broken(
        "prometheus-client", "supervisor/telemetry/process_metrics.py", done.stderr
    )
    before, after = (json.loads(line.replace("'", '"')) for line in done.stdout.splitlines())

    def check(fulfilled: object, what: str) -> None:
        relied_on(fulfilled, "prometheus-client", "supervisor/telemetry/process_metrics.py", what)

    check(
        {"counter_supervisor.db", "counter_module.db"} <= set(before),
        f"values.MultiProcessValue() does not begin a file when the owner changes: {before}",
    )
    check("gauge_livesum_module.db" in before, f"gauges are in files of other names: {before}")
    check("gauge_livesum_module.db" not in after, f"a module's gauges are not forgotten: {after}")
    check("counter_module.db" in after, f"a module's counters are lost with its gauges: {after}")


def test_the_supervisor_can_be_imported_first() -> None:
    """As `cloudcore run` does it: in tests another import may have come before a circular one."""
    done = subprocess.run(
        [sys.executable, "-c", "import supervisor.main"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
