"""Requests that ask for too much, or for nonsense: each is refused, and the server goes on."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from modules.apiserver.http.server import Server
from modules.apiserver.meta.objects import MOST_BYTES, MOST_DEPTH
from modules.apiserver.registry import event_expiry
from tests.modules.apiserver.api import Api
from tests.modules.apiserver.samples import pod
from tests.support.waiting import until

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
EVENTS = "/api/v1/namespaces/default/events"
PODS = "/api/v1/namespaces/default/pods"
NODES = "/api/v1/nodes"
DEVICES = "/apis/devices.kubeedge.io/v1alpha1/namespaces/default/devices"
MANY_DIGITS = "9" * 4301
OTHER_DIGITS = "\u0661\u0662"  # 12 in Arabic


@pytest.mark.parametrize("text", [MANY_DIGITS, OTHER_DIGITS, "-1", "1e3", "9223372036854775808"])
@pytest.mark.parametrize(
    "query", ["limit={}", "watch=1&timeoutSeconds={}", "resourceVersion={}", "labelSelector=a>{}"]
)
async def test_numbers_are_int64_in_ascii_digits(api: Api, query: str, text: str) -> None:
    if query.startswith("label") and text == "-1":
        await api.call("GET", f"{CONFIGMAPS}?{query.format(text)}")
        return
    await api.call("GET", f"{CONFIGMAPS}?{query.format(text)}", expect=400)


async def test_numbers_in_bodies(api: Api) -> None:
    body = b'{"metadata": {"name": "a"}, "spec": {"x": %b}}' % MANY_DIGITS.encode()
    await api.call("POST", NODES, body, expect=400)
    await api.create(CONFIGMAPS, metadata={"name": "a"}, data={"a": "1"})
    operation = {"op": "remove", "path": f"/data/{MANY_DIGITS}"}
    await api.patch(f"{CONFIGMAPS}/a", [operation], "json-patch", expect=422)
    operation = {"op": "add", "path": f"/metadata/finalizers/{MANY_DIGITS}", "value": "x"}
    with_list = [{"op": "add", "path": "/metadata/finalizers", "value": ["a.io/b"]}, operation]
    await api.patch(f"{CONFIGMAPS}/a", with_list, "json-patch", expect=422)


async def test_a_watch_for_longer_than_timers_reach(api: Api) -> None:
    async with api.watch(f"{CONFIGMAPS}?watch=1&timeoutSeconds={2**63 - 1}") as watch:
        await api.create(CONFIGMAPS, metadata={"name": "a"})
        assert (await watch.next())["type"] == "ADDED"


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"preconditions": "x"}, 400),
        ({"preconditions": {"uid": 5}}, 400),
        ({"preconditions": {"resourceVersion": ["1"]}}, 400),
        ({"gracePeriodSeconds": "abc"}, 400),
        ({"gracePeriodSeconds": 1.5}, 400),
        ({"gracePeriodSeconds": True}, 400),
        ({"gracePeriodSeconds": 2**63}, 400),
        ({"dryRun": True}, 400),
        ({"dryRun": ["Some"]}, 422),
        ({"orphanDependents": "yes"}, 400),
        ({"propagationPolicy": "Foo"}, 422),
        ({"propagationPolicy": {}}, 400),
        (["x"], 400),
        (5, 400),
    ],
)
async def test_delete_options_of_a_wrong_type(api: Api, options: Any, code: int) -> None:
    await api.call("POST", PODS, pod("p", node="n1"), expect=201)
    for path in (f"{PODS}/p", PODS):
        await api.call("DELETE", path, options, expect=code)
    assert "deletionTimestamp" not in (await api.call("GET", f"{PODS}/p"))["metadata"]


async def test_a_grace_period_that_is_no_date_any_more(api: Api) -> None:
    await api.call("POST", PODS, pod("p", node="n1"), expect=201)
    marked = await api.call("DELETE", f"{PODS}/p", {"gracePeriodSeconds": 2**63 - 1})
    assert marked["metadata"]["deletionGracePeriodSeconds"] == 2**63 - 1
    for wrong in ("abc", 2**63, {}):
        body = pod("q", node="n1", terminationGracePeriodSeconds=wrong)
        await api.call("POST", PODS, body, expect=422)
    await api.call("POST", PODS, pod("q", node="n1", terminationGracePeriodSeconds=-5), expect=201)
    marked = await api.call("DELETE", f"{PODS}/q")
    assert marked["metadata"]["deletionGracePeriodSeconds"] == 1


async def test_a_binding_of_a_wrong_type(api: Api) -> None:
    await api.call("POST", PODS, pod("p"), expect=201)
    for body in ({"target": "x"}, {"target": {"name": 5}}, [], "x"):
        await api.call("POST", f"{PODS}/p/binding", body, expect=400)


@pytest.mark.parametrize("field", ["metadata", "spec", "status"])
@pytest.mark.parametrize("path", [PODS, NODES, "/api/v1/namespaces", CONFIGMAPS])
async def test_what_every_kind_has_is_an_object(api: Api, path: str, field: str) -> None:
    for wrong in ("x", 5, ["x"], True):
        body = {**pod("p"), "apiVersion": None, "kind": None, field: wrong}
        await api.call("POST", path, body, expect=400)


@pytest.mark.parametrize("wrong", [{}, "", 0, "x", [5], {"a": 1}])
async def test_finalizers_are_a_list_of_texts(api: Api, wrong: Any) -> None:
    await api.call("POST", NODES, {"metadata": {"name": "n", "finalizers": wrong}}, expect=400)


async def test_an_odd_event_does_not_end_the_server(api: Api, server: Server) -> None:
    await api.create(EVENTS, metadata={"name": "a"}, series="x", lastTimestamp="0001-01-01")
    await api.create(EVENTS, metadata={"name": "b"}, series=[], eventTime={"x": 1})
    await event_expiry.remove_old(server.registry)


async def test_copies_of_copies_are_bounded(api: Api) -> None:
    """24 of them make 2**24 of what was there: gigabytes (kube-apiserver bounds them too)."""
    await api.create(NODES, metadata={"name": "n"}, spec={"a": ["x" * 100]})
    double = {"op": "copy", "from": "/spec/a", "path": "/spec/a/-"}
    status = await api.patch(f"{NODES}/n", [double] * 24, "json-patch", expect=422)
    assert "accumulated size increase of copy" in status["message"]
    few = await api.patch(f"{NODES}/n", [double] * 3, "json-patch")
    assert len(few["spec"]["a"]) == 4


async def test_operations_of_a_patch_are_bounded(api: Api) -> None:
    await api.create(NODES, metadata={"name": "n"}, spec={"a": [0] * 100_000})
    test = {"op": "test", "path": "/metadata/name", "value": "n"}
    await api.patch(f"{NODES}/n", [test] * 10_001, "json-patch", expect=413)
    await api.patch(f"{NODES}/n", [test] * 10_000, "json-patch")
    front = {"op": "add", "path": "/spec/a/0", "value": 0}
    await api.patch(f"{NODES}/n", [front] * 10_000, "json-patch", expect=422)
    behind = {"op": "add", "path": "/spec/a/-", "value": 0}
    await api.patch(f"{NODES}/n", [behind] * 10_000, "json-patch")


async def test_patches_make_nothing_larger_than_a_body_may_be(api: Api) -> None:
    await api.create(NODES, metadata={"name": "n"})
    half = "x" * (MOST_BYTES // 2)
    await api.patch(f"{NODES}/n", {"spec": {"a": half}})
    status = await api.patch(f"{NODES}/n", {"spec": {"b": half}}, expect=413)
    assert status["reason"] == "RequestEntityTooLarge"
    assert "b" not in (await api.call("GET", f"{NODES}/n"))["spec"]


def nested(levels: int) -> Any:
    value: Any = 0
    for _ in range(levels):
        value = {"a": value}
    return value


@pytest.mark.parametrize("kind", ["merge-patch", "strategic-merge-patch", "json-patch"])
@pytest.mark.parametrize("levels", [MOST_DEPTH + 1, 400, 900, 100_000])
async def test_what_is_nested_deeply_is_refused(api: Api, kind: str, levels: int) -> None:
    await api.create(NODES, metadata={"name": "n"})
    text = b'{"a":' * levels + b"0" + b"}" * levels
    await api.call("POST", NODES, b'{"metadata":{"name":"m"},"spec":' + text + b"}", expect=400)
    body = b'{"spec":' + text + b"}"
    if kind == "json-patch":
        body = b'[{"op":"add","path":"/spec","value":' + text + b"}]"
    await api.patch(f"{NODES}/n", body, kind, expect=400)


async def test_what_is_nested_less_deeply_can_be_handled_in_every_way(api: Api) -> None:
    deep = nested(MOST_DEPTH - 3)
    await api.create(NODES, metadata={"name": "n"}, spec=deep)
    for kind in ("merge-patch", "strategic-merge-patch"):
        await api.patch(f"{NODES}/n", {"spec": deep}, kind)
    test = [{"op": "test", "path": "/spec", "value": deep}]
    copy = {"op": "copy", "from": "/spec", "path": "/status"}
    await api.patch(f"{NODES}/n", [*test, copy], "json-patch")
    # Deeper step by step, in one patch.
    move = [{"op": "add", "path": "/spec", "value": {}}]
    for _ in range(1200):
        move += [
            {"op": "move", "from": "/spec", "path": "/status"},
            {"op": "add", "path": "/spec", "value": {}},
            {"op": "move", "from": "/status", "path": "/spec/a"},
        ]
    await api.patch(f"{NODES}/n", move, "json-patch", expect=400)


async def test_a_continue_token_is_good_for_its_own_list_only(api: Api) -> None:
    for name in ("a", "b", "c"):
        await api.create(CONFIGMAPS, metadata={"name": name})
    page = await api.call("GET", f"{CONFIGMAPS}?limit=1")
    token = page["metadata"]["continue"]
    for other in (
        "/api/v1/namespaces/default/secrets?",
        "/api/v1/secrets?",
        "/api/v1/configmaps?",
        "/api/v1/namespaces/kubeedge/configmaps?",
        f"{CONFIGMAPS}?labelSelector=a&",
        f"{CONFIGMAPS}?fieldSelector=metadata.name=a&",
    ):
        status = await api.call("GET", f"{other}limit=1&continue={token}", expect=400)
        assert "continue" in status["message"]
    page = await api.call("GET", f"{CONFIGMAPS}?limit=9&continue={token}")
    names = [item["metadata"]["name"] for item in page["items"]]
    assert names == ["b", "c", "kube-root-ca.crt"]


@pytest.mark.parametrize(
    "header", ["Impersonate-User", "impersonate-group", "Impersonate-Uid", "Impersonate-Extra-a"]
)
async def test_impersonation_is_refused(api: Api, header: str) -> None:
    url = f"{api.server.url}/api/v1/secrets"
    async with api.session.get(url, headers={header: "system:anonymous"}) as response:
        status = await response.json()
        assert (response.status, status["reason"]) == (403, "Forbidden")
        assert "impersonation is not supported" in status["message"]


async def test_server_side_apply_says_so_for_a_new_object_too(api: Api) -> None:
    yaml = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"
    for path in (f"{CONFIGMAPS}/none", f"{DEVICES}/none"):
        status = await api.call(
            "PATCH", path, yaml, content_type="application/apply-patch+yaml", expect=415
        )
        assert "server-side apply is not supported" in status["message"]


async def test_many_faults_are_not_all_told(api: Api) -> None:
    labels = {f"-{number}": "" for number in range(5000)}
    status = await api.call(
        "POST", CONFIGMAPS, {"metadata": {"name": "a", "labels": labels}}, expect=422
    )
    assert len(status["details"]["causes"]) == 100
    assert "and 4900 more" in status["message"]


async def test_bodies_that_are_not_what_their_encoding_says(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    for encoding, path, code in (
        ("gzip", CONFIGMAPS, 400),
        ("deflate", CONFIGMAPS, 400),
        ("gzip", "/nowhere", 404),  # is not read
    ):
        async with api.session.post(
            api.server.url + path,
            data=io.BytesIO(b"no such thing"),
            headers={"Content-Type": "application/json", "Content-Encoding": encoding},
        ) as response:
            assert response.status == code
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


@pytest.mark.parametrize("query", ["watch=1", "watch=1&resourceVersion={}"])
async def test_a_client_that_goes_during_a_watch_is_no_error(
    api: Api, server: Server, caplog: pytest.LogCaptureFixture, query: str
) -> None:
    before = server.store.revision
    for number in range(20):
        await api.create(NODES, metadata={"name": f"n{number}"}, spec={"x": "x" * 200_000})
    async with api.session.get(f"{server.url}{NODES}?{query.format(before)}") as response:
        await response.content.readany()
        response.connection.transport.abort()
        for _ in range(3):
            await api.patch(f"{NODES}/n0", {"spec": {"x": json.dumps(id(object()))}})
        await until(lambda: server.watches == 0)
    assert not [record for record in caplog.records if record.levelname in ("ERROR", "WARNING")]
