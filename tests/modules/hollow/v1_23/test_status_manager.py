"""Statuses of pods that come and go under one name."""

from __future__ import annotations

import asyncio
from typing import Any

from modules.hollow.timing import Timing
from modules.hollow.v1_23.status_manager import StatusManager
from tests.support.waiting import until

KEY = "default/pod/p"
ENDED: dict[str, Any] = {"phase": "Succeeded", "conditions": []}


def pod(uid: str) -> dict[str, Any]:
    metadata = {"name": "p", "namespace": "default", "uid": uid, "deletionTimestamp": "t"}
    return {"metadata": metadata, "status": ENDED}


class Api:
    """The pods, and deletions that wait to be answered."""

    def __init__(self) -> None:
        self.present = pod("1")
        self.deleting: list[str] = []
        self.answer = asyncio.Event()

    def pod(self, _: str) -> dict[str, Any]:
        return self.present

    async def delete_pod(self, _: str, uid: str) -> None:
        self.deleting.append(uid)
        await self.answer.wait()


async def test_a_pod_that_takes_the_name_of_one_that_is_deleted_is_reported_too() -> None:
    api = Api()
    statuses = StatusManager(api, lambda *_: None, Timing())  # type: ignore[arg-type]
    running = asyncio.create_task(statuses.run())
    statuses.set(KEY, "1", ENDED)
    await until(lambda: api.deleting == ["1"])
    api.present = pod("2")
    statuses.set(KEY, "2", ENDED)
    api.answer.set()
    await until(lambda: api.deleting == ["1", "2"] or running.done())
    assert api.deleting == ["1", "2"]
    running.cancel()
    await asyncio.wait([running])
