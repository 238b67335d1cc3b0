"""A file system that fills up, a restart meanwhile, and room again: real processes, as root."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modules.common.kube import CONFIGMAPS, NAMESPACES, ApiError, KubeClient
from modules.hollow.demo.harness import Cloudcore, running
from supervisor.api import KubernetesSettings, Settings

SMALL = "size=8m"
DEADLINE = 30


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, skipped where it cannot be mounted."""
    mount = tmp_path / "small"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", SMALL, "tmpfs", str(mount)]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=10)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"cannot mount a tmpfs: {error}")
    yield mount
    subprocess.run(["umount", "-l", str(mount)], check=True, timeout=10)


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(1024))
        except OSError:
            return


async def said(cloudcore: Cloudcore, name: str, what: str) -> dict[str, Any]:
    """Wait until a module says something of its trouble, as state, reason or detail."""
    async with asyncio.timeout(DEADLINE):
        while True:
            module = await cloudcore.module(name)
            told = (module["state"], module["reason"], module["details"].get("trouble"))
            if any(what in str(text) for text in told):
                return module
            await asyncio.sleep(0.1)


@pytest.mark.timeout(120)
async def test_it_is_outlasted_and_told_with_its_path(small: Path) -> None:
    data = small / "data"
    async with running("--data-dir", str(data)) as cloudcore:
        cloudcore.settings = Settings(data, cloudcore.settings.run_dir)
        await cloudcore.wait_ready(DEADLINE)
        kubernetes = KubernetesSettings(kubeconfig=str(data / "kubeconfig"))
        settings = Settings(data, cloudcore.settings.run_dir, kubernetes)
        async with KubeClient.connect(settings, user_agent="test") as api:
            large = {"metadata": {"name": "large"}, "data": {"v": "x" * 500_000}}
            fill(small / "fill")
            with pytest.raises(ApiError, match="disk full") as refused:
                await api.create(CONFIGMAPS, large, "default")
            assert refused.value.status == 507
            assert (await api.list(NAMESPACES)).items
            assert str(data / "apiserver.db") in str(
                await said(cloudcore, "apiserver", "disk full")
            )

            restart = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "supervisor", "restart", "apiserver"),
                *("--run-dir", str(cloudcore.settings.run_dir)),
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
            )
            await restart.wait()
            assert "disk full" in (await said(cloudcore, "apiserver", "backoff"))["reason"]
            (small / "fill").unlink()
            await said(cloudcore, "apiserver", "ready")
            await api.create(CONFIGMAPS, large, "default")
