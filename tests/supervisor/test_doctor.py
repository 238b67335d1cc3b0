"""`cloudcore doctor`: cloudcore's own checks, each well and wrong, and those that modules add."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from ipc import DeadLetterBox
from supervisor import client
from supervisor.api import Check, Finding, Listener, Module, Settings
from supervisor.cli.app import cloudcore
from supervisor.config import installed, load
from supervisor.doctor import examination, host
from supervisor.doctor.examination import sections
from supervisor.doctor.running import RunningCloudcore
from supervisor.doctor.runs import perform
from supervisor.host import clock, open_files
from supervisor.host.paths import Paths
from tests.support.running import Running


class Plain(Module):
    name = "plain"
    group = "plain"
    port = 0
    findings: Sequence[Finding] = ()

    @classmethod
    def listeners(cls, config: Any, settings: Settings) -> dict[str, Listener]:
        return {"door": Listener("127.0.0.1", cls.port)}

    @classmethod
    def checks(cls, config: Any, settings: Settings, command: Any) -> Sequence[Check]:
        return [Check("plain", lambda: cls.findings)]

    def start(self, context: Any) -> None:
        raise NotImplementedError


class Raising(Plain):
    name = "raising"

    @classmethod
    def checks(cls, config: Any, settings: Settings, command: Any) -> Sequence[Check]:
        raise RuntimeError("no")


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    found = Paths(tmp_path / "run", tmp_path / "data")
    found.create()
    return found


def examined(paths: Paths, *modules: type[Module], **sets: str) -> list[str]:
    """Return the findings as lines: mark, text and command."""
    names = ", ".join(f'"{module.name}"' for module in modules)
    given = [f"modules.enabled=[{names}]", *(f"{key}={value}" for key, value in sets.items())]
    ours = {module.name: (lambda module=module: module) for module in modules}

    def load_again() -> Any:
        return load(None, given, {}, modules={**installed.find(), **ours})

    running = RunningCloudcore(paths)
    line = lambda *words: " ".join(("cloudcore", *words))  # noqa: E731
    found = sections(load_again, "the file", paths, running, line)
    checks = [check for each in found.values() for check in each]
    return [
        f"{finding.mark}: {finding.text}{f' $ {finding.command}' if finding.command else ''}"
        for _, findings in perform(checks, 5)
        for finding in findings
    ]


def bad(lines: list[str]) -> list[str]:
    return [line for line in lines if line.startswith(("wrong", "unclear"))]


def test_all_is_well(paths: Paths) -> None:
    lines = examined(paths, Plain)
    assert bad(lines) == []
    assert "ok: the file has no faults; enabled: plain" in lines
    assert f"ok: the data directory {paths.data_dir} can be used" in lines
    assert "note: cloudcore is not running $ cloudcore run" in lines


def test_a_faulty_configuration_leaves_the_other_checks(paths: Paths) -> None:
    lines = examined(paths, Plain, **{"log.verbosity": "9"})
    [fault] = bad(lines)
    assert fault == "wrong: --set: log.verbosity: found 9; allowed: an integer from 0 to 2"
    assert f"ok: the data directory {paths.data_dir} can be used" in lines


def test_what_the_configuration_refers_to(paths: Paths) -> None:
    from supervisor.api import Problem

    class Problematic(Plain):
        name = "problematic"

        @classmethod
        def problems(cls, config: Any, settings: Settings) -> Sequence[Problem]:
            return [Problem("modules.enabled", "no such file", "put one there")]

    [fault] = bad(examined(paths, Problematic))
    assert fault == "wrong: --set: modules.enabled: no such file; put one there"


def test_findings_of_a_module(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Plain, "findings", [Finding.wrong("it leaks", "mend it")])
    assert bad(examined(paths, Plain)) == ["wrong: it leaks $ mend it"]


def test_a_module_whose_checks_cannot_be_made_stops_no_other(paths: Paths) -> None:
    lines = examined(paths, Raising, Plain)
    assert bad(lines) == ["unclear: module raising: checks() failed: RuntimeError: no"]


@pytest.mark.parametrize("sets", [{}, {"admin.address": '"127.0.0.1:{port}"'}])
def test_a_port_that_another_program_holds(
    paths: Paths, monkeypatch: pytest.MonkeyPatch, sets: dict[str, str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        if not sets:
            monkeypatch.setattr(Plain, "port", port)
        given = {key: value.format(port=port) for key, value in sets.items()}
        [line] = bad(examined(paths, Plain, **given))
    owner, table = (
        ("the admin interface", "[admin]")
        if sets
        else (
            "plain (door)",
            "[modules.plain]",
        )
    )
    assert line.startswith(f"wrong: port {port}/tcp of {owner} is held by process {os.getpid()} (")
    assert line.endswith(f"or set another port in {table} $ ss -ltnp 'sport = :{port}'")
    lines = examined(paths, Plain, **given)
    assert f"ok: port {port}/tcp of {owner} is free" in lines


def test_an_address_that_this_host_has_not(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Plain, "listeners", lambda *_: {"door": Listener("192.0.2.1", 1234)})
    [line] = bad(examined(paths, Plain))
    assert line.startswith("wrong: cannot listen on 192.0.2.1:1234")
    assert line.endswith("; correct [modules.plain]")


def test_directories(tmp_path: Path, paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = Paths(paths.run_dir, tmp_path / "a" / "b")
    assert f"ok: the data directory {missing.data_dir} will be made" in examined(missing, Plain)
    paths.data_dir.chmod(0o777)
    [line] = bad(examined(paths, Plain))
    assert f"run `chmod go-w {paths.data_dir}`" in line
    paths.data_dir.chmod(0o700)
    monkeypatch.setattr(os, "access", lambda *_: False)
    [line] = bad(examined(missing, Plain))
    assert "may not write to" in line
    assert "choose another one with --data-dir" in line
    monkeypatch.undo()
    long = Paths(tmp_path / ("x" * 120), paths.data_dir)
    assert any("choose a shorter --run-dir" in line for line in bad(examined(long, Plain)))


def test_a_disk_that_is_nearly_full(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "_free_space", lambda _: 5 * 1024**2)
    lines = bad(examined(paths, Plain))
    text = f"the data directory {paths.data_dir} has 5 MiB of free space; free some"
    assert f"wrong: {text} $ df -h {paths.data_dir}" in lines


def test_open_files(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    needed = open_files.needed(1 + len(installed.find()))
    monkeypatch.setattr(open_files, "hard_limit", lambda: needed - 1)
    [line] = bad(examined(paths, Plain))
    text = f"the limit of open files is {needed - 1}, and cloudcore needs about {needed}"
    assert line.startswith(f"wrong: {text}; raise it")
    assert line.endswith(f"$ ulimit -Hn {needed}")
    monkeypatch.setattr(open_files, "hard_limit", lambda: needed)
    assert f"ok: open files: {needed}, and cloudcore needs {needed}" in examined(paths, Plain)


def test_the_kernels_clock(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    assert clock.is_synchronized() in {True, False, None}
    for state, line in (
        (True, "ok: the kernel's clock is synchronized"),
        (None, "note: the kernel does not say whether its clock is synchronized"),
    ):
        monkeypatch.setattr(clock, "is_synchronized", lambda state=state: state)
        assert line in examined(paths, Plain)
    monkeypatch.setattr(clock, "is_synchronized", lambda: False)
    [line] = [each for each in examined(paths, Plain) if "kernel's clock" in each]
    assert line.startswith("note: the kernel's clock is not synchronized")
    assert line.endswith("$ timedatectl set-ntp true")


def running(state: str = "ready", **more: Any) -> dict[str, Any]:
    module = {
        "name": "plain",
        "enabled": True,
        "state": state,
        "details": {"listen": {"door": "127.0.0.1:1"}},
        "last_exit": None,
        **more,
    }
    return {"pid": 7, "modules": [module]}


def test_the_running_cloudcore(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[dict[str, Any]] = []

    def request(*_: Any, **__: Any) -> Any:
        return {"data_dir": str(paths.data_dir), **answers[0]}

    monkeypatch.setattr("supervisor.client.request", request)
    for document, expected in (
        (running(), "ok: cloudcore runs as process 7, all modules are ready"),
        (running("starting"), "wrong: module plain is starting $ cloudcore logs plain"),
        (
            running("failed", reason="no key", last_exit={"reason": "no key"}),
            "wrong: module plain is failed: no key $ cloudcore crashes plain --last",
        ),
        (
            running("stopped", reason="did not stop within 10 s", last_exit={"reason": "killed"}),
            "wrong: module plain is stopped: did not stop within 10 s $ cloudcore start plain",
        ),
        (
            running("stopped", reason="waits for door, which is failed"),
            "wrong: module plain is stopped: waits for door, which is failed",
        ),
        (
            running(reason="process 8 is suspended"),
            "wrong: module plain is ready, but process 8 is suspended $ cloudcore logs plain",
        ),
        (
            running(details={"trouble": "disk full"}),
            "wrong: module plain is ready, but disk full $ cloudcore logs plain",
        ),
    ):
        answers[:] = [document]
        assert expected in examined(paths, Plain)
    answers[:] = [running() | {"data_dir": "/elsewhere"}]
    [line] = bad(examined(paths, Plain))
    assert "uses the data directory /elsewhere" in line


def test_another_configuration_than_that_of_the_running_cloudcore(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As without the --config and --set that it was started with."""

    class Other(Plain):
        name = "other"

    document = running() | {"data_dir": str(paths.data_dir)}
    document["modules"].append(document["modules"][0] | {"name": "plain-2"})
    monkeypatch.setattr("supervisor.client.request", lambda *_, **__: document)
    hint = "to check that, leave out --config and --set; to apply a changed file, reload"
    start = "note: the running cloudcore has another configuration: "
    assert not any(hint in line for line in examined(paths, Plain))
    assert f"{start}without other; {hint} $ cloudcore reload" in examined(paths, Plain, Other)
    document["modules"].append(document["modules"][0] | {"name": "cloudhub"})
    assert f"{start}with cloudhub; {hint} $ cloudcore reload" in examined(paths, Plain)


def test_dead_letters_are_named_until_they_are_dropped(paths: Paths) -> None:
    box = DeadLetterBox(paths.dead_letters_dir)
    two = [box.put("plain", text, deliveries=3, reason="") for text in (b"a", b"b")]
    box.put("gone", b"c", deliveries=3, reason="")
    lines = [line for line in bad(examined(paths, Plain)) if "dead" in line]
    why = "messages that could not be handled $ cloudcore dead-letters list"
    assert lines == [
        f"wrong: gone has 1 dead letter: {why}",
        f"wrong: plain has 2 dead letters: {why}",
    ]
    for letter in two:
        box.drop(letter.id)
    assert not any("plain has" in line for line in examined(paths, Plain))


def test_one_that_does_not_answer(paths: Paths) -> None:
    with socket.socket(socket.AF_UNIX) as rude:
        rude.bind(str(paths.admin_socket))
        rude.listen()

        def hang_up() -> None:
            connection, _ = rude.accept()
            connection.close()

        hanging_up = threading.Thread(target=hang_up)
        hanging_up.start()
        lines = bad(examined(paths, Plain))
        hanging_up.join()
    assert lines[0].startswith("wrong: the running cloudcore does not answer: cannot send")
    assert "note: cloudcore is not running $ cloudcore run" in examined(paths, Plain)


def test_one_that_does_not_answer_is_asked_once(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def request(_path: Path, _method: str, target: str) -> Any:
        asked.append(target)
        raise client.AdminError("no answer within 5 s: process 8 is suspended")

    monkeypatch.setattr(client, "request", request)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setattr(Plain, "port", taken.getsockname()[1])
        lines = bad(examined(paths, Plain))
    text = "no answer within 5 s: process 8 is suspended"
    assert f"wrong: the running cloudcore does not answer: {text}" in lines
    assert asked == ["/status"]


@pytest.fixture
def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    return port


def test_ports_and_configuration_of_the_running_cloudcore_are_its_own(
    tmp_path: Path, free_port: int
) -> None:
    """Without --config and --set those that it was started with are looked at."""
    port = f"modules.apiserver.port={free_port}"
    (tmp_path / "cloudcore.toml").write_text(f'modules.enabled = ["apiserver"]\n{port}')
    held = f"port {free_port}/tcp of apiserver (https) is held by the running cloudcore"
    with Running(tmp_path, "apiserver") as it:
        it.ready("apiserver")
        done = it.cli("doctor", "-o", "json")
        (tmp_path / "cloudcore.toml").write_text("modules.enabled = []\nlog.verbosity = 3")
        changed = it.cli("doctor")
        given = it.cli("doctor", "--set", 'modules.enabled=["cloudhub"]')
    document = json.loads(done.stdout)
    texts = [each["text"] for each in document["findings"]]
    assert f"{tmp_path / 'cloudcore.toml'} has no faults; enabled: apiserver" in texts
    assert held in texts
    assert (done.returncode, document["well"]) == (0, True), texts
    assert changed.returncode == 1
    assert "log.verbosity" in changed.stdout
    assert "the default configuration has no faults; enabled: cloudhub" in given.stdout


def test_the_doctor_asks_a_cloudcore_that_was_started_with_set(tmp_path: Path) -> None:
    with Running(tmp_path, "apiserver", sets=("modules.apiserver.port=0",)) as it:
        it.ready("apiserver")
        assert "has no faults; enabled: apiserver\n" in it.cli("doctor").stdout


def test_command_lines_have_the_options_that_they_take(tmp_path: Path) -> None:
    config = tmp_path / "a.toml"
    config.write_text("")
    arguments = ["--config", str(config), "--data-dir", str(tmp_path), "doctor", "-o", "json"]
    result = CliRunner().invoke(cloudcore, [*arguments, "--run-dir", str(tmp_path / "run")])
    commands = {each["command"] for each in json.loads(result.stdout)["findings"]}
    run = next(each for each in commands if " run " in each)
    directories = f"--run-dir {tmp_path / 'run'} --data-dir {tmp_path}"
    assert run.endswith(f" run --config {config} {directories}")


def test_the_doctor_changes_nothing(tmp_path: Path) -> None:
    data, run = tmp_path / "data", tmp_path / "run"
    options = ["--data-dir", str(data), "--run-dir", str(run)]
    result = CliRunner().invoke(cloudcore, ["doctor", *options])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    assert not data.exists()
    assert not run.exists()
    assert sys.modules[examination.__name__]
