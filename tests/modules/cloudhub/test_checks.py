"""What the doctor checks for CloudHub, each well and wrong."""

from __future__ import annotations

import resource
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from modules.cloudhub import open_files
from modules.cloudhub.config import CloudHubConfig
from modules.cloudhub.module import CloudHub
from modules.common.kube import SECRETS, KubeClient
from modules.common.kubeedge_secrets import CA_SECRET, NAMESPACE, authority_data, create_secret
from modules.common.pki.authority import load_authority, new_authority
from modules.common.pki.certificates import Pki
from supervisor.api import Check, Finding, KubernetesSettings, Settings
from tests.support.apiserver import embedded_apiserver
from tests.support.checking import command, performed
from tests.support.pki import copy_pki

IN_CLUSTER = "the CA in the cluster"
OPEN_FILES = "the limit of open files for edges"


@pytest.fixture
async def settings(tmp_path: Path, pki: Pki) -> AsyncIterator[Settings]:
    async with embedded_apiserver(tmp_path, pki) as (kubeconfig, _):
        data_dir = tmp_path / "data"
        copy_pki(pki, data_dir)
        shutil.copy(pki.authority.fingerprint, data_dir)
        kubernetes = KubernetesSettings(kubeconfig=str(kubeconfig), qps=0)
        yield Settings(data_dir, tmp_path, kubernetes)


@pytest.fixture
async def api(settings: Settings) -> AsyncIterator[KubeClient]:
    async with KubeClient.connect(settings) as client:
        yield client


def checks(settings: Settings, **options: Any) -> list[Check]:
    return list(CloudHub.checks(CloudHubConfig(**options), settings, command))


async def test_all_is_well(settings: Settings) -> None:
    found = await performed(checks(settings, address="127.0.0.1"))
    assert [each for each in found if each.mark != "ok"] == []
    titles = [check.title for check in checks(settings)]
    assert {"the CA", "the certificates", "the rights of cloudhub", IN_CLUSTER} <= set(titles)
    titles = [check.title for check in checks(settings, https=False)]
    assert IN_CLUSTER not in titles


async def test_open_files(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    needed = 1000 + open_files.OTHERS
    for hard, mark in ((needed - 1, "wrong"), (needed, "ok"), (resource.RLIM_INFINITY, "ok")):
        monkeypatch.setattr(resource, "getrlimit", lambda _, hard=hard: (1, hard))
        [finding] = await performed(checks(settings, node_limit=1000), OPEN_FILES)
        assert finding.mark == mark
        assert finding.command == (f"ulimit -Hn {needed}" if mark == "wrong" else "")


async def test_the_names_of_the_configuration(settings: Settings) -> None:
    found = await performed(checks(settings, names=["cloud.example"]), "the certificates")
    assert "cloud.example" in found[0].text
    assert found[0].mark == "note"


async def test_configured_files(settings: Settings, pki: Pki) -> None:
    files = {"ca": pki.ca_cert, "cert": pki.server_cert, "key": pki.server_key}
    options = {key: str(path) for key, path in files.items()}
    found = await performed(
        checks(settings, ca_key=str(pki.ca_key), **options), "the configured certificates"
    )
    assert [each.mark for each in found] == ["ok"]
    options["key"] = str(pki.ca_key)
    found = await performed(checks(settings, **options), "the configured certificates")
    assert [each.mark for each in found] == ["note", "wrong"]


async def test_the_authority_in_the_cluster(settings: Settings, api: KubeClient) -> None:
    async def finding() -> Finding:
        [found] = await performed(checks(settings), IN_CLUSTER)
        return found

    assert (
        await finding()
    ).text == "the secret kubeedge/casecret does not exist: cloudcore makes it"
    ours = load_authority(Pki(settings.data_dir / "pki").authority)
    await create_secret(api, CA_SECRET, authority_data(ours))
    assert (await finding()).text == "the secret kubeedge/casecret has the CA of this cloudcore"

    await api.delete(SECRETS, CA_SECRET, NAMESPACE)
    await create_secret(api, CA_SECRET, authority_data(new_authority()))
    other = await finding()
    assert other.mark == "wrong"
    assert other.text.startswith("the secret kubeedge/casecret has another CA")
    assert other.command == "kubectl -n kubeedge delete secret casecret"

    shutil.rmtree(settings.data_dir / "pki")
    assert "which cloudcore takes at its start" in (await finding()).text

    await api.delete(SECRETS, CA_SECRET, NAMESPACE)
    await create_secret(api, CA_SECRET, {"cadata": b"?"})
    broken = await finding()
    assert (broken.mark, broken.command.split()[:4]) == (
        "wrong",
        ["kubectl", "-n", "kubeedge", "get"],
    )
