from __future__ import annotations

import asyncio
import base64
import stat
import time
from functools import partial
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest

from modules.apiserver.http import server as server_module
from modules.apiserver.http.handlers import Handlers
from modules.apiserver.http.server import Server
from modules.apiserver.registry import event_expiry
from modules.apiserver.registry.registry import Registry
from modules.common.clock_jumps import ClockJumps
from modules.common.crds.manifests import load
from modules.common.pki.certificates import issue_node
from tests.modules.apiserver.api import Api, tls
from tests.modules.apiserver.samples import pod

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
SECRETS = "/api/v1/namespaces/default/secrets"
# Without the one that every namespace has.
OURS = "fieldSelector=metadata.name!=kube-root-ca.crt"
NODES = "/api/v1/nodes"
PODS = "/api/v1/namespaces/default/pods"
DEVICES = "/apis/devices.kubeedge.io/v1alpha1/namespaces/default/devices"
BAD = "BadRequest"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


async def test_a_new_object_gets_its_metadata(api: Api) -> None:
    created = await api.create(CONFIGMAPS, metadata={"name": "a"}, data={"k": "v"})
    assert (created["kind"], created["apiVersion"]) == ("ConfigMap", "v1")
    metadata = created["metadata"]
    assert metadata["namespace"] == "default"
    assert metadata["uid"]
    assert metadata["creationTimestamp"].endswith("Z")
    assert int(metadata["resourceVersion"]) > 0
    assert "generation" not in metadata
    assert await api.call("GET", f"{CONFIGMAPS}/a") == created


async def test_generate_name(api: Api) -> None:
    created = await api.create(CONFIGMAPS, metadata={"generateName": "job-"})
    assert len(created["metadata"]["name"]) == len("job-") + 5


@pytest.mark.parametrize(
    ("method", "path", "body", "code", "reason"),
    [
        ("GET", f"{CONFIGMAPS}/none", None, 404, "NotFound"),
        ("DELETE", f"{CONFIGMAPS}/none", None, 404, "NotFound"),
        ("PUT", f"{CONFIGMAPS}/none", {"metadata": {"name": "none"}}, 404, "NotFound"),
        ("GET", "/api/v1/unheard-of", None, 404, "NotFound"),
        ("GET", "/apis/no.such.group/v1", None, 404, "NotFound"),
        ("GET", "/api/v1/configmaps/all", None, 404, "NotFound"),
        ("GET", "/nowhere", None, 404, "NotFound"),
        ("POST", CONFIGMAPS, {"metadata": {"name": "taken"}}, 409, "AlreadyExists"),
        ("POST", CONFIGMAPS, {"metadata": {"name": "Upper"}}, 422, "Invalid"),
        ("POST", CONFIGMAPS, {"metadata": {}}, 422, "Invalid"),
        ("POST", CONFIGMAPS, {"kind": "Pod", "metadata": {"name": "a"}}, 400, BAD),
        ("POST", CONFIGMAPS, {"metadata": {"name": "a", "namespace": "b"}}, 400, BAD),
        ("POST", CONFIGMAPS, {"metadata": {"name": "a", "labels": {"x": 1}}}, 400, BAD),
        ("POST", CONFIGMAPS, {"metadata": {"name": "a", "labels": {"-": "x"}}}, 422, "Invalid"),
        ("POST", CONFIGMAPS, {"metadata": {"name": "a", "resourceVersion": "1"}}, 400, BAD),
        ("POST", CONFIGMAPS, {"metadata": {"name": "a"}, "data": {"k": 1}}, 422, "Invalid"),
        ("POST", CONFIGMAPS, {"metadata": {"name": "a"}, "data": {"a/b": "c"}}, 422, "Invalid"),
        ("POST", CONFIGMAPS, [], 400, BAD),
        ("POST", CONFIGMAPS, b"{", 400, BAD),
        ("POST", CONFIGMAPS, b"[" * 100_000, 400, BAD),
        ("POST", CONFIGMAPS, b'"' + b"x" * 4_000_000 + b'"', 413, "RequestEntityTooLarge"),
        ("POST", "/api/v1/configmaps", {"metadata": {"name": "a"}}, 405, "MethodNotAllowed"),
        ("PUT", CONFIGMAPS, {}, 405, "MethodNotAllowed"),
        ("PUT", f"{CONFIGMAPS}/taken/status", {"metadata": {"name": "taken"}}, 404, "NotFound"),
        ("PUT", f"{CONFIGMAPS}/taken", {"metadata": {"name": "other"}}, 400, BAD),
        ("GET", f"{CONFIGMAPS}?labelSelector=a%20b", None, 400, BAD),
        ("GET", f"{CONFIGMAPS}?fieldSelector=spec.x=1", None, 400, BAD),
        ("GET", f"{CONFIGMAPS}?limit=many", None, 400, BAD),
        ("GET", f"{CONFIGMAPS}?continue=unknown", None, 410, "Expired"),
        ("GET", f"{CONFIGMAPS}?resourceVersion=abc", None, 400, BAD),
        ("POST", f"{CONFIGMAPS}?dryRun=Some", {"metadata": {"name": "a"}}, 400, BAD),
        ("POST", "/api/v1/namespaces/none/secrets", {"metadata": {"name": "a"}}, 404, "NotFound"),
        ("POST", PODS, {"metadata": {"name": "a"}, "spec": {}}, 422, "Invalid"),
        ("POST", PODS, {"metadata": {"name": "a"}, "spec": {"containers": [{}]}}, 422, "Invalid"),
        ("POST", PODS, {"metadata": {"name": "a"}, "spec": {"containers": "x"}}, 400, BAD),
        ("POST", PODS, {"metadata": "x"}, 400, BAD),
        ("DELETE", "/api/v1/namespaces/default", None, 403, "Forbidden"),
    ],
)  # fmt: skip
async def test_errors_are_statuses(
    api: Api, method: str, path: str, body: Any, code: int, reason: str
) -> None:
    await api.create(CONFIGMAPS, metadata={"name": "taken"})
    status = await api.call(method, path, body, expect=code)
    assert status["kind"] == "Status"
    assert status["apiVersion"] == "v1"
    assert status["status"] == "Failure"
    assert (status["code"], status["reason"]) == (code, reason)
    assert status["message"]


async def test_an_update_of_an_old_version_is_a_conflict(api: Api) -> None:
    created = await api.create(CONFIGMAPS, metadata={"name": "a"}, data={"n": "1"})
    updated = await api.call("PUT", f"{CONFIGMAPS}/a", {**created, "data": {"n": "2"}})
    assert int(updated["metadata"]["resourceVersion"]) > int(created["metadata"]["resourceVersion"])
    status = await api.call("PUT", f"{CONFIGMAPS}/a", {**created, "data": {"n": "3"}}, expect=409)
    assert status["reason"] == "Conflict"
    assert "the object has been modified" in status["message"]
    stale = {"metadata": {"resourceVersion": created["metadata"]["resourceVersion"]}}
    await api.patch(f"{CONFIGMAPS}/a", stale, expect=409)
    await api.patch(f"{CONFIGMAPS}/a", {"metadata": {"uid": "another"}}, expect=422)
    another = {**updated, "metadata": {**updated["metadata"], "uid": "another"}}
    await api.call("PUT", f"{CONFIGMAPS}/a", another, expect=409)
    assert (await api.call("GET", f"{CONFIGMAPS}/a"))["data"] == {"n": "2"}


async def test_the_server_keeps_what_is_its_own(api: Api) -> None:
    created = await api.create(CONFIGMAPS, metadata={"name": "a"})
    forged = {
        "creationTimestamp": "2000-01-01T00:00:00Z",
        "deletionTimestamp": "x",
        "generation": 9,
    }
    patched = await api.patch(f"{CONFIGMAPS}/a", {"metadata": forged})
    assert patched == created


async def test_an_update_that_changes_nothing_has_no_new_version(api: Api) -> None:
    created = await api.create(CONFIGMAPS, metadata={"name": "a"}, data={"n": "1"})
    assert await api.patch(f"{CONFIGMAPS}/a", {"data": {"n": "1"}}) == created


async def test_dry_run_stores_nothing(api: Api) -> None:
    before = api.server.store.revision
    created = await api.call(
        "POST", f"{CONFIGMAPS}?dryRun=All", {"metadata": {"name": "a"}}, expect=201
    )
    assert created["metadata"]["uid"]
    await api.call("GET", f"{CONFIGMAPS}/a", expect=404)
    await api.create(CONFIGMAPS, metadata={"name": "b"}, data={"n": "1"})
    await api.patch(f"{CONFIGMAPS}/b?dryRun=All", {"data": {"n": "2"}})
    await api.call("DELETE", f"{CONFIGMAPS}/b?dryRun=All")
    assert (await api.call("GET", f"{CONFIGMAPS}/b"))["data"] == {"n": "1"}
    assert api.server.store.revision == before + 1


async def test_status_and_the_rest_leave_each_other_alone(api: Api) -> None:
    await api.call("POST", PODS, pod("p", node="n1"), expect=201)
    patched = await api.patch(
        f"{PODS}/p/status",
        {
            "status": {"phase": "Running"},
            "spec": {"nodeName": "x"},
            "metadata": {"labels": {"a": "b"}},
        },
    )
    assert patched["status"]["phase"] == "Running"
    assert patched["spec"]["nodeName"] == "n1"
    assert patched["metadata"]["labels"] == {"a": "b"}
    assert patched["metadata"]["generation"] == 1
    patched = await api.patch(f"{PODS}/p", {"status": {"phase": "Failed"}})
    assert patched["status"]["phase"] == "Running"
    replaced = await api.call(
        "PUT", f"{PODS}/p/status", {**patched, "status": {"phase": "Succeeded"}}
    )
    assert replaced["status"] == {"phase": "Succeeded", "qosClass": "BestEffort"}


async def test_generation_counts_changes_of_the_spec(api: Api) -> None:
    await api.create(NODES, metadata={"name": "n"}, spec={}, status={"phase": "x"})
    assert (await api.call("GET", f"{NODES}/n"))["status"] == {"phase": "x"}
    labelled = await api.patch(f"{NODES}/n", {"metadata": {"labels": {"a": "b"}}})
    assert labelled["metadata"]["generation"] == 1
    changed = await api.patch(f"{NODES}/n", {"spec": {"unschedulable": True}})
    assert changed["metadata"]["generation"] == 2


async def test_strategic_patch_of_conditions_over_http(api: Api) -> None:
    ready = {"type": "Ready", "status": "True"}
    await api.create(NODES, metadata={"name": "n"}, status={"conditions": [ready]})
    patch = {"status": {"conditions": [{"type": "Disk", "status": "False"}]}}
    patched = await api.patch(f"{NODES}/n/status", patch, "strategic-merge-patch")
    assert [item["type"] for item in patched["status"]["conditions"]] == ["Ready", "Disk"]


async def test_json_patch_over_http(api: Api) -> None:
    await api.create(CONFIGMAPS, metadata={"name": "a"}, data={"n": "1"})
    test = {"op": "test", "path": "/data/n", "value": "2"}
    await api.patch(f"{CONFIGMAPS}/a", [test], "json-patch", expect=422)
    add = {"op": "add", "path": "/data/m", "value": "2"}
    patched = await api.patch(f"{CONFIGMAPS}/a", [add], "json-patch")
    assert patched["data"] == {"n": "1", "m": "2"}


async def test_lists(api: Api) -> None:
    for name in ("b", "a", "c"):
        await api.create(CONFIGMAPS, metadata={"name": name, "labels": {"name": name}})
    listed = await api.call("GET", f"{CONFIGMAPS}?{OURS}")
    assert (listed["kind"], listed["apiVersion"]) == ("ConfigMapList", "v1")
    assert [item["metadata"]["name"] for item in listed["items"]] == ["a", "b", "c"]
    assert listed["metadata"] == {"resourceVersion": str(api.server.store.revision)}
    selected = await api.call("GET", f"{CONFIGMAPS}?labelSelector=name%20in%20(a,b)")
    assert len(selected["items"]) == 2
    selected = await api.call("GET", "/api/v1/configmaps?fieldSelector=metadata.name=c")
    assert len(selected["items"]) == 1
    assert (await api.call("GET", "/api/v1/namespaces/kubeedge/secrets"))["items"] == []


async def test_pages_show_the_state_of_the_first_one(api: Api) -> None:
    for number in range(5):
        await api.create(SECRETS, metadata={"name": f"c{number}"})
    page = await api.call("GET", f"{SECRETS}?limit=2")
    assert page["metadata"]["remainingItemCount"] == 3
    await api.call("DELETE", f"{SECRETS}/c3")
    await api.create(SECRETS, metadata={"name": "c9"})
    names = [item["metadata"]["name"] for item in page["items"]]
    revision = page["metadata"]["resourceVersion"]
    while token := page["metadata"].get("continue"):
        page = await api.call("GET", f"{SECRETS}?limit=2&continue={token}")
        names += [item["metadata"]["name"] for item in page["items"]]
        assert page["metadata"]["resourceVersion"] == revision
    assert names == ["c0", "c1", "c2", "c3", "c4"]


async def test_pods_are_selected_by_node_and_phase(api: Api) -> None:
    await api.call("POST", PODS, pod("p1", node="n1"), expect=201)
    await api.call("POST", PODS, pod("p2", node="n2"), expect=201)
    await api.patch(f"{PODS}/p2/status", {"status": {"phase": "Failed"}})
    for selector, names in (
        ("spec.nodeName=n1", ["p1"]),
        ("spec.nodeName!=n1", ["p2"]),
        ("status.phase=Pending", ["p1"]),
        ("spec.nodeName=n2,status.phase!=Failed", []),
    ):
        listed = await api.call("GET", "/api/v1/pods", accept="application/json")
        assert len(listed["items"]) == 2
        listed = await api.call("GET", f"/api/v1/pods?fieldSelector={selector}")
        assert [item["metadata"]["name"] for item in listed["items"]] == names


async def test_events_are_selected_by_what_they_are_about(api: Api) -> None:
    for name in ("a", "b"):
        await api.create(
            "/api/v1/namespaces/default/events",
            metadata={"name": f"event-{name}"},
            involvedObject={"kind": "Pod", "name": name, "uid": f"uid-{name}"},
        )
    query = "fieldSelector=involvedObject.kind=Pod,involvedObject.uid=uid-b"
    listed = await api.call("GET", f"/api/v1/events?{query}")
    assert [item["involvedObject"]["name"] for item in listed["items"]] == ["b"]


async def test_delete(api: Api) -> None:
    created = await api.create(CONFIGMAPS, metadata={"name": "a"})
    wrong = {"preconditions": {"uid": "another"}}
    await api.call("DELETE", f"{CONFIGMAPS}/a", wrong, expect=409)
    status = await api.call("DELETE", f"{CONFIGMAPS}/a")
    assert status["status"] == "Success"
    assert status["details"] == {
        "name": "a", "kind": "configmaps", "uid": created["metadata"]["uid"],
    }  # fmt: skip
    await api.call("GET", f"{CONFIGMAPS}/a", expect=404)


async def test_delete_collection(api: Api) -> None:
    for name in ("a", "b"):
        await api.create(CONFIGMAPS, metadata={"name": name, "labels": {"name": name}})
    await api.call("DELETE", f"{CONFIGMAPS}?labelSelector=name=a")
    listed = await api.call("GET", f"{CONFIGMAPS}?{OURS}")
    assert [item["metadata"]["name"] for item in listed["items"]] == ["b"]


async def test_finalizers_hold_an_object(api: Api) -> None:
    await api.create(CONFIGMAPS, metadata={"name": "a", "finalizers": ["x.io/wait"]})
    marked = await api.call("DELETE", f"{CONFIGMAPS}/a")
    assert marked["metadata"]["deletionTimestamp"]
    await api.call("DELETE", f"{CONFIGMAPS}/a")
    assert await api.call("GET", f"{CONFIGMAPS}/a") == marked
    await api.patch(f"{CONFIGMAPS}/a", {"metadata": {"finalizers": None}})
    await api.call("GET", f"{CONFIGMAPS}/a", expect=404)


async def test_secrets_take_string_data(api: Api) -> None:
    secrets = "/api/v1/namespaces/default/secrets"
    created = await api.create(secrets, metadata={"name": "s"}, stringData={"a": "plain"})
    assert created["type"] == "Opaque"
    assert base64.b64decode(created["data"]["a"]) == b"plain"
    assert "stringData" not in created
    bad = {"metadata": {"name": "t"}, "data": {"a": "not base64!"}}
    status = await api.call("POST", secrets, bad, expect=422)
    assert "not base64!" not in status["message"]
    await api.patch(f"{secrets}/s", {"immutable": True})
    await api.patch(f"{secrets}/s", {"data": {"a": None}}, expect=422)


async def test_services_get_addresses_of_their_own(api: Api) -> None:
    services = "/api/v1/namespaces/default/services"
    created = [
        await api.create(services, metadata={"name": f"s{n}"}, spec={"ports": [{"port": 80}]})
        for n in range(3)
    ]
    addresses = [item["spec"]["clusterIP"] for item in created]
    assert len(set(addresses)) == 3
    assert created[0]["spec"]["ports"] == [{"port": 80, "protocol": "TCP", "targetPort": 80}]
    taken = {"metadata": {"name": "x"}, "spec": {"clusterIP": addresses[0], "ports": [{"port": 1}]}}
    await api.call("POST", services, taken, expect=422)
    headless = await api.create(services, metadata={"name": "h"}, spec={"clusterIP": "None"})
    assert headless["spec"]["clusterIP"] == "None"
    await api.patch(f"{services}/s0", {"spec": {"clusterIP": "10.0.0.1"}}, expect=422)


async def test_tables(api: Api) -> None:
    await api.create(CONFIGMAPS, metadata={"name": "a"}, data={"k": "v"})
    for path in (CONFIGMAPS, f"{CONFIGMAPS}/a"):
        found = await api.call("GET", path, accept=TABLE)
        assert found["kind"] == "Table"
        assert [column["name"] for column in found["columnDefinitions"]] == ["Name", "Data", "Age"]
        assert found["rows"][0]["cells"][:2] == ["a", 1]
    plain = await api.call("GET", CONFIGMAPS, accept="application/json;q=0.9,*/*")
    assert plain["kind"] == "ConfigMapList"


async def test_who_is_let_in(server: Server) -> None:
    async def ask(certificate: str, path: str) -> tuple[int, str]:
        connector = aiohttp.TCPConnector(ssl=tls(server.pki, certificate=certificate))
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.get(server.url + path) as response,
        ):
            text = await response.text()
            return response.status, text

    certificate, key = issue_node(server.pki.directory, "edge-1")
    (server.pki.directory / "edge.crt").write_bytes(certificate)
    (server.pki.directory / "edge.key").write_bytes(key)
    assert (await ask("", "/healthz")) == (200, "ok")
    assert (await ask("", "/version"))[0] == 200
    assert (await ask("", "/api/v1/secrets"))[0] == 401
    assert (await ask("", "/api"))[0] == 401
    status, text = await ask("edge", "/api/v1/secrets")
    assert status == 403
    assert "system:node:edge-1" in text
    assert (await ask("admin", "/api/v1/secrets"))[0] == 200


async def test_the_kubeconfig_is_private(server: Server) -> None:
    path = server.store.path.with_name("kubeconfig")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(server.store.path.stat().st_mode) == 0o600


async def test_a_fault_of_ours_is_a_status_and_a_log_line(
    api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any) -> Any:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(Handlers, "_get", broken)
    status = await api.call("GET", f"{CONFIGMAPS}/a", expect=500)
    assert "secret detail" not in status["message"]
    assert "ZeroDivisionError" in caplog.text


async def test_a_custom_resource_definition_is_served_at_once(api: Api) -> None:
    crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    version = {
        "name": "v1", "served": True, "storage": True, "subresources": {"status": {}},
        "additionalPrinterColumns": [{"name": "Size", "type": "integer", "jsonPath": ".spec.size"}],
        "schema": {"openAPIV3Schema": {"type": "object"}},
    }  # fmt: skip
    crd = {
        "metadata": {"name": "boats.sea.io"},
        "spec": {
            "group": "sea.io", "scope": "Cluster", "versions": [version],
            "names": {"plural": "boats", "kind": "Boat", "shortNames": ["bt"]},
        },
    }  # fmt: skip
    created = await api.create(crds, **crd)
    assert created["spec"]["names"]["listKind"] == "BoatList"
    assert {item["type"] for item in created["status"]["conditions"]} == {
        "NamesAccepted",
        "Established",
    }
    boat = {"metadata": {"name": "a"}, "spec": {"size": 3}, "status": {"x": 1}}
    made = await api.call("POST", "/apis/sea.io/v1/boats", boat, expect=201)
    assert "status" not in made
    await api.call("PUT", "/apis/sea.io/v1/boats/a", boat, expect=422)
    updated = await api.patch("/apis/sea.io/v1/boats/a/status", {"status": {"x": 1}})
    assert updated["status"] == {"x": 1}
    assert updated["metadata"]["generation"] == 1
    table = await api.call("GET", "/apis/sea.io/v1/boats", accept=TABLE)
    assert table["rows"][0]["cells"] == ["a", 3]
    groups = await api.call("GET", "/apis")
    assert "sea.io" in [group["name"] for group in groups["groups"]]
    await api.call("DELETE", f"{crds}/boats.sea.io")
    await api.call("GET", "/apis/sea.io/v1/boats", expect=404)
    await api.create(crds, **crd)
    assert (await api.call("GET", "/apis/sea.io/v1/boats"))["items"] == []


async def test_status_of_devices_has_a_path_of_its_own(api: Api) -> None:
    twins = {"twins": [{"propertyName": "t", "desired": {"value": "1"}}]}
    created = await api.create(DEVICES, metadata={"name": "d"}, spec={}, status=twins)
    assert "status" not in created
    assert "status" not in await api.patch(f"{DEVICES}/d", {"status": twins})
    patched = await api.patch(f"{DEVICES}/d/status", {"status": twins})
    assert patched["status"] == twins


async def test_crd_of_devices_may_be_replaced_by_one_without_that_path(api: Api) -> None:
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/devices.devices.kubeedge.io"
    crd = {**await api.call("GET", path), "spec": load("devices", status_subresource=False)["spec"]}
    await api.call("PUT", path, crd)
    twins = {"twins": [{"propertyName": "t", "desired": {"value": "1"}}]}
    created = await api.create(DEVICES, metadata={"name": "d"}, spec={}, status=twins)
    assert created["status"] == twins
    patched = await api.patch(f"{DEVICES}/d", {"status": {"twins": []}})
    assert patched["status"] == {"twins": []}
    await api.patch(f"{DEVICES}/d/status", {"status": {}}, expect=404)


async def test_many_writers_at_once_each_get_their_own_revision(api: Api) -> None:
    await api.create(CONFIGMAPS, metadata={"name": "a"})
    answers = await asyncio.gather(
        *(api.patch(f"{CONFIGMAPS}/a", {"data": {f"k{n}": "v"}}) for n in range(50))
    )
    assert len({answer["metadata"]["resourceVersion"] for answer in answers}) == 50
    assert len((await api.call("GET", f"{CONFIGMAPS}/a"))["data"]) == 50


async def test_old_events_go(api: Api) -> None:
    path = "/api/v1/namespaces/default/events"
    for name, when in (("old", "2020-01-01T00:00:00Z"), ("odd", "yesterday")):
        await api.create(path, metadata={"name": name}, lastTimestamp=when)
    assert await event_expiry.remove_old(api.server.registry) == 0
    assert await event_expiry.remove_old(api.server.registry, time.time() + 3700) == 2
    assert (await api.call("GET", path))["items"] == []


async def test_a_clock_that_is_set_forward_removes_no_new_event(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = "/api/v1/namespaces/default/events"
    looks = asyncio.Queue[float]()
    remove_old = event_expiry.remove_old

    async def look(registry: Registry) -> None:
        await remove_old(registry)
        looks.put_nowait(time.time())

    monkeypatch.setattr(event_expiry, "remove_old", look)
    monkeypatch.setattr(server_module, "EVENTS_SECONDS", 0.0)
    wall = SimpleNamespace(now=time.time())
    monkeypatch.setattr(server_module, "ClockJumps", partial(ClockJumps, lambda: wall.now))
    removing = asyncio.create_task(api.server._remove_old_events())
    async with asyncio.timeout(20):
        await looks.get()
        await api.create(path, metadata={"name": "new"})
        now = time.time()
        wall.now += 172_800
        monkeypatch.setattr(time, "time", lambda: now + 172_800)
        for _ in range(100):
            await asyncio.sleep(0)
        assert len((await api.call("GET", path))["items"]) == 1
        monkeypatch.setattr(event_expiry, "LIFETIME", 0.0)  # the time without a jump is over
        while await looks.get() < now + 172_800:
            pass
    removing.cancel()
    await asyncio.wait([removing])
    assert (await api.call("GET", path))["items"] == []
