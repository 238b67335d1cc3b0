"""The command line: what it takes, and what it says."""

import json
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
import tomli
from click.testing import CliRunner, Result

from supervisor.cli import lazy
from supervisor.cli.app import COMMANDS, cloudcore
from supervisor.cli.commands import Command
from supervisor.cli.options import Globals, directory_options
from supervisor.version import current

DEADLINE = 30


def invoke(*arguments: str, **environ: str) -> Result:
    return CliRunner().invoke(
        cloudcore, arguments, env=environ, prog_name="cloudcore", terminal_width=80
    )


def test_help_lists_options_and_commands_in_sections() -> None:
    lines = invoke("--help").stdout.splitlines()
    headings = [line for line in lines if line.endswith(":") and not line.startswith(" ")]
    assert headings == [
        "Configuration:",
        "Directories:",
        "Logs:",
        "Other options:",
        "Running:",
        "Modules:",
        "Inspecting:",
        "Configuration:",
        "Other:",
        "Commands of modules:",
    ]
    listed = lines[lines.index("Running:") : -1]  # the last one refers to the help of commands
    commands = [line.split()[0] for line in listed if line[:2] == "  " and line[2:3].strip()]
    assert commands == [
        *("run", "status", "stop", "reload"),
        *("restart", "start", "enable", "disable"),
        *("top", "logs", "events", "crashes", "dead-letters", "doctor"),
        *(
            "config",
            "completion",
            "version",
            "certs",
            "crds",
            "dashboard",
            "hollow",
            "nodes",
            "takeover",
            "token",
        ),
    ]
    assert max(map(len, lines)) <= 80


def test_help_of_a_command_has_the_global_options_that_it_uses() -> None:
    text = invoke("status", "--help").stdout
    for option in ("--output", "--watch", "--run-dir", "--data-dir"):
        assert option in text
    for option in ("--config", "--set", "--verbosity"):
        assert option not in text


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_the_line_in_help_is_the_commands_own(command: lazy.LazyCommand) -> None:
    loaded = command.load()
    assert loaded.name == command.name
    assert loaded.get_short_help_str(limit=100) == command.short_help


def test_no_arguments_show_help() -> None:
    result = invoke()
    assert result.exit_code == 2
    assert "Usage: cloudcore" in result.output


def test_a_mistyped_command() -> None:
    result = invoke("statsu")
    assert result.exit_code == 2
    assert "'status'" in result.stderr


def test_a_mistyped_command_of_another_package() -> None:
    assert "'hollow'" in invoke("holow").stderr


def test_version() -> None:
    assert invoke("--version").stdout == f"cloudcore {current()}\n"
    assert invoke("version").stdout.startswith(f"cloudcore {current()}\nPython 3.")
    assert json.loads(invoke("version", "-o", "json").stdout)["version"] == current()


def test_config_default_is_the_shipped_file() -> None:
    result = invoke("config", "default")
    assert result.exit_code == 0
    assert tomli.loads(result.stdout)["modules"]["cloudhub"]["port"] == 10000


def test_global_options_are_taken_before_and_after_the_command(tmp_path: Path) -> None:
    path = tmp_path / "cloudcore.toml"
    path.write_text('[log]\nformat = "json"\n')
    for arguments in (
        ["--config", str(path), "--set", "modules.cloudhub.port=1", "-v", "config", "show"],
        ["config", "--config", str(path), "show", "--set", "modules.cloudhub.port=1", "-v"],
        ["config", "show", "--config", str(path), "--set", "modules.cloudhub.port=1", "-v"],
    ):
        shown = json.loads(invoke(*arguments, "-o", "json").stdout)
        assert shown["log"] == {"verbosity": 1, "format": "json"}
        assert shown["modules"]["cloudhub"]["port"] == 1


def test_what_stands_nearer_to_the_command_wins() -> None:
    result = invoke("--log-format", "json", "config", "show", "--log-format", "text", "-o", "json")
    assert json.loads(result.stdout)["log"]["format"] == "text"
    result = invoke("--set", "log.verbosity=0", "config", "show", "-vvv", "-o", "json")
    assert json.loads(result.stdout)["log"]["verbosity"] == 2


def test_config_show_says_where_a_value_comes_from() -> None:
    result = invoke("config", "show", CLOUDCORE_MODULES__CLOUDHUB__PORT="7")
    assert "port = 7  # CLOUDCORE_MODULES__CLOUDHUB__PORT" in result.stdout.splitlines()


def test_config_check() -> None:
    result = invoke("config", "check")
    assert result.exit_code == 0
    assert result.stdout == (
        "the default configuration: no faults; "
        "enabled: apiserver, cloudhub, edgecontroller, devicecontroller\n"
    )


def test_config_check_reads_what_the_configuration_refers_to(tmp_path: Path) -> None:
    """By the modules' own checks; what two of them find is told once."""
    kubeconfig = tmp_path / "config"
    kubeconfig.write_text("clusters: [}")
    result = invoke("config", "check", "--set", f"kubernetes.kubeconfig={kubeconfig}")
    assert result.exit_code == 2
    first, fault = result.stderr.splitlines()
    assert first == "cloudcore: 1 fault in the configuration"
    reason = f"cannot use the kubeconfig {kubeconfig}: line 1, column 12: "
    assert fault.startswith(f"  --set: kubernetes.kubeconfig: {reason}")


@pytest.mark.parametrize("command", [["config", "check"], ["config", "show"], ["run"]])
def test_a_faulty_configuration_ends_with_status_2_and_all_faults(
    command: list[str], tmp_path: Path
) -> None:
    directories = [f"--run-dir={tmp_path / 'run'}", f"--data-dir={tmp_path / 'data'}"]
    faults = ["--set=modules.cloudhub.port=x", "--set=log.format=xml"]
    result = invoke(*command, *faults, *(directories if command != ["config", "show"] else []))
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        "cloudcore: 2 faults in the configuration",
        '  --set: log.format: found "xml"; allowed: "text" or "json"',
        '  --set: modules.cloudhub.port: found "x"; allowed: an integer from 0 to 65535',
    ]
    assert not list(tmp_path.iterdir())


def test_run_says_when_a_directory_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = invoke("run", f"--run-dir={tmp_path / 'file' / 'run'}", f"--data-dir={tmp_path}")
    assert result.exit_code == 1
    assert "cannot create the directory" in result.stderr


class Entry:
    """An entry point as importlib.metadata has them."""

    value = "somewhere:command"

    def __init__(self, name: str, loaded: click.Command | None) -> None:
        self.name = name
        self._loaded = loaded

    def load(self) -> click.Command:
        if self._loaded is None:
            raise ImportError("No module named 'somewhere'")
        return self._loaded


@pytest.fixture
def other_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command(cls=Command, short_help="Say where data is kept.")
    @directory_options
    @click.pass_obj
    def where(said: Globals) -> None:
        click.echo(str(said.data_dir))

    entries = [Entry("where", where), Entry("broken", None)]
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: entries)


@pytest.mark.usefixtures("other_packages")
class TestCommandsOfOtherPackages:
    def test_they_are_listed_with_their_own_line(self) -> None:
        assert re.search(r"where +Say where data is kept\.", invoke("--help").stdout)

    def test_they_get_the_global_options_that_they_declare(self, tmp_path: Path) -> None:
        assert invoke("--data-dir", str(tmp_path), "where").stdout == f"{tmp_path}\n"
        assert invoke("where", "--data-dir", str(tmp_path)).stdout == f"{tmp_path}\n"
        refused = invoke("--config", "x", "where")
        assert refused.exit_code == 2
        assert "option --config not allowed for `where`" in refused.stderr

    def test_one_that_cannot_be_imported_breaks_no_help_and_says_why(self) -> None:
        assert "cannot load the command" in invoke("--help").stdout
        result = invoke("broken")
        assert result.exit_code == 1
        assert "(somewhere:command): ImportError: No module" in result.stderr


def test_python_m_supervisor_is_the_command() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "supervisor", "--version"],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=True,
    )
    assert result.stdout == f"cloudcore {current()}\n"
