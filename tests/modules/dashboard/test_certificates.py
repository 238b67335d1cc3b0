"""Which certificates expire soon, as the overview says it."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from modules.dashboard.live.certificates import CertificateBoard
from modules.dashboard.sources.edges import Edge
from tests.modules.dashboard.test_edges import join, session

DAY = 86400.0


class Files:
    """The certificates in the data directory, as a test sets them."""

    def __init__(self, *listed: tuple[str, str, float]) -> None:
        now = time.time()
        self.listed = [
            {"name": name, "kind": kind, "expires": now + days * DAY, "state": "good"}
            for name, kind, days in listed
        ]
        self.error: Exception | None = None
        self.read = asyncio.Event()

    async def certificates(self) -> list[dict[str, Any]]:
        self.read.set()
        if self.error:
            raise self.error
        return self.listed


async def board_of(files: Files) -> CertificateBoard:
    board = CertificateBoard(files)  # type: ignore[arg-type]
    polling = asyncio.create_task(board.run())
    await files.read.wait()
    polling.cancel()
    await asyncio.wait([polling])
    return board


def edge(name: str, days: float) -> dict[str, Edge]:
    certificate = {"common_name": name, "expires": time.time() + days * DAY}
    return join({name: session(name, certificate=certificate)}, [])


async def test_those_that_expire_within_30_days_the_first_one_at_the_head() -> None:
    board = await board_of(Files(("ca", "ca", 3000), ("server", "server", 29), ("e1", "node", -1)))
    found = board.summary(edge("e2", 5) | edge("e3", 100))
    assert found["expiring"] == 3
    names = [(each["name"], each["kind"]) for each in found["soonest"]]
    assert names == [("e1", "node"), ("e2", "edge"), ("server", "server")]
    assert found["fault"] == ""


async def test_what_an_edge_connects_with_counts_and_not_the_copy_of_a_former_one() -> None:
    board = await board_of(Files(("e1", "node", 2)))
    assert board.summary(edge("e1", 300))["expiring"] == 0
    assert board.summary({})["expiring"] == 1


async def test_all_are_counted_and_some_are_named() -> None:
    board = await board_of(Files(*((f"e{number:02}", "node", 1) for number in range(40))))
    found = board.summary({})
    assert found["expiring"] == 40
    assert len(found["soonest"]) == 10


async def test_a_file_that_is_no_certificate_is_said() -> None:
    files = Files()
    files.error = ValueError("cannot read ca.crt: not a certificate")
    board = await board_of(files)
    assert board.summary({}) == {"expiring": 0, "soonest": [], "fault": str(files.error)}
