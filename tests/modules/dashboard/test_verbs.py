"""The verbs, by who has logged in."""

from __future__ import annotations

from tests.modules.dashboard.cloudcore import TOKEN
from tests.modules.dashboard.visitor import Browser
from tests.support.running import Running


async def test_each_verb_does_what_it_says(cloudcore: Running, operator: Browser) -> None:
    before = cloudcore.module("good")["pid"]
    status, module = await operator.post("/api/modules/good/restart")
    assert status == 200
    assert module["state"] == "ready"
    assert cloudcore.module("good")["pid"] == module["pid"] != before
    cloudcore.ready("good")
    for verb, state in (
        ("stop", "stopped"),
        ("start", "ready"),
        ("disable", "disabled"),
        ("enable", "ready"),
    ):
        status, answer = await operator.post(f"/api/modules/good/{verb}")
        assert status == 200, answer
        if state == "ready":
            cloudcore.ready("good")
        assert cloudcore.module("good")["state"] == state
    status, changes = await operator.post("/api/reload")
    assert status == 200, changes


async def test_a_verb_that_cannot_be_carried_out_says_why(
    cloudcore: Running, operator: Browser
) -> None:
    status, answer = await operator.post("/api/modules/nothing/restart")
    assert status == 404
    assert "nothing" in answer["error"]
    status, answer = await operator.post("/api/modules/dashboard/explode")
    assert status == 404
    assert "allowed: restart" in answer["error"]
    assert (await operator.post("/api/modules/..%2f..%2fstop/restart"))[0] == 404
    assert cloudcore.status()["state"] == "running"


async def test_a_program_with_the_admin_token_needs_no_page(
    cloudcore: Running, visitor: Browser
) -> None:
    before = cloudcore.module("good")["pid"]
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with visitor.http.post("/api/modules/good/restart", headers=headers) as answer:
        assert answer.status == 200
    assert cloudcore.module("good")["pid"] != before
