"""Checks of the Kubernetes API: it answers, in time, by a right clock, and with the rights."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from modules.common.kube import KubeClient
from modules.common.kube.api_checks import (
    api_check,
    reachability,
    replica_rights_check,
    rights_check,
)
from modules.common.kube.rights import Right, describe, missing, rights
from modules.common.pki.certificates import Pki
from supervisor.api import Check, Finding, KubernetesSettings, ReplicasSettings, Settings
from tests.support.apiserver import embedded_apiserver
from tests.support.fake_api_server import FakeServer, refuses, replies

RIGHTS = [*rights("", "list watch", "pods nodes/status"), Right("get", "a.b", "things", "x", "ns")]


async def found(check: Check) -> list[Finding]:
    looked: Any = check.look()
    return list(await looked)


def command(*words: str) -> str:
    return " ".join(("cloudcore", *words))


def dated(version: str, by: float = 0.0) -> Any:
    date = datetime.now(UTC) + timedelta(seconds=by)
    return replies({"gitVersion": version}, Date=format_datetime(date, usegmt=True))


@pytest.mark.parametrize("version", ["v1.32.1", "v0.0.0-master+$Format:%H$"])
async def test_an_api_that_answers(server: FakeServer, tmp_path: Path, version: str) -> None:
    server.always = dated(version)
    assert await found(reachability(server.settings(tmp_path), command)) == [
        Finding.ok(f"the Kubernetes API at {server.url} answers: {version}"),
        Finding.ok("the clocks of this host and of the API server agree"),
    ]


async def test_one_that_is_too_old(server: FakeServer, tmp_path: Path) -> None:
    server.always = dated("v1.21.9")
    [finding, _] = await found(reachability(server.settings(tmp_path), command))
    text = f"the Kubernetes API at {server.url} is v1.21.9, and cloudcore needs 1.22 or later"
    assert finding == Finding.wrong(f"{text}: upgrade the cluster", "kubectl version")


@pytest.mark.parametrize(("by", "where"), [(90, "behind"), (-90, "ahead of")])
async def test_clocks_that_differ(
    server: FakeServer, tmp_path: Path, by: float, where: str
) -> None:
    server.always = dated("v1.32.1", by)
    [_, finding] = await found(reachability(server.settings(tmp_path), command))
    assert finding.mark == "wrong"
    told = re.match(
        rf"the clock of this host is (\d+) s {where} that of the API server", finding.text
    )
    assert told
    assert 60 < int(told[1]) < 120  # by as much as the answer took on its way
    assert finding.command == "timedatectl set-ntp true"


async def test_one_that_does_not_answer(tmp_path: Path) -> None:
    kubernetes = KubernetesSettings(master="http://127.0.0.1:1")
    settings = Settings(tmp_path, tmp_path, kubernetes)
    [finding] = await found(reachability(settings, command))
    assert finding == Finding.wrong(
        "the Kubernetes API does not answer: no answer from http://127.0.0.1:1: Connection refused",
        "kubectl version",
    )
    [finding] = await found(rights_check("m", settings, RIGHTS))
    assert finding.mark == "unclear"
    assert finding.text.startswith("cannot check the rights of m: no answer from")


async def test_the_embedded_one_that_does_not_run(tmp_path: Path) -> None:
    settings = Settings(tmp_path, tmp_path)
    to_come = "the embedded Kubernetes API runs with cloudcore, and is looked at then"
    expected = [Finding.note(to_come, "cloudcore run")]
    assert await found(reachability(settings, command)) == expected
    assert await found(rights_check("m", settings, RIGHTS)) == []
    kubeconfig = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}],
        "users": [{"name": "u", "user": {}}],
    }
    (tmp_path / "kubeconfig").write_text(json.dumps(kubeconfig))  # of its last run
    assert await found(reachability(settings, command)) == expected
    assert await found(rights_check("m", settings, RIGHTS)) == []


async def test_the_embedded_one(tmp_path: Path, pki: Pki) -> None:
    async with embedded_apiserver(tmp_path, pki) as (kubeconfig, _):
        settings = Settings(tmp_path, tmp_path, KubernetesSettings(kubeconfig=str(kubeconfig)))
        marks = [each.mark for each in await found(reachability(settings, command))]
        assert marks == ["ok", "ok"]
        [finding] = await found(rights_check("m", settings, RIGHTS))
        assert finding == Finding.ok("m has all 5 rights that it needs")


def reviews(*granted: Right) -> Any:
    """Answer SelfSubjectAccessReviews as RBAC does."""

    async def answer(request: web.Request) -> web.Response:
        spec = (await request.json())["spec"]["resourceAttributes"]
        plural, sub = spec["resource"], spec.get("subresource")
        asked = Right(
            spec["verb"],
            spec.get("group", ""),
            f"{plural}/{sub}" if sub else plural,
            spec.get("name", ""),
            spec.get("namespace", ""),
        )
        return web.json_response({"status": {"allowed": asked in granted}})

    return answer


async def test_rights_that_are_missing(server: FakeServer, tmp_path: Path) -> None:
    server.always = reviews(RIGHTS[0], RIGHTS[-1])
    [finding] = await found(rights_check("m", server.settings(tmp_path), RIGHTS, "grant them"))
    text = "m may not watch pods; list, watch nodes/status: grant these rights"
    assert finding == Finding.wrong(text, "grant them")
    server.always = reviews(*RIGHTS)
    [finding] = await found(rights_check("m", server.settings(tmp_path), RIGHTS))
    assert finding == Finding.ok("m has all 5 rights that it needs")


async def test_rights_in_the_configured_namespace(server: FakeServer, client: KubeClient) -> None:
    server.always = reviews(Right("get", "", "pods", "", "mine"))
    wanted = [Right("get", "", "pods"), Right("get", "", "leases", "", "theirs")]
    assert await missing(client, wanted, "mine") == wanted[1:]


async def test_rights_of_replicas_in_their_namespace(server: FakeServer, tmp_path: Path) -> None:
    for_all, there = Right("get", "a.b", "syncs"), Right("get", "a.b", "things", "x", "other")
    server.always = reviews(for_all, there)
    wanted = [for_all, there._replace(namespace="kubeedge")]
    settings = replace(
        server.settings(tmp_path), replicas=ReplicasSettings(True, namespace="other")
    )
    assert await found(replica_rights_check("a", settings, wanted)) == [
        Finding.ok("a as one of several replicas has all 2 rights that it needs")
    ]


async def test_rights_of_replicas_that_deploy_rbac_does_not_grant_there(
    server: FakeServer, tmp_path: Path
) -> None:
    server.always = reviews()
    wanted = [Right("get", "", "leases", "", "kubeedge")]

    async def text(namespace: str) -> str:
        replicas = ReplicasSettings(True, namespace=namespace)
        settings = replace(server.settings(tmp_path), replicas=replicas)
        [finding] = await found(replica_rights_check("a", settings, wanted))
        assert finding.mark == "wrong"
        return finding.text

    assert (await text("kubeedge")).endswith(": grant these rights")
    moved = await text("other")
    assert "has them in kubeedge, and replicas.namespace is other: change it there" in moved


def test_rights_as_a_phrase() -> None:
    assert describe(RIGHTS) == "list, watch pods, nodes/status; get things x in ns"


async def test_a_question_that_is_forbidden(server: FakeServer, tmp_path: Path) -> None:
    server.always = refuses(403, "Forbidden")
    [finding] = await found(rights_check("m", server.settings(tmp_path), RIGHTS))
    assert finding.mark == "unclear"
    assert finding.command == "kubectl apply -f deploy/rbac/cloudcore.yaml"


async def test_a_bug_is_not_hidden(server: FakeServer, tmp_path: Path) -> None:
    async def look(_: KubeClient) -> list[Finding]:
        raise LookupError

    with pytest.raises(LookupError):
        await found(api_check("x", server.settings(tmp_path), look))
