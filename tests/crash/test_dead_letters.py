"""A message that kills its module: set aside, looked at, replayed, dropped."""

from __future__ import annotations

import json
from pathlib import Path

from ipc import DeadLetterBox, Message
from ipc.message import encode
from tests.support.running import Running

POISON = (
    'modules.telling.to="allergic"',
    'modules.telling.content=["poison"]',
    "modules.telling.once=true",
)


def poisoned(base: Path) -> Running:
    return Running(base, "allergic", "telling", sets=POISON)


def wait_until_set_aside(running: Running) -> str:
    """After three deaths the module lives on without the message; its letter's id."""
    for _ in range(3):
        running.wait_for(r"allergic: ready -> crashed \(killed by SIGKILL\)")
    running.ready("allergic")
    while not (letters := json.loads(running.cli("dead-letters", "list", "-o", "json").stdout)):
        pass
    assert len(letters) == 1
    return str(letters[0]["id"])


def test_a_dead_letter_can_be_listed_and_shown(tmp_path: Path) -> None:
    with poisoned(tmp_path) as running:
        letter_id = wait_until_set_aside(running)
        assert running.module("allergic")["inbox"]["dead_letters"] == 1
        assert "dead_letters=1" in running.cli("status").stdout
        shown = json.loads(running.cli("dead-letters", "show", letter_id, "-o", "json").stdout)
        assert shown["content"] == ["poison"]
        assert (shown["channel"], shown["deliveries"]) == ("allergic", 3)
        assert (shown["source"], shown["operation"], shown["resource"]) == (
            "telling",
            "update",
            "r",
        )
        listed = running.cli("dead-letters", "list").stdout
        assert letter_id in listed
        assert "telling" in listed


def test_the_crash_reports_tell_which_message_was_in_hand(tmp_path: Path) -> None:
    with poisoned(tmp_path) as running:
        wait_until_set_aside(running)
        reports = json.loads(running.cli("crashes", "allergic", "-o", "json").stdout)
        held = [report["in_hand"] for report in reports]
        assert [len(each) for each in held] == [1, 1, 1]
        assert [each[0]["deliveries"] for each in held] == [1, 2, 3]
        assert {each[0]["resource"] for each in held} == {"r"}
        assert "poison" not in json.dumps(held)
        shown = running.cli("crashes", "allergic", "--last").stdout
        assert "in flight: update r from telling, message " in shown


def test_a_replayed_letter_crashes_its_module_again_or_is_handled(tmp_path: Path) -> None:
    with poisoned(tmp_path) as running:
        letter_id = wait_until_set_aside(running)
        done = running.cli("dead-letters", "replay", letter_id)
        assert done.stdout == f"{letter_id}: sent to allergic\n"
        assert wait_until_set_aside(running) == letter_id
        (tmp_path / "luck").touch()
        running.cli("dead-letters", "replay", letter_id)
        assert running.detail("allergic", "last") == ["poison"]
        assert running.cli("dead-letters", "list").stdout == "no dead letters\n"


def test_one_for_a_module_that_takes_nothing_stays(tmp_path: Path) -> None:
    with poisoned(tmp_path) as running:
        letter_id = wait_until_set_aside(running)
        running.cli("stop", "allergic")
        done = running.cli("dead-letters", "replay", letter_id)
        assert done.returncode == 1
        why = "cannot send to 'allergic': the module is stopped; `cloudcore start allergic` first"
        assert f"cannot replay dead letter {letter_id}: {why}" in done.stderr
        assert letter_id in running.cli("dead-letters", "list").stdout


def test_drop_refuses_ids_that_do_not_exist(tmp_path: Path) -> None:
    with poisoned(tmp_path) as running:
        letter_id = wait_until_set_aside(running)
        for arguments in (("show", "none"), ("drop", "../x"), ("replay", "none")):
            done = running.cli("dead-letters", *arguments)
            assert done.returncode == 1
            assert repr(arguments[1]) in done.stderr
        done = running.cli("dead-letters", "drop", "none", letter_id)
        assert (done.returncode, done.stdout) == (1, f"{letter_id}: dropped\n")
        running.wait_for(f"dead letter {letter_id} for allergic: dropped")
        inbox = running.module("allergic")["inbox"]
        assert (inbox["set_aside_total"], inbox["dead_letters"]) == (1, 0)
        assert running.cli("dead-letters", "list").stdout == "no dead letters\n"


def test_a_damaged_file_is_listed_with_the_others_and_can_be_dropped(tmp_path: Path) -> None:
    box = DeadLetterBox(tmp_path / "dead-letters")
    good = box.put("good", encode(Message.build("a", "b", "c", "d")), deliveries=3, reason="x")
    bad = box.put("good", b"e", deliveries=3, reason="y")
    (box.directory / f"{bad.id}.json").write_text('{"id"')
    with Running(tmp_path, "good") as running:
        running.ready("good")
        listed = running.cli("dead-letters", "list").stdout
        assert good.id in listed
        assert bad.id in listed
        assert "JSON is malformed" not in running.cli("dead-letters", "list").stderr
        assert "cannot read" in running.cli("dead-letters", "show", bad.id).stdout
        done = running.cli("dead-letters", "replay", bad.id, good.id)
        assert (done.returncode, done.stdout) == (1, f"{good.id}: sent to good\n")
        hint = f"`cloudcore dead-letters drop {bad.id}` deletes it"
        assert f"cannot replay dead letter {bad.id}: " in done.stderr
        assert hint in done.stderr
        running.wait_for(f"dead letter {good.id}: sent to good again")
        assert running.cli("dead-letters", "drop", bad.id).stdout == f"{bad.id}: dropped\n"
        assert running.cli("dead-letters", "list").stdout == "no dead letters\n"
