import asyncio
import gc
import gzip
from pathlib import Path
from unittest.mock import AsyncMock, Mock

import aiohttp
import msgspec
import pytest
from aiohttp import web

from modules.common import kube
from modules.common.kube import (
    CONFIGMAPS,
    DEVICES,
    NODES,
    PODS,
    AlreadyExists,
    ApiError,
    Conflict,
    Forbidden,
    Gone,
    Invalid,
    KubeClient,
    NotFound,
    TooManyRequests,
    Unauthorized,
    Unreachable,
    WatchEvent,
    transport,
)
from modules.common.kube.tap import Tap
from supervisor.api import KubernetesSettings, Settings
from tests.support.fake_api_server import (
    FakeServer,
    hangs_up,
    listing,
    pod,
    refuses,
    replies,
    streams,
)
from tests.support.waiting import DEADLINE


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (NODES.path(name="n1"), "/api/v1/nodes/n1"),
        (PODS.path(), "/api/v1/pods"),
        (PODS.path("default", "p", "status"), "/api/v1/namespaces/default/pods/p/status"),
        (PODS.path("a/b", "x?y"), "/api/v1/namespaces/a%2Fb/pods/x%3Fy"),
        (DEVICES.path("d"), "/apis/devices.kubeedge.io/v1alpha1/namespaces/d/devices"),
    ],
)
def test_paths(path: str, expected: str) -> None:
    assert path == expected


async def test_get(server: FakeServer, client: KubeClient) -> None:
    server.then(replies(pod("p", 1)))
    assert await client.get(PODS, "p", "default") == pod("p", 1)
    assert server.requests[0].path == "/api/v1/namespaces/default/pods/p"


@pytest.mark.parametrize(
    ("code", "reason", "expected"),
    [
        (404, "NotFound", NotFound),
        (409, "Conflict", Conflict),
        (409, "AlreadyExists", AlreadyExists),
        (410, "Expired", Gone),
        (410, "Gone", Gone),
        (401, "Unauthorized", Unauthorized),
        (403, "Forbidden", Forbidden),
        (422, "Invalid", Invalid),
        (500, "InternalError", ApiError),
    ],
)
async def test_errors_are_typed(
    server: FakeServer, client: KubeClient, code: int, reason: str, expected: type[ApiError]
) -> None:
    server.then(refuses(code, reason, "because"))
    with pytest.raises(ApiError) as caught:
        await client.get(PODS, "p", "default")
    assert type(caught.value) is expected
    assert (caught.value.status, caught.value.reason) == (code, reason)
    assert str(caught.value) == f"get pods default/p: {code} {reason}: because"
    assert client.statistics.errors == {str(code): 1}


async def test_error_that_is_no_status(server: FakeServer, client: KubeClient) -> None:
    server.then(replies(b"<html>bad gateway</html>", 502))
    with pytest.raises(ApiError, match="502 ApiError: <html>bad gateway</html>") as caught:
        await client.get(PODS, "p", "default")
    assert caught.value.retriable


async def test_redirects_are_refused(server: FakeServer, client: KubeClient) -> None:
    server.then(replies(b"", 302, Location="http://example.invalid/"))
    with pytest.raises(ApiError, match="302"):
        await client.get(PODS, "p", "default")


async def test_too_many_requests_says_when(server: FakeServer, client: KubeClient) -> None:
    headers = {"Retry-After": "7"}
    server.then(refuses(429, "TooManyRequests", **headers))
    with pytest.raises(TooManyRequests) as caught:
        await client.get(PODS, "p", "default")
    assert caught.value.retry_after == 7


async def test_no_answer_is_unreachable(server: FakeServer, client: KubeClient) -> None:
    server.then(*[hangs_up()] * 2)
    with pytest.raises(
        Unreachable, match="patch pods default/p: no answer from http://127"
    ) as caught:
        await client.patch(PODS, "p", {}, "default")
    assert caught.value.retriable
    assert client.statistics.errors == {"unreachable": 1}


async def test_server_that_dies_is_told_of_in_words(
    server: FakeServer, client: KubeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the objects that aiohttp puts into its messages."""

    async def breaks_off(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"{")
        assert request.transport is not None
        request.transport.abort()
        return response

    server.then(breaks_off)
    with pytest.raises(Unreachable, match=r"watch pods: .* the connection broke off$"):
        await anext(client.watch(PODS, resource_version="1"))

    # Reset in the middle of TLS, of which uvloop says no more than this.
    reset = aiohttp.ClientConnectorError(Mock(), ConnectionResetError())
    monkeypatch.setattr(aiohttp.ClientSession, "request", AsyncMock(side_effect=reset))
    with pytest.raises(Unreachable, match=r"get pods default/p: .*: ConnectionResetError$"):
        await client.get(PODS, "p", "default")


async def test_refused_connection_is_called_so(server: FakeServer, tmp_path: Path) -> None:
    settings = server.settings(tmp_path, master="http://127.0.0.1:1")
    async with KubeClient.connect(settings) as client:
        with pytest.raises(Unreachable, match="from http://127.0.0.1:1: Connection refused$"):
            await client.get(NODES, "n")


async def test_answer_that_is_not_json(server: FakeServer, client: KubeClient) -> None:
    server.then(replies(b"[]"))
    with pytest.raises(Unreachable, match="not Kubernetes JSON"):
        await client.get(PODS, "p", "default")


async def test_no_proxy_to_this_machine(
    server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server.then(replies({}))
    async with KubeClient.connect(server.settings(tmp_path)) as client:
        await client.get(NODES, "n")


async def test_list_follows_pages(server: FakeServer, client: KubeClient) -> None:
    server.then(listing(pod("a", 1), version="5", token="more"), listing(pod("b", 2), version="5"))
    page = await client.list(PODS, label_selector="a=b", field_selector="spec.nodeName=n")
    assert [item["metadata"]["name"] for item in page.items] == ["a", "b"]
    assert page.resource_version == "5"
    first, second = (dict(request.query) for request in server.requests)
    assert first == {"labelSelector": "a=b", "fieldSelector": "spec.nodeName=n", "limit": "500"}
    assert second == {**first, "continue": "more"}


async def test_list_without_items(server: FakeServer, client: KubeClient) -> None:
    server.then(replies({"metadata": {"resourceVersion": "3"}, "items": None}))
    assert await client.list(PODS) == ([], "3")


async def test_create_adds_the_type(server: FakeServer, client: KubeClient) -> None:
    server.then(replies({}, 201))
    await client.create(CONFIGMAPS, {"metadata": {"name": "c"}}, "default")
    assert msgspec.json.decode(server.bodies[0]) == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "c"},
    }
    assert server.requests[0].path == "/api/v1/namespaces/default/configmaps"


async def test_replace_and_patch(server: FakeServer, client: KubeClient) -> None:
    server.then(*[replies({})] * 4)
    await client.replace(PODS, pod("p", 1), "default", subresource="status")
    await client.patch(PODS, "p", {"a": 1}, "default", type="strategic", subresource="status")
    await client.patch(PODS, "p", {"a": 1}, "default")
    await client.patch(PODS, "p", [], "default", type="json")
    put, strategic, merge, json = server.requests
    assert (put.method, put.path) == ("PUT", "/api/v1/namespaces/default/pods/p/status")
    assert strategic.content_type == "application/strategic-merge-patch+json"
    assert merge.content_type == "application/merge-patch+json"
    assert json.content_type == "application/json-patch+json"


async def test_delete_options(server: FakeServer, client: KubeClient) -> None:
    server.then(replies({}), replies({}))
    await client.delete(PODS, "p", "default", grace_period=0, uid="u")
    await client.delete(PODS, "p", "default")
    with_options, plain = map(msgspec.json.decode, server.bodies)
    assert with_options["gracePeriodSeconds"] == 0
    assert with_options["preconditions"] == {"uid": "u"}
    assert plain == {"kind": "DeleteOptions", "apiVersion": "v1"}


async def test_watch(server: FakeServer, client: KubeClient) -> None:
    large = pod("p", 11, data="x" * 3_000_000)
    server.then(
        streams(
            {"type": "ADDED", "object": large},
            b'{"type":"BOOKMARK","object":{"metadata":{"resour',
            b'ceVersion":"12"}}}\n\n{"type":"DELETED","object":{"metadata":{}}}\n',
        )
    )
    events = [event async for event in client.watch(PODS, resource_version="10", timeout=7)]
    assert events[0] == WatchEvent("ADDED", large)
    assert [event.type for event in events] == ["ADDED", "BOOKMARK", "DELETED"]
    assert events[1].resource_version == "12"
    assert dict(server.requests[0].query) == {
        "watch": "true",
        "allowWatchBookmarks": "true",
        "timeoutSeconds": "7",
        "resourceVersion": "10",
    }


async def test_watch_that_nobody_answers_is_given_up(
    server: FakeServer, client: KubeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Long before it would end by itself."""
    del server  # it has no answer
    monkeypatch.setattr(transport, "REQUEST_TIMEOUT", 0.05)
    with pytest.raises(Unreachable, match="watch pods: no answer"):
        async for _ in client.watch(PODS, timeout=300):
            pass


async def test_watch_that_is_accepted_has_its_time(
    server: FakeServer, client: KubeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "REQUEST_TIMEOUT", 3.5)
    late = asyncio.Event()
    server.then(streams({"type": "ADDED", "object": pod("p", 11)}, until=late))
    asyncio.get_running_loop().call_later(3.8, late.set)
    assert [event.type async for event in client.watch(PODS, timeout=300)] == ["ADDED"]


async def test_watch_that_the_server_forgets_is_given_up(
    server: FakeServer, client: KubeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kube.client, "REQUEST_TIMEOUT", 0.05)
    server.then(streams({"type": "ADDED", "object": pod("p", 11)}, until=asyncio.Event()))
    events = client.watch(PODS, timeout=1.0)
    assert (await anext(events)).type == "ADDED"
    with pytest.raises(Unreachable, match="watch pods: .* has not ended the watch in time"):
        await anext(events)


@pytest.mark.parametrize("size", [0, 400_000])
async def test_watch_that_is_complete_at_once(tmp_path: Path, size: int) -> None:
    """Its connection may serve others by then; aiohttp unpacks what is large in several goes."""
    lines = b"".join(
        msgspec.json.encode({"type": "ADDED", "object": pod(name, 1, data="x" * size)}) + b"\n"
        for name in "abc"
    )
    body = gzip.compress(lines)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head + body)
        await reader.read()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        settings = Settings(tmp_path, tmp_path, KubernetesSettings(master=url))
        async with (
            KubeClient.connect(settings, user_agent="test") as client,
            asyncio.timeout(DEADLINE),
        ):
            events = [event async for event in client.watch(PODS)]
    assert [event.object["metadata"]["name"] for event in events] == ["a", "b", "c"]


async def test_a_connection_is_used_again_after_its_watch(
    server: FakeServer, client: KubeClient
) -> None:
    seen = asyncio.Event()
    event = {"type": "ADDED", "object": pod("p", 11)}
    server.then(streams(event, until=seen), replies({"it": "works"}))
    await client.follow(PODS, None, lambda _: seen.set())
    gc.collect()
    assert not [each for each in gc.get_objects() if isinstance(each, Tap)]
    assert await client.get(PODS, "p", "default") == {"it": "works"}
    first, second = (request.transport for request in server.requests)
    assert first is second is not None


async def test_what_following_a_watch_raises_ends_it(
    server: FakeServer, client: KubeClient
) -> None:
    server.then(streams(*[{"type": "ADDED", "object": pod("p", 11)}] * 2, until=asyncio.Event()))
    seen = []

    def fail(event: WatchEvent) -> None:
        seen.append(event)
        raise OSError("not to my liking")

    with pytest.raises(OSError, match="^not to my liking"):
        await client.follow(PODS, None, fail)
    assert len(seen) == 1


async def test_watch_error_event(server: FakeServer, client: KubeClient) -> None:
    status = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}
    server.then(streams({"type": "ERROR", "object": status}))
    with pytest.raises(Gone, match="watch pods: 410 Expired: too old|too old"):
        async for _ in client.watch(PODS, resource_version="1"):
            pass


async def test_watch_that_is_no_watch(server: FakeServer, client: KubeClient) -> None:
    server.then(streams(b"hello\n"))
    with pytest.raises(Unreachable, match="no watch event"):
        async for _ in client.watch(PODS):
            pass


async def test_embedded_kubeconfig_is_waited_for(server: FakeServer, tmp_path: Path) -> None:
    settings = server.settings(tmp_path, master="")

    async def write_late() -> None:
        await asyncio.sleep(0)
        partial = tmp_path / "kubeconfig.new"
        partial.write_text(kubeconfig(server.url))
        partial.rename(tmp_path / "kubeconfig")

    server.then(replies({}))
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(write_late())
        async with KubeClient.connect(settings) as client:
            await client.get(NODES, "n")


async def test_kubeconfig_written_anew_is_read(server: FakeServer, tmp_path: Path) -> None:
    """The embedded server may come back on another port."""
    path = tmp_path / "kubeconfig"
    path.write_text(kubeconfig("http://127.0.0.1:1"))
    server.then(replies({"it": "works"}))
    async with KubeClient.connect(server.settings(tmp_path, master="")) as client:
        with pytest.raises(Unreachable):
            await client.get(NODES, "n")
        path.write_text(kubeconfig(server.url))
        with pytest.raises(Unreachable):
            await client.get(NODES, "n")
        assert await client.get(NODES, "n") == {"it": "works"}


async def test_half_written_kubeconfig_keeps_the_old(server: FakeServer, tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(kubeconfig(server.url))
    server.then(hangs_up(), hangs_up(), replies({}))
    async with KubeClient.connect(server.settings(tmp_path, master="")) as client:
        path.write_text("clusters: []")
        with pytest.raises(Unreachable):
            await client.patch(NODES, "n", {})
        assert client.server == server.url


def kubeconfig(url: str) -> str:
    return f"""
clusters: [{{name: c, cluster: {{server: "{url}"}}}}]
users: [{{name: u, user: {{}}}}]
contexts: [{{name: x, context: {{cluster: c, user: u}}}}]
current-context: x
"""
