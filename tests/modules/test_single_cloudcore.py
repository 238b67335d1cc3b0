"""A single cloudcore asks the API for nothing that only replicas need."""

from __future__ import annotations

from pathlib import Path

from tests.modules.devicecontroller import fakes as devices
from tests.modules.edgecontroller import fakes as edges


async def test_edgecontroller_lists_what_edges_are_sent(tmp_path: Path) -> None:
    async with edges.running(tmp_path) as bench:
        listed = {"nodes", "pods", "configmaps", "secrets", "services", "endpoints"}
        assert set(bench.api.lists) == listed
        assert bench.api.created == []


async def test_devicecontroller_lists_what_edges_are_sent_and_profiles(tmp_path: Path) -> None:
    async with devices.running(tmp_path) as bench:
        assert set(bench.api.lists) == {"nodes", "devices", "devicemodels", "configmaps"}
        assert bench.api.created == []
