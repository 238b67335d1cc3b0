"""A cluster that does not know Device and DeviceModel."""

from __future__ import annotations

from typing import Any

import pytest

from modules.common.crds import manifests
from modules.common.kube import CUSTOMRESOURCEDEFINITIONS, DEVICEMODELS, DEVICES, NotFound
from tests.modules.devicecontroller.api import Api
from tests.modules.devicecontroller.controller import running
from tests.modules.devicecontroller.samples import LED, device


@pytest.fixture
async def bare(api: Api) -> Api:
    for plural in manifests.NAMES:
        name = manifests.load(plural)["metadata"]["name"]
        await api.client.delete(CUSTOMRESOURCEDEFINITIONS, name)
    with pytest.raises(NotFound):
        await api.client.list(DEVICES)
    return api


async def test_is_told_plainly_and_heals(bare: Api, caplog: pytest.LogCaptureFixture) -> None:
    async with running(bare.settings) as controller:
        assert controller.details["waiting_for"] == "devicemodels, devices"
        told = (
            "the cluster lacks their CRDs; install them with `cloudcore crds | kubectl apply -f -`"
        )
        assert controller.details["because"].startswith(told)
        (warning,) = warnings(caplog)
        assert warning.startswith(f"cannot watch devicemodels, devices: {told}")
        for plural in manifests.NAMES:
            await bare.client.create(CUSTOMRESOURCEDEFINITIONS, manifests.load(plural))
        await controller.detail("waiting_for", None)
        await bare.create(DEVICES, device())
        assert (await controller.said()).content["added_devices"][0]["id"] == LED


async def test_is_mended_if_so_configured(bare: Api, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        async with running(bare.settings, install_crds=True) as controller:
            await controller.detail("devices", 0)
            await bare.create(DEVICES, device())
            assert (await controller.said()).content["added_devices"][0]["id"] == LED
    await bare.client.list(DEVICEMODELS)
    assert "CRD devices.devices.kubeedge.io: installed" in caplog.text
    assert not warnings(caplog)
    found = await bare.client.get(CUSTOMRESOURCEDEFINITIONS, "devices.devices.kubeedge.io")
    assert found["spec"]["versions"][1]["subresources"] == {"status": {}}


@pytest.mark.parametrize("install", [False, True])
async def test_other_versions_are_named_and_left_alone(
    bare: Api, caplog: pytest.LogCaptureFixture, install: bool
) -> None:
    """As in a cluster of KubeEdge 1.14. What is stored there is not to be endangered."""
    for plural in manifests.NAMES:
        await bare.client.create(CUSTOMRESOURCEDEFINITIONS, of_another_time(plural))
    async with running(bare.settings, install_crds=install) as controller:
        told = "the cluster has them as v1alpha2, and cloudcore needs v1alpha1 and v1beta1"
        assert controller.details["because"].startswith(told)
        (warning,) = warnings(caplog)
        assert warning.startswith(f"cannot watch devicemodels, devices: {told}")
        assert "for KubeEdge up to 1.14" in warning
        for plural in manifests.NAMES:
            definition = of_another_time(plural)
            name = definition["metadata"]["name"]
            found = await bare.client.get(CUSTOMRESOURCEDEFINITIONS, name)
            assert [each["name"] for each in found["spec"]["versions"]] == ["v1alpha2"]
            await bare.client.delete(CUSTOMRESOURCEDEFINITIONS, name)
            if not install:
                await bare.client.create(CUSTOMRESOURCEDEFINITIONS, manifests.load(plural))
        await controller.detail("waiting_for", None)


async def test_a_crd_that_serves_nothing_is_not_taken_for_installed(bare: Api) -> None:
    for plural in manifests.NAMES:
        definition = manifests.load(plural)
        for version in definition["spec"]["versions"]:
            version["served"] = False
        await bare.client.create(CUSTOMRESOURCEDEFINITIONS, definition)
    async with running(bare.settings, install_crds=True) as controller:
        told = "their CRDs exist, but no version of them is served"
        assert controller.details["because"].startswith(told)


def of_another_time(plural: str) -> dict[str, Any]:
    """Make a CRD that serves another version than cloudcore's."""
    definition = manifests.load(plural)
    version = definition["spec"]["versions"][0]
    definition["spec"]["versions"] = [{**version, "name": "v1alpha2"}]
    return definition


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.message for each in caplog.records if each.levelname in {"WARNING", "ERROR"}]
