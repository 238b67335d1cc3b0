"""What an operator sees of several replicas, with real processes: who holds what, who is gone."""

from __future__ import annotations

import asyncio
import json
import signal
from typing import Any

import pytest
from click.testing import CliRunner

from modules.cloudhub.cli import nodes as command
from tests.e2e.replica import Replica
from tests.e2e.replicas import Fleet, three_replicas
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(180)


async def all_nodes(of: Replica) -> tuple[int, dict[str, str], str]:
    """Return status, the replica of each node, and what `cloudcore nodes --all` says besides."""
    words = ["--all", "-o", "json", "--run-dir", str(of.cloudcore.settings.run_dir)]
    done = await asyncio.to_thread(CliRunner().invoke, command, words)
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    return done.exit_code, {row["node"]: row["replica"] for row in rows}, done.stderr


async def leaders(fleet: Fleet) -> list[str]:
    modules = [await each.cloudcore.module("cloudhub") for each in fleet.replicas]
    return [each["details"].get("leader", "") for each in modules]


async def test_who_holds_each_node_and_which_replica_is_gone() -> None:
    async with three_replicas() as fleet:
        a, b, _ = fleet.replicas
        await fleet.add("edge-1", a)
        await fleet.add("edge-2", b)
        held = {"edge-1": "r1", "edge-2": "r2"}
        for each in fleet.replicas:
            await eventually(lambda each=each: all_nodes(each), lambda seen: seen == (0, held, ""))
        found = await eventually(lambda: leaders(fleet), lambda seen: len(set(seen)) == 1)
        assert found[0] in ("r1", "r2", "r3")

        # All processes of r2 are killed. Its Lease says that it held the node.
        b.signal(signal.SIGKILL)
        status, nodes, said = await eventually(lambda: all_nodes(a), lambda seen: seen[0] == 4)
        assert (status, nodes) == (4, held)
        assert said.startswith("replica r2: ")
        assert said.count("replica ") == 1
        fleet.dials("edge-2", a)
        await fleet.held_by("edge-2", a)
        held = {"edge-1": "r1", "edge-2": "r1"}
        status, _, said = await eventually(lambda: all_nodes(a), lambda seen: seen[1] == held)
        assert status == 4
        assert said.startswith("replica r2: cannot connect to ")
