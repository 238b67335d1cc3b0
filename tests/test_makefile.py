"""What the targets of the Makefile install; nothing is run."""

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SETS = ("build", "run", "kubectl", "test", "docs", "bench", "peers")


def planned(*words: str) -> str:
    """What make would do where nothing is installed yet."""
    ours = {"MAKEFLAGS", "MFLAGS", "MAKELEVEL", "PYTHON", "ARGS"}  # of the make that runs the tests
    environment = {name: value for name, value in os.environ.items() if name not in ours}
    command = ("make", "-n", "--always-make", *words)
    return subprocess.check_output(command, cwd=ROOT, env=environment, text=True, timeout=20)


def installed(target: str) -> set[str]:
    return set(re.findall(r"-r requirements/(\w+)\.txt", planned(target)))


@pytest.mark.parametrize(
    ("target", "sets"),
    [
        ("run", {"build", "run"}),
        ("demo", {"build", "run"}),
        ("kubectl", {"build", "run", "kubectl"}),
        ("test", {"build", "run", "test", "docs"}),
        ("docs", {"build", "run", "docs"}),
        ("lint", {"build", "run", "test", "docs", "bench"}),
        ("bench-ipc", {"build", "run", "bench"}),
        ("bench-supervisor", {"build", "run", "bench", "peers"}),
    ],
)
def test_a_target_installs_what_it_needs_and_nothing_else(target: str, sets: set[str]) -> None:
    assert installed(target) == sets


def test_each_interpreter_has_an_environment_of_its_own() -> None:
    assert "\n.venv/bin/python -m pytest" in planned("test")
    assert "\n.venv/bin/python -m pytest" in planned("test", "PYTHON=/usr/bin/python3")
    assert "\n.venv-python3.12/bin/python -m pytest" in planned("test", "PYTHON=python3.12")


@pytest.mark.parametrize(
    ("arguments", "workers"),
    [
        ("", True),
        ("tests/ipc tests/supervisor", True),
        ("tests/ipc/test_ring.py tests/ipc/test_many.py", True),
        ("tests/ipc/test_ring.py", False),
        ("tests/ipc/test_ring.py::test_a tests/ipc/test_ring.py::test_b", False),
        ("tests/ipc -k deliveries", False),
        ("tests/ipc -s", False),
    ],
)
def test_workers_run_many_tests_and_not_a_few(
    arguments: str, workers: bool, request: pytest.FixtureRequest
) -> None:
    config = pytest.Config.fromdictargs({}, ["-n", "auto", *arguments.split()])
    assert (request.config.hook.pytest_xdist_auto_num_workers(config=config) >= 2) == workers


def test_a_set_up_says_what_it_does_before_it_does_it() -> None:
    plan = planned("run")
    assert "Setting up .venv for running cloudcore" in plan
    assert plan.index("Setting up") < plan.index("pip install")


@pytest.mark.parametrize("name", SETS)
def test_what_is_pinned_is_exact(name: str) -> None:
    lines = (ROOT / "requirements" / f"{name}.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.lstrip().startswith("#")]
    assert pins
    assert not [pin for pin in pins if not re.match(r"[a-z0-9.-]+==[^ ]+( ; .+)?$", pin)]


def test_a_package_has_one_version_in_all_sets() -> None:
    versions: dict[str, set[str]] = {}
    for name in SETS:
        text = (ROOT / "requirements" / f"{name}.txt").read_text()
        for package, version in re.findall(r"^([a-z0-9.-]+)==([^ \n]+)", text, re.MULTILINE):
            versions.setdefault(package, set()).add(version)
    assert not {package: found for package, found in versions.items() if len(found) > 1}
