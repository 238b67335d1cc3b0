"""Questions from one replica to another: over mutual TLS, bounded, and never repeated."""

from __future__ import annotations

import asyncio
import io
import json
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import aiohttp
import pytest
from click.testing import CliRunner
from cryptography.x509.oid import ExtendedKeyUsageOID
from prometheus_client import REGISTRY

from ipc.message import Message, decode, encode
from modules.cloudhub import questions
from modules.cloudhub.cli import nodes as command
from modules.cloudhub.config import CloudHubConfig
from modules.cloudhub.member import credentials_of
from modules.cloudhub.module import CloudHub
from modules.cloudhub.other_replicas import other_replicas
from modules.cloudhub.replicas import peer_server, peers, roster
from modules.cloudhub.replicas.credentials import Credentials, replicas_authority
from modules.cloudhub.replicas.peer_client import PeerClient, Unreachable
from modules.cloudhub.replicas.peer_server import PeerServer
from modules.common import times
from modules.common.kube import LEASES, AlreadyExists, KubeClient
from modules.common.pki import signing
from modules.common.pki.authority import load_authority, new_authority
from modules.common.pki.certificates import Pki
from modules.common.replicas.leases import micro_time
from supervisor.api import CannotStart, KubernetesSettings, ReplicasSettings, Settings
from tests.modules.cloudhub.cloud import DEADLINE, Join
from tests.modules.cloudhub.driver import VOLUME, answer_one, ask, asked, failed, request
from tests.modules.cloudhub.replica import NAMESPACE, Replica, listening, replica
from tests.support.apiserver import embedded_apiserver
from tests.support.checking import performed
from tests.support.waiting import eventually, until

NODE = "edge-1"

pytestmark = pytest.mark.timeout(90)


@pytest.fixture
async def kubeconfig(tmp_path: Path, pki: Pki) -> AsyncIterator[Path]:
    async with embedded_apiserver(tmp_path, pki) as (path, _):
        yield path


@pytest.fixture
async def pair(
    kubeconfig: Path, tmp_path: Path, pki: Pki
) -> AsyncIterator[tuple[Replica, Replica]]:
    async with (
        replica("a", kubeconfig, tmp_path, pki) as a,
        replica("b", kubeconfig, tmp_path, pki) as b,
    ):
        yield a, b


async def connected(join: Join, to: Replica, *knowing: Replica, node: str = NODE) -> Any:
    """Connect an edge, and wait until the other replicas have seen who holds it."""
    edge = await join(to, node, today=True)  # type: ignore[arg-type]
    await to.expect(node, "connected")
    for each in knowing:
        await eventually(lambda each=each: table(each), lambda found: node in found)
    return edge


async def table(of: Replica) -> dict[str, str]:
    """Return the replica of each node, as `cloudcore nodes --all` has it."""
    status, rows, _ = await nodes(of, "--all")
    assert status in (0, 4)
    return {row["node"]: row["replica"] for row in rows}


async def nodes(of: Replica, *options: str) -> tuple[int, list[dict[str, Any]], str]:
    words = ["--run-dir", str(of.run_dir), "-o", "json", *options]
    done = await asyncio.to_thread(CliRunner().invoke, command, words)
    return done.exit_code, json.loads(done.stdout) if done.stdout else [], done.stderr


async def test_a_question_reaches_a_node_of_another_replica(
    pair: tuple[Replica, Replica], join: Join
) -> None:
    a, b = pair
    edge = await connected(join, b, a)
    asking = asyncio.create_task(asked(a.csi, request()))
    got = await answer_one(edge, VOLUME)
    assert (got.operation, got.resource) == ("createvolume", "default/volume/8d0f")
    assert await asking == VOLUME

    # Moved to the one that is asked, without anybody being told.
    edge = await connected(join, a, b)
    asking = asyncio.create_task(asked(a.csi, request()))
    await answer_one(edge, VOLUME)
    assert await asking == VOLUME


async def test_a_question_in_flight_ends_with_its_holder_and_is_not_repeated(
    pair: tuple[Replica, Replica], join: Join
) -> None:
    a, b = pair
    edge = await connected(join, b, a)
    asking = asyncio.create_task(ask(a.csi, request()))
    await edge.receive()
    await edge.leave()
    failed(await asking, "node edge-1 was disconnected before it answered")
    await b.expect(NODE, "disconnected")

    edge = await connected(join, b)
    asking = asyncio.create_task(ask(a.csi, request()))
    await edge.receive()
    b.stop()
    answer = await asking
    failed(answer, "")
    edge = await connected(join, a)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):  # nothing comes
            await edge.receive()


async def test_a_holder_that_breaks_off_or_is_silent_is_said(
    kubeconfig: Path, tmp_path: Path, pki: Pki, join: Join, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(questions, "ANSWER", 2.0)
    credentials = Credentials(load_authority(pki.authority), "ghost")
    received: list[bytes] = []
    silent = asyncio.Event()

    async def ghost(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.append(await reader.readuntil(b"\r\n\r\n"))
        if not silent.is_set():
            writer.transport.abort()
            return
        await reader.read()

    server = await asyncio.start_server(ghost, "127.0.0.1", 0, ssl=credentials.server)
    async with server, replica("a", kubeconfig, tmp_path, pki) as a:
        port = server.sockets[0].getsockname()[1]
        async with held_by_ghost(kubeconfig, f"127.0.0.1:{port}"):
            await eventually(lambda: table(a), lambda found: found.get(NODE) == "ghost")
            received.clear()
            failed(await ask(a.csi, request()), "whether the node has done it is not known")
            assert [each.split()[:2][1][:9] for each in received] == [b"/question"]
            silent.set()
            failed(await ask(a.csi, request()), "no answer within 2 s; whether the node")
            # The others are served meanwhile.
            asking = asyncio.create_task(ask(a.csi, request()))
            edge = await connected(join, a, node="edge-2")
            second = asyncio.create_task(asked(a.csi, request("edge-2")))
            await answer_one(edge, VOLUME)
            assert await second == VOLUME
            assert not asking.done()
            failed(await asking, "no answer within 2 s")
        server.close()


async def test_a_holder_that_is_gone_or_cannot_be_reached(
    kubeconfig: Path, tmp_path: Path, pki: Pki
) -> None:
    with listening() as closed:
        nowhere = f"127.0.0.1:{closed.getsockname()[1]}"
    async with replica("a", kubeconfig, tmp_path, pki) as a:
        async with held_by_ghost(kubeconfig, nowhere):
            await eventually(lambda: table(a), lambda found: found.get(NODE) == "ghost")
            answer = await ask(a.csi, request())
            failed(answer, "replica ghost, which holds node edge-1, did not answer: cannot connect")
            assert "not known" not in answer["content"]
            status, rows, said = await nodes(a, "--all")
            assert (status, rows) == (4, [{"node": NODE, "replica": "ghost"}])
            assert said.startswith(f"replica ghost: cannot connect to {nowhere}: ")
            done = await asyncio.to_thread(
                CliRunner().invoke, command, ["--run-dir", str(a.run_dir), "--all"]
            )
            assert done.stdout.splitlines()[1].split() == [NODE, "ghost", *["-"] * 9]
        await eventually(lambda: nodes(a, "--all"), lambda found: found == (0, [], ""))
        failed(await ask(a.csi, request()), "replica ghost, which held it last, has stopped")


async def test_replicas_that_were_asked_once_are_forgotten() -> None:
    """Pods have a new name each time."""
    nobody: Any = SimpleNamespace(get=lambda _: None)
    others = peers.Peers(nobody, nobody, nobody)
    question = Message.build("cloudhub", "resource", "createvolume", f"node/{NODE}/x/volume/v")
    for replica_name in ("cloudcore-abc", "cloudcore-xyz"):
        with pytest.raises(questions.NoAnswer, match="has stopped"):
            await others.ask(replica_name, NODE, question, 1.0)
    assert not others._in_flight


async def test_an_address_that_is_none_has_not_got_the_question(pki: Pki) -> None:
    client = PeerClient(Credentials(load_authority(pki.authority), "a"))
    with pytest.raises(Unreachable, match="cannot connect to b:port") as raised:
        await client.send(roster.Peer("b", "b:port", 3.0, "1", 0.0), "GET", "/", most=1, seconds=5)
    assert not raised.value.sent


async def test_questions_in_flight_to_one_replica_are_bounded(
    pair: tuple[Replica, Replica], join: Join, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "MOST_IN_FLIGHT", 1)
    a, b = pair
    edge = await connected(join, b, a)
    asking = asyncio.create_task(asked(a.csi, request()))
    got = await edge.receive()
    failed(await ask(a.csi, request()), "1 questions are in flight to replica b already")
    await edge.send(got.response(VOLUME))
    assert await asking == VOLUME


async def test_the_nodes_of_all_replicas(pair: tuple[Replica, Replica], join: Join) -> None:
    a, b = pair
    await connected(join, a, b, node="edge-1")
    await connected(join, b, a, node="edge-2")
    status, rows, said = await nodes(a)
    assert (status, [(row["node"], row["replica"]) for row in rows], said) == (
        0,
        [("edge-1", "a")],
        "",
    )
    for each in pair:
        status, rows, said = await nodes(each, "--all")
        found = [(row["node"], row["replica"], row["process"]) for row in rows]
        assert found == [("edge-1", "a", "cloudhub"), ("edge-2", "b", "cloudhub")]
        assert (status, said) == (0, "")
    status, rows, _ = await nodes(a, "--all", "edge-2")
    assert [row["certificate"]["common_name"] for row in rows] == ["system:node:edge-2"]


async def test_the_processes_of_a_replica_are_one_table(
    kubeconfig: Path, tmp_path: Path, pki: Pki, join: Join
) -> None:
    from modules.cloudhub.nodes import NodesServer, read_rows, socket_of

    async with replica("a", kubeconfig, tmp_path, pki) as a:
        await connected(join, a)
        units = ("cloudhub", "cloudhub-2", "cloudhub-3")
        async with NodesServer(socket_of(a.run_dir, "cloudhub-2"), "cloudhub-2", {}):
            rows = json.loads(await read_rows(a.run_dir, units))
    assert [row["node"] for row in rows] == [NODE]


def measured(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(name, labels)


async def test_metrics_and_status_say_who_holds_what(
    pair: tuple[Replica, Replica], join: Join
) -> None:
    a, b = pair
    taken = measured("cloudcore_replica_takeovers_total")
    lost = measured("cloudcore_replica_lost_nodes_total")
    answered = measured("cloudcore_replica_questions_total", result="answered") or 0
    assert taken is not None and lost is not None
    began = time.time()
    await connected(join, a, b)
    assert measured("cloudcore_replica_takeovers_total") == taken  # it was nobody's
    edge = await connected(join, b, a)
    asking = asyncio.create_task(asked(a.csi, request()))
    await answer_one(edge, VOLUME)
    await asking
    await until(lambda: measured("cloudcore_replica_nodes", replica="b") == 1)
    await until(lambda: measured("cloudcore_replica_nodes", replica="a") == 0)
    assert measured("cloudcore_replica_takeovers_total") == taken + 1
    assert measured("cloudcore_replica_lost_nodes_total") == lost + 1
    assert measured("cloudcore_replica_questions_total", result="answered") == answered + 1
    renewal = "cloudcore_replica_lease_renewal_timestamp_seconds"
    for each in pair:
        await until(lambda each=each: (measured(renewal, replica=each.name) or 0) > began)
        assert measured("cloudcore_replica_lease_duration_seconds", replica=each.name) == 3
        assert each.context.details["replica"] == each.name
    assert (a.context.details["nodes_held"], b.context.details["nodes_held"]) == (0, 1)


async def test_the_doctor_says_which_replicas_can_be_asked(
    pair: tuple[Replica, Replica], kubeconfig: Path
) -> None:
    a, b = pair

    async def found() -> list[tuple[str, str]]:
        checks = [other_replicas(CloudHubConfig(), a.settings)]
        return sorted((each.mark, each.text) for each in await performed(checks))

    with listening() as closed:
        nowhere = f"127.0.0.1:{closed.getsockname()[1]}"
    well = ("ok", f"replica b answers at 127.0.0.1:{b.peer_port}")
    await eventually(found, lambda seen: seen == [well])
    now = micro_time(times.now())
    async with held_by_ghost(kubeconfig, nowhere, renewTime=now, leaseDurationSeconds=600):
        assert (await found())[0] == well
        mark, text = (await found())[1]
        assert mark == "wrong"
        assert text.startswith("replica ghost cannot be asked about its nodes: cannot connect to ")
    async with held_by_ghost(kubeconfig, nowhere, renewTime="2020-01-01T00:00:00.000000Z"):
        mark, text = (await found())[0]
        assert mark == "note"
        assert text.startswith("replica ghost has not renewed its Lease for ")


def test_replicas_need_the_key_of_a_configured_ca() -> None:
    files = {"ca": "ca.crt", "cert": "server.crt", "key": "server.key"}
    alone = Settings(Path(), Path())
    one_of_several = replace(alone, replicas=ReplicasSettings(True))
    (problem,) = CloudHub.problems(CloudHubConfig(**files), one_of_several)
    assert problem.key == "modules.cloudhub.ca_key"
    assert CloudHub.problems(CloudHubConfig(**files), alone) == []
    assert CloudHub.problems(CloudHubConfig(**files, ca_key="ca.key"), one_of_several) == []
    assert CloudHub.problems(CloudHubConfig(), one_of_several) == []
    with pytest.raises(CannotStart, match="set modules.cloudhub.ca_key"):
        credentials_of(CloudHubConfig(**files), one_of_several)


def test_a_single_cloudcore_loads_nothing_of_it() -> None:
    heavy = (
        "aiohttp.web",
        "modules.cloudhub.replicas.peers",
        "modules.cloudhub.replicas.peer_server",
    )
    look = f"import sys, modules.cloudhub.main; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


# Who may ask


@asynccontextmanager
async def held_by_ghost(kubeconfig: Path, address: str, **spec: Any) -> AsyncIterator[None]:
    """Say in the API that a replica `ghost` holds the node, and answers at an address."""
    kubernetes = KubernetesSettings(kubeconfig=str(kubeconfig))
    async with KubeClient.connect(Settings(Path(), Path(), kubernetes)) as api:
        annotations = {"cloudcore.kubeedge.io/address": address}
        own = lease("replica", "ghost", {"leaseDurationSeconds": 3} | spec, annotations)
        await api.create(LEASES, own, NAMESPACE)
        held = lease("node", NODE, {"holderIdentity": "ghost", "leaseTransitions": 1})
        with suppress(AlreadyExists):
            await api.create(LEASES, held, NAMESPACE)
        yield
        await api.delete(LEASES, "replica.ghost", NAMESPACE)


def lease(kind: str, name: str, spec: Any, annotations: Any = None) -> Any:
    labels = {"cloudcore.kubeedge.io/lease": kind}
    metadata = {"name": f"{kind}.{name}", "labels": labels, "annotations": annotations or {}}
    return {"metadata": metadata, "spec": spec}


class Node:
    """Answers questions as a node would."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, float]] = []

    async def ask_here(self, node: str, question: Message, seconds: float) -> Message:
        self.asked.append((node, question.group, seconds))
        return question.response({"done": True})


@asynccontextmanager
async def serving(pki: Pki, node: Node | None = None) -> AsyncIterator[int]:
    credentials = Credentials(load_authority(pki.authority), "b")

    async def rows() -> bytes:
        return b"[]"

    with listening() as listener:
        async with PeerServer(listener, credentials, "b", node or Node(), rows):
            yield listener.getsockname()[1]


async def fetch(port: int, tls: ssl.SSLContext, name: str = "b", **more: Any) -> tuple[int, bytes]:
    method, path = more.pop("method", "GET"), more.pop("path", "/nodes")
    async with aiohttp.ClientSession() as session:
        async with session.request(
            method, f"https://127.0.0.1:{port}{path}", ssl=tls, server_hostname=name, **more
        ) as response:
            return response.status, await response.read()


async def test_a_replica_is_let_in_and_must_be_the_one_that_was_meant(pki: Pki) -> None:
    mine = Credentials(load_authority(pki.authority), "a")
    async with serving(pki) as port:
        assert await fetch(port, mine.client) == (200, b"[]")
        with pytest.raises(aiohttp.ClientConnectorCertificateError, match="Hostname mismatch"):
            await fetch(port, mine.client, "c")
        mine.renew()
        assert await fetch(port, mine.client) == (200, b"[]")


@pytest.mark.parametrize("ahead", ["server", "client"])
async def test_replicas_whose_clocks_disagree_know_each_other(
    ahead: str, pki: Pki, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one is two days behind the other, whose certificates are of the future for it."""

    class Ahead(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return super().now(tz) + timedelta(days=2)

    def credentials(name: str) -> Credentials:
        with monkeypatch.context() as patched:
            if (name == "b") is (ahead == "server"):
                patched.setattr(signing, "datetime", Ahead)
            return Credentials(load_authority(pki.authority), name)

    async def rows() -> bytes:
        return b"[]"

    mine, theirs = credentials("a"), credentials("b")
    with listening() as listener:
        async with PeerServer(listener, theirs, "b", Node(), rows):
            port = listener.getsockname()[1]
            assert await fetch(port, mine.client) == (200, b"[]")


def edge_as_replica(pki: Pki, directory: Path) -> ssl.SSLContext:
    """Return the context of an edge, with what KubeEdge's cloudcore signs if it is asked."""
    key = signing.new_key()
    authority = load_authority(pki.authority)
    certificate = signing.sign(
        authority,
        key.public_key(),
        signing.subject("cloudcore-replica", None),
        ExtendedKeyUsageOID.SERVER_AUTH,
        None,
        also=[ExtendedKeyUsageOID.CLIENT_AUTH],
    )
    file = directory / "edge.pem"
    file.write_bytes(signing.key_pem(key) + signing.certificate_pem(certificate))
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.load_cert_chain(file)
    return context


async def answered(port: int, tls: ssl.SSLContext) -> bytes:
    """Return what a client is answered; nothing, if it is not let in."""
    writer = None
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
        writer.write(b"GET /nodes HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n")
        return await asyncio.wait_for(reader.read(), DEADLINE)
    except OSError:  # of which SSLError is one
        return b""
    finally:
        if writer is not None:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()


async def test_no_edge_is_let_in(
    pki: Pki, tmp_path: Path, client_tls: Callable[[str], ssl.SSLContext]
) -> None:
    of_edge = client_tls("edge-1")
    of_edge.verify_mode = ssl.CERT_NONE
    without = ssl.create_default_context()
    without.check_hostname, without.verify_mode = False, ssl.CERT_NONE
    other = Credentials(new_authority(), "a").client
    other.check_hostname, other.verify_mode = False, ssl.CERT_NONE
    node = Node()
    async with serving(pki, node) as port:
        for tls in (of_edge, edge_as_replica(pki, tmp_path), without, other):
            assert await answered(port, tls) == b""
        mine = Credentials(load_authority(pki.authority), "a").client
        mine.check_hostname = False
        assert (await answered(port, mine)).endswith(b"[]")
    of_edge.verify_mode = ssl.CERT_REQUIRED
    assert node.asked == []


def test_the_authority_of_replicas_is_derived_and_another(pki: Pki) -> None:
    edges = load_authority(pki.authority)
    first, second = replicas_authority(edges), replicas_authority(edges)
    assert signing.key_der(first.key) == signing.key_der(second.key)
    assert signing.key_der(first.key) != signing.key_der(edges.key)
    other = replicas_authority(new_authority())
    assert signing.key_der(other.key) != signing.key_der(first.key)


async def test_what_is_no_question_is_refused_and_the_time_is_bounded(pki: Pki) -> None:
    mine = Credentials(load_authority(pki.authority), "a").client
    node = Node()
    asked = Message.build("cloudhub", "cluster", "createvolume", f"node/{NODE}/default/volume/v")
    async with serving(pki, node) as port:

        async def post(data: bytes, seconds: str = "1") -> tuple[int, bytes]:
            path = f"/question?seconds={seconds}"
            return await fetch(port, mine, method="POST", path=path, data=io.BytesIO(data))

        for wrong in (b"", b"nonsense", encode(Message.build("a", "b", "c", "default/volume/v"))):
            assert (await post(wrong))[0] == 400
        assert (await post(encode(asked), "soon"))[0] == 400
        assert (await post(b"x" * 3_000_000))[0] == 413
        status, body = await post(encode(asked), "1e9")
        assert (status, decode(body).content) == (200, {"done": True})
    assert node.asked == [(NODE, "resource", questions.ANSWER)]


async def test_silent_connections_keep_no_replica_out(pki: Pki) -> None:
    mine = Credentials(load_authority(pki.authority), "a").client
    async with serving(pki) as port:
        flood = [socket.create_connection(("127.0.0.1", port)) for _ in range(40)]
        try:
            for each in flood:
                each.sendall(b"\x16")
            async with asyncio.timeout(DEADLINE):
                assert (await fetch(port, mine))[0] == 200
        finally:
            for each in flood:
                each.close()


async def test_connections_beyond_the_bound_are_closed_and_logged_once(
    pki: Pki, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(peer_server, "CONNECTIONS", 0)
    mine = Credentials(load_authority(pki.authority), "a").client
    async with serving(pki) as port:
        for _ in range(2):
            with pytest.raises(aiohttp.ClientError):
                await fetch(port, mine)
    said = [each.message for each in caplog.records if each.levelname == "WARNING"]
    assert said == ["more than 0 connections of replicas; further ones are closed"]


async def test_the_lease_of_a_replica_that_was_killed_is_removed_in_the_end(
    kubeconfig: Path, tmp_path: Path, pki: Pki, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(roster, "_GONE", 0.1)
    async with replica("a", kubeconfig, tmp_path, pki) as a:
        async with KubeClient.connect(a.settings) as api:
            own = lease("replica", "ghost", {"leaseDurationSeconds": 1})
            await api.create(LEASES, own, NAMESPACE)
            await eventually(
                lambda: api.get(LEASES, "replica.ghost", NAMESPACE), lambda x: x is None
            )
            await until(lambda: a.context.details.get("replica") == "a")
            assert await api.get(LEASES, "replica.a", NAMESPACE)
