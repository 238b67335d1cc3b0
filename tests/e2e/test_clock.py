"""A wall clock that is set by two days under a running cloudcore, while edges are connected."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from modules.common.kube import EVENTS, KubeClient
from modules.common.pki import signing
from modules.common.pki.authority import ensure_authority
from modules.common.pki.certificates import Pki
from modules.hollow.demo.harness import Cloudcore, running
from modules.hollow.demo.walk import TIMING, walking
from modules.hollow.edge import HollowEdge
from modules.hollow.v1_23.join import CertManager
from tests.support.waiting import until
from tests.support.wall_clock import COMPILER, WallClock

DAYS: Final = 86_400

pytestmark = pytest.mark.skipif(not COMPILER, reason="no C compiler for a clock of its own")


@pytest.fixture
def clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WallClock:
    """Return a clock that cloudcore is started with; its CA was made a month ago."""
    (tmp_path / "clock").mkdir()
    clock = WallClock(tmp_path / "clock")
    for name, value in clock.environment.items():
        monkeypatch.setenv(name, value)
    directory = tmp_path / "cloudcore" / "data" / "pki"
    directory.mkdir(0o700, parents=True)
    directory.parent.chmod(0o700)
    with monkeypatch.context() as patched:
        patched.setattr(signing, "CLOCK_SKEW", timedelta(days=30))
        ensure_authority(Pki(directory).authority)
    return clock


async def joins(cloudcore: Cloudcore, name: str) -> None:
    """Have another edge join with a new token, and connect."""
    manager = await CertManager.join(name, await cloudcore.https_url(), await cloudcore.token())
    edge = HollowEdge(name, await cloudcore.websocket_url(), manager, timing=TIMING)
    async with edge:
        await edge.wait_connected(20)


def logged(cloudcore: Cloudcore, text: str) -> Callable[[], bool]:
    return lambda: text in cloudcore.log.read_text()


def has_new_certificates(cloudcore: Cloudcore, before: bytes) -> bool:
    """Whether both servers have reloaded theirs, and the kubeconfig has the administrator's."""
    data = cloudcore.settings.data_dir
    admin = Pki(data / "pki").admin_cert.read_bytes()
    embedded = base64.b64encode(admin).decode() in (data / "kubeconfig").read_text()
    changed = re.findall(r"(\w+)\[\d+\] certificates have changed", cloudcore.log.read_text())
    return admin != before and embedded and {"apiserver", "cloudhub"} <= set(changed)


async def event(api: KubeClient) -> None:
    involved = {"kind": "Node", "name": "edge-old", "namespace": "default"}
    made = {"metadata": {"name": "seen"}, "involvedObject": involved, "reason": "Seen"}
    await api.create(EVENTS, made, "default")


@pytest.mark.timeout(150)
async def test_two_days_forward(clock: WallClock, tmp_path: Path) -> None:
    async with running(base=tmp_path / "cloudcore") as cloudcore:
        async with walking(cloudcore) as walk:
            await walk.nodes_become_ready()
            await event(walk.api)
            clock.set(2 * DAYS)
            await until(logged(cloudcore, "the clock was set by +172800 s"))
            await walk.pods_run_with_their_configmap()
            await walk.device_follows_its_twin()
            await walk.device_of_today_does_what_is_desired()
            await walk.edgecontroller_is_killed_and_nobody_notices()
            await walk.an_edge_loses_its_database()
            await joins(cloudcore, "edge-later")
            assert await walk.api.get(EVENTS, "seen", "default")
            await walk.pods_are_deleted()
        await cloudcore.stop(15)


@pytest.mark.timeout(150)
async def test_two_days_back(clock: WallClock, tmp_path: Path) -> None:
    """The certificates of server and administrator are not valid yet: there are others at once."""
    async with running(base=tmp_path / "cloudcore") as cloudcore:
        async with walking(cloudcore) as walk:
            await walk.nodes_become_ready()
            before = Pki(cloudcore.settings.data_dir / "pki").admin_cert.read_bytes()
            clock.set(-2 * DAYS)
            await until(logged(cloudcore, "the clock was set by -172800 s"))
            await until(partial(has_new_certificates, cloudcore, before))
            async with KubeClient.connect(cloudcore.settings) as walk.api:
                await walk.pods_run_with_their_configmap()
                await walk.device_follows_its_twin()
                await walk.device_of_today_does_what_is_desired()
                await walk.edgecontroller_is_killed_and_nobody_notices()
                await joins(cloudcore, "edge-later")
                await walk.pods_are_deleted()
                clock.set(0)
                await joins(cloudcore, "edge-last")
        await cloudcore.stop(15)
