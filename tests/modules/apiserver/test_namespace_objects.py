"""What every namespace has: the service account `default`, and the CA's certificate."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from modules.common.pki.certificates import Pki
from tests.modules.apiserver.api import Api
from tests.support.apiserver import running_server
from tests.support.pki import copy_pki
from tests.support.waiting import until

TEAM = "/api/v1/namespaces/team"


async def test_they_come_and_go_with_the_namespace(api: Api) -> None:
    await api.create("/api/v1/namespaces", metadata={"name": "team"})
    await api.call("GET", f"{TEAM}/serviceaccounts/default")
    configmap = await api.call("GET", f"{TEAM}/configmaps/kube-root-ca.crt")
    assert configmap["data"] == {"ca.crt": api.server.pki.ca_cert.read_text()}
    await api.call("DELETE", TEAM)
    await api.call("GET", TEAM, expect=404)
    await api.call("GET", f"{TEAM}/configmaps/kube-root-ca.crt", expect=404)


async def test_they_are_restored(api: Api) -> None:
    await api.create("/api/v1/namespaces", metadata={"name": "team"})
    account = await api.call("GET", f"{TEAM}/serviceaccounts/default")
    collection = api.server.store.collection
    await api.call("DELETE", f"{TEAM}/serviceaccounts/default")
    await until(lambda: ("team", "default") in collection("serviceaccounts").entries)
    made = await api.call("GET", f"{TEAM}/serviceaccounts/default")
    assert made["metadata"]["uid"] != account["metadata"]["uid"]
    path, key = f"{TEAM}/configmaps/kube-root-ca.crt", ("team", "kube-root-ca.crt")
    right = (await api.call("GET", path))["data"]
    await api.patch(path, {"data": {"ca.crt": "another", "more": "x"}})
    await until(lambda: collection("configmaps").entries[key].decode()["data"] == right)
    await api.call("DELETE", path)
    await until(lambda: key in collection("configmaps").entries)


async def test_a_start_makes_them_in_namespaces_of_earlier_versions(
    tmp_path: Path, pki: Pki
) -> None:
    copy_pki(pki, tmp_path)
    async with running_server(tmp_path):
        pass
    database = sqlite3.connect(tmp_path / "apiserver.db")
    with database:
        database.execute("DELETE FROM objects WHERE storage IN ('serviceaccounts', 'configmaps')")
    database.close()
    async with running_server(tmp_path) as server:
        for plural, name in (("serviceaccounts", "default"), ("configmaps", "kube-root-ca.crt")):
            assert ("kubeedge", name) in server.store.collection(plural).entries
