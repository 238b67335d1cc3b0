"""What the doctor checks for DeviceController, each well and wrong."""

from __future__ import annotations

from typing import Any

import pytest

from modules.common.crds import manifests
from modules.common.kube import CUSTOMRESOURCEDEFINITIONS
from modules.devicecontroller import DeviceController
from modules.devicecontroller.config import DeviceControllerConfig
from supervisor.api import Check, Finding
from tests.support.checking import command, performed

from .api import Api

CRDS = "the CRDs of devices"


def checks(api: Api, **options: Any) -> list[Check]:
    return list(DeviceController.checks(DeviceControllerConfig(**options), api.settings, command))


async def test_all_is_well(api: Api) -> None:
    found = await performed(checks(api))
    assert {each.mark for each in found} == {"ok"}
    assert any("devices are served by cloudcore's CRDs" in each.text for each in found)


@pytest.mark.parametrize("install", [False, True])
async def test_without_crds(api: Api, install: bool) -> None:
    for plural in manifests.NAMES:
        name = manifests.load(plural)["metadata"]["name"]
        await api.client.delete(CUSTOMRESOURCEDEFINITIONS, name)
    [finding] = await performed(checks(api, install_crds=install), CRDS)
    text = "the cluster lacks the CRDs of devices"
    if install:
        assert finding == Finding.note(f"{text}; devicecontroller installs them at its start")
    else:
        assert finding == Finding.wrong(text, "cloudcore crds | kubectl apply -f -")


async def test_the_right_to_install_them(api: Api) -> None:
    title = "the rights of devicecontroller with install_crds"
    assert title not in [check.title for check in checks(api)]
    [finding] = await performed(checks(api, install_crds=True), title)
    assert finding.mark == "ok"
