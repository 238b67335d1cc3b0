"""Every command with every global option: it is used, or refused by name; none is ignored."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from supervisor.cli.app import cloudcore
from supervisor.telemetry.crash_reports import CrashReports
from tests.supervisor.test_crashes import report
from tests.support.running import Running

OPTIONS = {
    "run_dir": ("--run-dir", "x"),
    "data_dir": ("--data-dir", "x"),
    "config": ("--config", "x"),
    "set": ("--set", "log.verbosity=1"),
    "verbosity": ("-v",),
    "log_format": ("--log-format", "json"),
}
DIRECTORIES = {"run_dir", "data_dir"}
LOADING = {"config", "set", "verbosity", "log_format"}
USED = {
    "run": DIRECTORIES | LOADING,
    "doctor": DIRECTORIES | LOADING,
    "config check": DIRECTORIES | LOADING,
    "config show": LOADING,
    "config default": set(),
    "config convert": set(),
    "certs init": DIRECTORIES | {"config", "set"},
    "certs issue": {"data_dir"},
    "certs list": {"data_dir"},
    "certs renew": DIRECTORIES | {"config", "set"},
    "crds": set(),
    "dashboard": {"run_dir"},
    "token create": DIRECTORIES | {"config", "set"},
    "token list": {"data_dir"},
    "token revoke": DIRECTORIES | {"config", "set"},
    "hollow": {"data_dir"},
    "nodes": {"run_dir"},
    "takeover check": DIRECTORIES | {"config", "set"},
    "completion": set(),
    "version": set(),
}
ARGUMENTS = {
    "completion": ("bash",),
    "certs issue": ("node", "--out", "x"),
    "hollow": ("node",),
    "dead-letters show": ("id",),
    "dead-letters replay": ("id",),
    "dead-letters drop": ("id",),
    **dict.fromkeys(("restart", "start", "enable", "disable"), ("m",)),
}


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(cloudcore, arguments, prog_name="cloudcore")


def leaves(group: click.Group, *names: str) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from leaves(command, *names, name)
        else:
            yield " ".join((*names, name)), command


COMMANDS = dict(leaves(cloudcore))


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_declares_what_it_uses(command: str) -> None:
    declared = {parameter.name for parameter in COMMANDS[command].params} & set(OPTIONS)
    assert declared == USED.get(command, DIRECTORIES)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("option", OPTIONS)
def test_what_a_command_does_not_use_it_refuses_before_and_after_its_name(
    command: str, option: str
) -> None:
    if option in USED.get(command, DIRECTORIES):
        return
    words, arguments = command.split(), ARGUMENTS.get(command, ())
    flag = {"-v": "--verbosity"}.get(OPTIONS[option][0], OPTIONS[option][0])
    before = invoke(*OPTIONS[option], *words, *arguments)
    assert before.exit_code == 2
    assert f"option {flag} not allowed for `{words[-1]}` (" in before.stderr
    after = invoke(*words, *OPTIONS[option], *arguments)
    assert after.exit_code == 2
    assert "No such option" in after.stderr


def test_the_options_that_are_used_are_named() -> None:
    assert "(allowed: --data-dir, --run-dir)" in invoke("--config", "x", "status").stderr


def test_a_command_between_the_two_places_refuses_as_well() -> None:
    assert "option --config not allowed" in invoke("config", "--config", "x", "default").stderr


def test_crashes_are_those_of_the_run_directory_or_of_the_data_directory(tmp_path: Path) -> None:
    report(CrashReports(tmp_path / "other" / "crashes", keep=10), id="1-other")
    run, other = str(tmp_path / "run"), str(tmp_path / "other")
    with Running(tmp_path, "refusing") as running:
        running.wait_for("refusing: crashed -> failed")
        (there,) = json.loads(invoke("crashes", "--run-dir", run, "-o", "json").stdout)
        assert there["module"] == "refusing"
        shown = invoke("crashes", "--run-dir", run, "--id", there["id"])
        assert f"id:      {there['id']}" in shown.stdout
        (read,) = json.loads(invoke("crashes", "--data-dir", other, "-o", "json").stdout)
        assert read["id"] == "1-other"
        for command in ("crashes", "status", "events", "reload"):
            both = invoke(command, "--run-dir", run, "--data-dir", other)
            assert both.exit_code == 2
            assert f"uses the data directory {tmp_path}, not {other}" in both.stderr
    nothing = invoke("crashes", "--run-dir", run)
    assert nothing.exit_code == 3
    assert "cloudcore is not running" in nothing.stderr
    assert "to read files without a running cloudcore, use --data-dir" in nothing.stderr
    files = invoke("crashes", "--run-dir", run, "--data-dir", str(tmp_path), "-o", "json")
    assert [each["id"] for each in json.loads(files.stdout)] == [there["id"]]
