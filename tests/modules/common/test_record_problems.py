"""Both controllers demand of several replicas that they share their records."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from modules.devicecontroller import DeviceController
from modules.edgecontroller import EdgeController
from supervisor.api import KubernetesSettings, ReplicasSettings, Settings


def faults(module: Any, tmp_path: Path, record: str, *, enabled: bool = True) -> list[str]:
    settings = Settings(
        data_dir=tmp_path,
        run_dir=tmp_path,
        kubernetes=KubernetesSettings(master="http://127.0.0.1:1"),
        replicas=ReplicasSettings(enabled=enabled),
    )
    found = module.problems(module.Config(record=record), settings)
    return [f"{each.key}: {each.hint}" for each in found if ".record" in each.key]


@pytest.mark.parametrize("module", [EdgeController, DeviceController])
def test_replicas_need_a_record_in_the_api(module: Any, tmp_path: Path) -> None:
    key = f"modules.{module.name}.record"
    assert faults(module, tmp_path, "file") == [f'{key}: set {key} = "objectsync"']
    assert faults(module, tmp_path, "objectsync") == []
    assert faults(module, tmp_path, "file", enabled=False) == []
