"""A cluster that does not know Device and DeviceModel."""

from __future__ import annotations

import pytest

from modules.common import crds
from modules.common.kube import CUSTOMRESOURCEDEFINITIONS, DEVICEMODELS, DEVICES, NotFound
from tests.modules.devicecontroller.conftest import Api, running
from tests.modules.devicecontroller.samples import LED, device

BOTH = "devices.devices.kubeedge.io, devicemodels.devices.kubeedge.io"


@pytest.fixture
async def bare(api: Api) -> Api:
    for plural in crds.NAMES:
        name = crds.load(plural)["metadata"]["name"]
        await api.client.delete(CUSTOMRESOURCEDEFINITIONS, name)
    with pytest.raises(NotFound):
        await api.client.list(DEVICES)
    return api


async def test_is_told_plainly_and_heals(bare: Api, caplog: pytest.LogCaptureFixture) -> None:
    async with running(bare.settings) as controller:
        await controller.detail("missing_crds", BOTH)
        assert f"the cluster lacks the CRDs {BOTH}" in caplog.text
        assert "`cloudcore crds | kubectl apply -f -`" in caplog.text
        for plural in crds.NAMES:
            await bare.client.create(CUSTOMRESOURCEDEFINITIONS, crds.load(plural))
        await controller.detail("missing_crds", "")
        await bare.create(DEVICES, device())
        assert (await controller.said()).content["added_devices"][0]["id"] == LED


async def test_is_mended_if_so_configured(bare: Api, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        async with running(bare.settings, install_crds=True) as controller:
            await controller.detail("devices", 0)
            await bare.create(DEVICES, device())
            assert (await controller.said()).content["added_devices"][0]["id"] == LED
    await bare.client.list(DEVICEMODELS)
    assert "installed the CRD devices.devices.kubeedge.io" in caplog.text
    found = await bare.client.get(CUSTOMRESOURCEDEFINITIONS, "devices.devices.kubeedge.io")
    assert found["spec"]["versions"][0]["subresources"] == {"status": {}}
