"""CRDs of a wrong shape are refused, and one that is stored all the same keeps no other back."""

from __future__ import annotations

import copy
import json
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from modules.apiserver.catalog import Catalog
from modules.apiserver.http import discovery, openapi
from modules.apiserver.kinds.builtin import BUILTIN
from modules.apiserver.meta.status import ApiError
from modules.apiserver.registry.bootstrap import open_cluster
from modules.apiserver.registry.deletion import Options
from modules.apiserver.storage.store import Store
from modules.common.crds.manifests import load
from modules.common.pki.certificates import Pki
from tests.modules.apiserver.api import Api, tls
from tests.modules.apiserver.samples import pod
from tests.support.apiserver import running_server
from tests.support.pki import copy_pki
from tests.support.waiting import until

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
CRD_STORAGE = "customresourcedefinitions.apiextensions.k8s.io"
BOATS = "/apis/sea.io/v1/boats"
BOAT: dict[str, Any] = {
    "metadata": {"name": "boats.sea.io"},
    "spec": {
        "group": "sea.io",
        "scope": "Cluster",
        "names": {
            "plural": "boats", "singular": "boat", "kind": "Boat", "listKind": "BoatList",
            "shortNames": ["bt"], "categories": ["all"],
        },
        "conversion": {"strategy": "None"},
        "preserveUnknownFields": False,
        "versions": [
            {
                "name": "v1", "served": True, "storage": True, "deprecated": False,
                "subresources": {"status": {}},
                "selectableFields": [{"jsonPath": ".spec.size"}],
                "additionalPrinterColumns": [
                    {
                        "name": "Size", "type": "integer", "format": "int32", "priority": 0,
                        "description": "d", "jsonPath": ".spec.size",
                    }
                ],
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "required": ["spec"],
                        "properties": {
                            "spec": {
                                "type": "object", "description": "d", "nullable": True,
                                "properties": {
                                    "size": {"type": "integer", "minimum": 1, "maxLength": 5},
                                    "tags": {
                                        "type": "array",
                                        "items": {"type": "string", "enum": ["a", 1, None]},
                                    },
                                },
                                "additionalProperties": {"anyOf": [{"type": "string"}]},
                                "x-kubernetes-preserve-unknown-fields": True,
                            }
                        },
                    }
                },
            }
        ],
    },
}  # fmt: skip
VERSION = ("spec", "versions", 0)
SCHEMA = (*VERSION, "schema", "openAPIV3Schema")


def changed(path: tuple[str | int, ...], value: Any, crd: dict[str, Any] = BOAT) -> dict[str, Any]:
    """Return the CRD with another value at `path`."""
    new = copy.deepcopy(crd)
    parent: Any = new
    for step in path[:-1]:
        parent = parent[step]
    parent[path[-1]] = value
    return new


def paths(value: Any, before: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yield the path of everything in a JSON value."""
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    for key, item in items:
        yield (*before, key)
        yield from paths(item, (*before, key))


COLUMN = "spec.versions[0].additionalPrinterColumns[0]"
IN_SCHEMA = "spec.versions[0].schema.openAPIV3Schema"
WRONG: list[tuple[tuple[str | int, ...], Any, str]] = [
    ((*VERSION, "selectableFields"), [{}], "spec.versions[0].selectableFields[0].jsonPath"),
    (("spec", "names", "shortNames"), "foo", "spec.names.shortNames"),
    (("spec", "names", "shortNames"), 5, "spec.names.shortNames"),
    (("spec", "names", "shortNames"), ["Foo"], "spec.names.shortNames[0]"),
    (("spec", "names", "categories"), True, "spec.names.categories"),
    (("spec", "names", "kind"), ["x"], "spec.names.kind"),
    (("spec", "names", "kind"), "Not ok", "spec.names.kind"),
    (("spec", "names", "kind"), "BoatList", "spec.names.listKind"),
    (("spec", "names", "plural"), "Boats", "spec.names.plural"),
    (("spec", "names"), None, "spec.names.plural"),
    (("spec", "group"), "sea", "spec.group"),
    (("spec", "group"), "", "spec.group"),
    (("spec", "scope"), "Planet", "spec.scope"),
    (("spec", "versions"), {}, "spec.versions"),
    (("spec", "versions"), [], "spec.versions"),
    (("spec", "versions"), [5], "spec.versions[0]"),
    (("spec", "versions"), [{"name": "v1", "storage": True}] * 2, "spec.versions"),
    ((*VERSION, "name"), 1, "spec.versions[0].name"),
    ((*VERSION, "name"), "v1/x", "spec.versions[0].name"),
    ((*VERSION, "name"), None, "spec.versions[0].name"),
    (SCHEMA, 5, IN_SCHEMA),
    ((*SCHEMA, "type"), "string", f"{IN_SCHEMA}.type"),
    (
        (*SCHEMA, "properties", "spec", "type"), "int",
        f"{IN_SCHEMA}.properties[spec].type",
    ),
    (
        (*SCHEMA, "properties", "spec", "additionalProperties", "anyOf"), [5],
        f"{IN_SCHEMA}.properties[spec].additionalProperties.anyOf[0]",
    ),
    ((*VERSION, "additionalPrinterColumns"), ["x"], COLUMN),
    (
        (*VERSION, "additionalPrinterColumns", 0, "type"), "text",
        f"{COLUMN}.type",
    ),
    (
        (*VERSION, "additionalPrinterColumns", 0, "jsonPath"), "$[",
        f"{COLUMN}.jsonPath",
    ),
    (("spec", "conversion", "strategy"), "Magic", "spec.conversion.strategy"),
    (("metadata", "name"), "ships.sea.io", "metadata.name"),
    (("spec",), None, "spec"),
]  # fmt: skip


async def test_a_crd_of_a_wrong_shape_is_invalid_and_not_stored(api: Api) -> None:
    before = api.server.store.revision
    for path, value, field in WRONG:
        status = await api.call("POST", CRDS, changed(path, value), expect=422)
        assert status["reason"] == "Invalid"
        assert field in [cause["field"] for cause in status["details"]["causes"]]
    assert api.server.store.revision == before
    await api.call("GET", f"{CRDS}/boats.sea.io", expect=404)


async def test_a_crd_does_not_become_one_of_a_wrong_shape(api: Api) -> None:
    await api.create(CRDS, **BOAT)
    current = await api.call("GET", f"{CRDS}/boats.sea.io")
    version = {"resourceVersion": current["metadata"]["resourceVersion"]}
    for path, value, _ in WRONG:
        if path[0] == "spec":
            crd = changed(path, value)
            new = {**crd, "metadata": {**crd["metadata"], **version}}
            await api.call("PUT", f"{CRDS}/boats.sea.io", new, expect=422)
    assert await api.call("GET", f"{CRDS}/boats.sea.io") == current
    await api.call("GET", "/openapi/v3")


async def test_each_fault_is_told_with_its_field(api: Api) -> None:
    crd = changed((*VERSION, "name"), 1, changed(("spec", "names", "shortNames"), 5))
    status = await api.call("POST", CRDS, crd, expect=422)
    fields = [cause["field"] for cause in status["details"]["causes"]]
    assert fields == ["spec.names.shortNames", "spec.versions[0].name"]
    crd = changed(("spec", "scope"), "x", changed(("spec", "group"), "sea"))
    status = await api.call("POST", CRDS, crd, expect=422)
    fields = [cause["field"] for cause in status["details"]["causes"]]
    assert fields == ["spec.group", "spec.scope", "metadata.name"]


ODD = (None, True, 5, -1.5, "", "x", "x" * 300, [], ["x"], [[]], [{}], {}, {"x": 1}, {"x": {}})


def test_every_field_of_every_type_is_refused_or_served(tmp_path: Path) -> None:
    """What was accepted is served again by the next start; in 500 a client would see a 5xx."""
    store = Store(tmp_path / "apiserver.db")
    registry = open_cluster(store, Catalog(BUILTIN), "CA")
    crds = registry.catalog.find("apiextensions.k8s.io", "v1", "customresourcedefinitions")
    accepted = 0
    refused: Counter[int] = Counter()
    for path in list(paths(BOAT)):
        for value in ODD:
            crd = changed(path, value)
            try:
                entry = registry.create(crds, "", crd)
            except ApiError as error:
                refused[error.code] += 1
                continue
            accepted += 1
            again = Catalog(BUILTIN)
            open_cluster(store, again, "CA")
            for resource in [resource for resource in again if resource.custom]:
                openapi.v3_document(again, resource.base_path)
                discovery.resources(again, resource.group, resource.version)
            assert not store.aside.lines(9), (path, value)
            registry.delete(crds, "", entry.key[1], Options())
    assert accepted > 100
    assert refused.keys() <= {400, 422}
    assert refused[422] > 400
    store.close()


@pytest.mark.parametrize(
    ("group", "names", "field"),
    [
        ("coordination.k8s.io", {"plural": "leases", "kind": "Other"}, "plural"),
        ("coordination.k8s.io", {"plural": "others", "kind": "Lease"}, "kind"),
        ("coordination.k8s.io", {"plural": "others", "kind": "LeaseList"}, "kind"),
        ("coordination.k8s.io", {"plural": "lease", "kind": "Other"}, "plural"),
        ("coordination.k8s.io", {"plural": "o", "singular": "leases", "kind": "O"}, "singular"),
        ("apiextensions.k8s.io", {"plural": "o", "kind": "O", "shortNames": ["crd"]}, "shortNames"),
    ],
)
async def test_a_crd_may_not_claim_a_name_of_a_built_in(
    api: Api, group: str, names: Any, field: str
) -> None:
    lease = "/apis/coordination.k8s.io/v1/namespaces/default/leases"
    await api.create(lease, metadata={"name": "a"})
    crd = changed(("spec", "names"), names)
    crd["spec"]["group"] = group
    crd["metadata"] = {"name": f"{names['plural']}.{group}"}
    status = await api.call("POST", CRDS, crd, expect=422)
    assert f"spec.names.{field}" in [cause["field"] for cause in status["details"]["causes"]]
    await api.call("GET", f"{lease}/a")


async def test_objects_go_with_their_crd_whichever_versions_are_served(api: Api) -> None:
    await api.create(CRDS, **BOAT)
    await api.create(BOATS, metadata={"name": "a"})
    await api.patch(f"{CRDS}/boats.sea.io", [
        {"op": "replace", "path": "/spec/versions/0/served", "value": False}
    ], "json-patch")  # fmt: skip
    await api.call("GET", BOATS, expect=404)
    assert "sea.io" not in [group["name"] for group in (await api.call("GET", "/apis"))["groups"]]
    await api.patch(f"{CRDS}/boats.sea.io", [
        {"op": "replace", "path": "/spec/versions/0/served", "value": True}
    ], "json-patch")  # fmt: skip
    assert len((await api.call("GET", BOATS))["items"]) == 1
    await api.patch(f"{CRDS}/boats.sea.io", [
        {"op": "replace", "path": "/spec/versions/0/served", "value": False}
    ], "json-patch")  # fmt: skip
    await api.call("DELETE", f"{CRDS}/boats.sea.io")
    await api.create(CRDS, **BOAT)
    assert (await api.call("GET", BOATS))["items"] == []


async def test_a_namespace_takes_objects_of_unserved_kinds_along(api: Api) -> None:
    crd = changed(("spec", "scope"), "Namespaced")
    await api.create(CRDS, **crd)
    await api.create("/api/v1/namespaces", metadata={"name": "team"})
    await api.create("/apis/sea.io/v1/namespaces/team/boats", metadata={"name": "a"})
    for served in (False, True):
        change = {"op": "replace", "path": "/spec/versions/0/served", "value": served}
        await api.patch(f"{CRDS}/boats.sea.io", [change], "json-patch")
        if not served:
            await api.call("DELETE", "/api/v1/namespaces/team")
    assert (await api.call("GET", BOATS))["items"] == []


@asynccontextmanager
async def started(data_dir: Path) -> AsyncIterator[Api]:
    async with running_server(data_dir) as server:
        connector = aiohttp.TCPConnector(ssl=tls(server.pki))
        async with aiohttp.ClientSession(connector=connector) as session:
            yield Api(server, session)


def insert(data_dir: Path, storage: str, namespace: str, name: str, body: Any) -> None:
    """Put into the file what a version that did not check has stored."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    database = sqlite3.connect(data_dir / "apiserver.db")
    with database:
        database.execute(
            "INSERT INTO objects (storage, namespace, name, revision, body) VALUES (?, ?, ?, 1, ?)",
            (storage, namespace, name, raw),
        )
    database.close()


@pytest.fixture
async def data_dir(tmp_path: Path, pki: Pki) -> Path:
    """Return the data of a server that has been used and stopped."""
    copy_pki(pki, tmp_path / "data")
    async with started(tmp_path / "data") as api:
        await api.create("/api/v1/namespaces/default/configmaps", metadata={"name": "good"})
    return tmp_path / "data"


def meta(name: str, **more: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "uid": "u", "resourceVersion": "1", **more}}


CASES = [
    changed((*VERSION, "selectableFields"), [{}]),
    changed(("spec", "names", "shortNames"), 5),
    changed(("spec", "names", "categories"), True),
    changed((*VERSION, "name"), ["x"]),
    changed(("spec", "versions"), 5),
    changed((*VERSION, "additionalPrinterColumns"), [{}]),
    {**BOAT, "spec": {}},
]


def numbered(number: int, crd: dict[str, Any] = BOAT) -> dict[str, Any]:
    """Return the CRD with names of its own, as far as it has any."""
    name = f"boats{number}"
    new = copy.deepcopy(crd)
    new["metadata"] = meta(f"{name}.sea.io")["metadata"]
    if "names" in new["spec"]:
        new["spec"]["names"] |= {"plural": name, "kind": name.title(), "listKind": ""}
    return new


async def test_a_start_sets_aside_crds_that_it_cannot_use(
    data_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number, crd in enumerate(CASES):
        name = f"boats{number}.sea.io"
        insert(data_dir, CRD_STORAGE, "", name, numbered(number, crd))
        insert(data_dir, name, "", "a", {"spec": {"size": 3}, **meta("a")})
    for _ in range(2):
        caplog.clear()
        async with started(data_dir) as api:
            assert len(api.server.aside) == len(CASES)
            assert caplog.text.count("cannot use") == len(CASES)
            await api.call("GET", "/api/v1/namespaces/default/configmaps/good")
            for number in range(len(CASES)):
                assert f"boats{number}.sea.io: " in api.server.aside[number]
                await api.call("GET", f"{BOATS}{number}", expect=404)
                await api.call("GET", f"{CRDS}/boats{number}.sea.io", expect=404)
    async with started(data_dir) as api:
        for number in range(len(CASES)):
            await api.create(CRDS, **changed(("metadata", "resourceVersion"), "", numbered(number)))
        assert not api.server.aside
    async with started(data_dir) as api:
        assert not api.server.aside
        for number in range(len(CASES)):
            listed = await api.call("GET", f"{BOATS}{number}")
            assert [boat["metadata"]["name"] for boat in listed["items"]] == ["a"]


async def test_what_is_aside_can_be_deleted(data_dir: Path) -> None:
    insert(data_dir, CRD_STORAGE, "", "boats.sea.io", {**CASES[0], **meta("boats.sea.io")})
    insert(data_dir, "boats.sea.io", "", "a", {"spec": {"size": 3}, **meta("a")})
    async with started(data_dir) as api:
        await api.call("DELETE", f"{CRDS}/boats.sea.io?dryRun=All")
        assert api.server.aside
        await api.call("DELETE", f"{CRDS}/boats.sea.io")
        assert not api.server.aside
        await api.call("DELETE", f"{CRDS}/boats.sea.io", expect=404)
    async with started(data_dir) as api:
        assert not api.server.aside
        await api.create(CRDS, **BOAT)
        assert (await api.call("GET", BOATS))["items"] == []


async def test_a_stored_crd_that_claims_a_built_in_takes_nothing_with_it(data_dir: Path) -> None:
    leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases"
    name = "leases.coordination.k8s.io"
    crd = changed(("spec", "names"), {"plural": "leases", "kind": "Lease"})
    crd["spec"]["group"] = "coordination.k8s.io"
    insert(data_dir, CRD_STORAGE, "", name, {**crd, **meta(name)})
    async with started(data_dir) as api:
        await api.create(leases, metadata={"name": "a"})
        assert len(api.server.aside) == 1
        await api.call("DELETE", f"{CRDS}/{name}")
        await api.call("GET", f"{leases}/a")


BODIES: list[Any] = [
    b"", b"nonsense", b"[" * 5000, [], 5, {}, {"metadata": 5}, meta("other"),
    meta("bad8", labels="x"), meta("bad9", labels={"a": 1}), meta("bad10", finalizers="x"),
]  # fmt: skip


async def test_a_start_sets_aside_any_object_that_it_cannot_use(data_dir: Path) -> None:
    path = "/api/v1/namespaces/default/configmaps"
    for number, body in enumerate(BODIES):
        insert(data_dir, "configmaps", "default", f"bad{number}", body)
        insert(data_dir, "namespaces", "", f"bad{number}", body)
    async with started(data_dir) as api:
        *lines, last = api.server.aside
        assert last == f"and {2 * len(BODIES) - len(lines)} more"
        listed = await api.call("GET", f"{path}?labelSelector=!x")
        assert [item["metadata"]["name"] for item in listed["items"]] == [
            "good",
            "kube-root-ca.crt",
        ]
        for number in range(len(BODIES)):
            await api.create(path, metadata={"name": f"bad{number}"})
            await api.call("DELETE", f"/api/v1/namespaces/bad{number}")
        assert not api.server.aside
    async with started(data_dir) as api:
        assert not api.server.aside


async def test_what_every_cluster_has_is_not_written_over(data_dir: Path) -> None:
    name = "devices.devices.kubeedge.io"
    database = sqlite3.connect(data_dir / "apiserver.db")
    with database:
        database.execute("DELETE FROM objects WHERE name = ?", (name,))
    database.close()
    broken = {**load("devices"), **meta(name), "spec": {}}
    insert(data_dir, CRD_STORAGE, "", name, broken)
    for _ in range(2):
        async with started(data_dir) as api:
            assert len(api.server.aside) == 1
    async with started(data_dir) as api:
        await api.create(CRDS, **load("devices"))
        assert not api.server.aside


async def test_what_an_earlier_version_accepted_can_still_be_changed_and_deleted(
    data_dir: Path,
) -> None:
    column = {"name": "Size", "jsonPath": ".spec.size"}  # has no type
    crd = changed((*VERSION, "additionalPrinterColumns"), [column])
    insert(data_dir, CRD_STORAGE, "", "boats.sea.io", {**crd, **meta("boats.sea.io")})
    pods = "/api/v1/namespaces/default/pods"
    old = {**pod("p", node="n"), **meta("p", namespace="default")}
    old["spec"]["terminationGracePeriodSeconds"] = "abc"
    insert(data_dir, "pods", "default", "p", old)
    async with started(data_dir) as api:
        assert not api.server.aside
        await api.patch(f"{CRDS}/boats.sea.io", {"metadata": {"labels": {"a": "b"}}})
        worse = {"op": "replace", "path": "/spec/scope", "value": "Planet"}
        await api.patch(f"{CRDS}/boats.sea.io", [worse], "json-patch", expect=422)
        for number in range(150):  # so many that they are deleted in turns
            await api.create(BOATS, metadata={"name": f"b{number}"})
        await api.call("DELETE", f"{CRDS}/boats.sea.io")
        await until(
            lambda: ("", "boats.sea.io") not in api.server.store.collection(CRD_STORAGE).entries
        )
        await api.patch(f"{pods}/p/status", {"status": {"phase": "Running"}})
        marked = await api.call("DELETE", f"{pods}/p")
        assert marked["metadata"]["deletionGracePeriodSeconds"] == 30


def device(name: str, version: str, **spec: Any) -> dict[str, Any]:
    api_version = f"devices.kubeedge.io/{version}"
    return {
        "apiVersion": api_version, "kind": "Device", "metadata": {"name": name}, "spec": spec,
    }  # fmt: skip


async def test_an_object_is_served_in_each_version(api: Api) -> None:
    """Without conversion, as the strategy None does it: get, list, watch, create, patch, delete."""
    old, new = (
        f"/apis/devices.kubeedge.io/{version}/namespaces/default/devices"
        for version in ("v1alpha1", "v1beta1")
    )
    made = await api.create(old, **device("d", "v1alpha1", deviceModelRef={"name": "m"}, x=1))
    assert made["apiVersion"] == "devices.kubeedge.io/v1alpha1"
    for path, version in ((old, "v1alpha1"), (new, "v1beta1")):
        named = f"devices.kubeedge.io/{version}"
        found = await api.call("GET", f"{path}/d")
        assert found == made | {"apiVersion": named}
        listed = await api.call("GET", path)
        assert (listed["apiVersion"], listed["items"]) == (named, [found])
        async with api.watch(f"{path}?watch=1&resourceVersion=0") as watch:
            event = await watch.next()
            assert (event["type"], event["object"]) == ("ADDED", found)
    patched = await api.patch(f"{new}/d", {"spec": {"x": 2}})
    assert patched["apiVersion"] == "devices.kubeedge.io/v1beta1"
    assert (await api.call("GET", f"{old}/d"))["spec"]["x"] == 2
    await api.patch(f"{new}/d", {"status": {"y": 1}})
    assert (await api.call("GET", f"{old}/d"))["status"] == {"y": 1}
    # Only v1alpha1 has a status subresource.
    await api.patch(f"{old}/d", {"status": {"y": 2}})
    assert (await api.call("GET", f"{old}/d"))["status"] == {"y": 1}
    await api.patch(f"{new}/d/status", {"status": {"y": 2}}, expect=404)
    await api.call("DELETE", f"{old}/d")
    assert (await api.call("GET", new))["items"] == []
    found = await api.call("GET", "/apis/devices.kubeedge.io")
    assert [each["version"] for each in found["versions"]] == ["v1beta1", "v1alpha1"]


@pytest.mark.parametrize("subresource", [True, False])
def test_crds_of_an_earlier_cloudcore_get_the_new_version(
    tmp_path: Path, subresource: bool
) -> None:
    with closing(Store(tmp_path / "api.db")) as store:
        registry = open_cluster(store, Catalog(BUILTIN), "CA")
        crds = registry.catalog.find("apiextensions.k8s.io", "v1", "customresourcedefinitions")
        for plural in ("devices", "devicemodels"):
            former = load(plural, status_subresource=subresource)
            (version,) = (v for v in former["spec"]["versions"] if v["name"] == "v1alpha1")
            former["spec"]["versions"] = [{**version, "storage": True}]
            name = former["metadata"]["name"]
            registry.modify(
                crds, "", name, lambda found, new=former: {**found, "spec": new["spec"]}
            )
        devices = registry.catalog.find("devices.kubeedge.io", "v1alpha1", "devices")
        made = registry.create(devices, "default", device("d", "v1alpha1"))
        with pytest.raises(ApiError):
            registry.catalog.find("devices.kubeedge.io", "v1beta1", "devices")
    with closing(Store(tmp_path / "api.db")) as store:
        registry = open_cluster(store, Catalog(BUILTIN), "CA")
        old, new = (
            registry.catalog.find("devices.kubeedge.io", version, "devices")
            for version in ("v1alpha1", "v1beta1")
        )
        assert (old.status, new.status) == (subresource, False)
        entry = registry.get(new, "default", "d")
        assert old.decode(entry) == made.decode()
        assert old.raw(entry) == made.raw
        assert new.decode(entry)["apiVersion"] == json.loads(new.raw(entry))["apiVersion"]
        assert new.decode(entry)["apiVersion"] == "devices.kubeedge.io/v1beta1"
