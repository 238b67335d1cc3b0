"""What the controller does when the API is away: wait, say so, and go on."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from modules.common.kube import DEVICES
from supervisor.api import KubernetesSettings, Settings
from tests.modules.devicecontroller.api import Api
from tests.modules.devicecontroller.controller import running
from tests.modules.devicecontroller.samples import LED, device


async def test_api_that_is_away_at_the_start_is_waited_for(
    api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("modules.common.kube.syncing.PATIENCE", 0.0)
    await api.create(DEVICES, device())
    await api.stop()
    async with running(api.settings) as controller:
        await controller.detail("waiting_for", "devicemodels, devices, nodes")
        assert "no answer from" in controller.details["because"]
        assert "the Kubernetes API is not available: no answer from" in caplog.text
        await api.start()
        assert (await controller.said()).content["added_devices"][0]["id"] == LED
        await controller.detail("waiting_for", None)


async def test_unusable_kubeconfig_is_waited_for(
    api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modules.common.kube.syncing.PATIENCE", 0.0)
    await api.create(DEVICES, device())
    path = tmp_path / "config"
    path.write_text("clusters: [}")
    settings = Settings(tmp_path, tmp_path, KubernetesSettings(kubeconfig=str(path)))
    async with running(settings) as controller:
        assert controller.details["because"].startswith(f"cannot use the kubeconfig {path}: line 1")
        shutil.copy(tmp_path / "kubeconfig", path)
        assert (await controller.said()).content["added_devices"][0]["id"] == LED
        await controller.detail("waiting_for", None)
