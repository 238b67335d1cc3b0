"""deploy/debian: what can be seen without building the package, which `make deb` does."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from supervisor.config import load

ROOT = Path(__file__).parents[2]
DEBIAN = ROOT / "deploy" / "debian"
UNIT = ROOT / "deploy" / "systemd" / "cloudcore.service"


@pytest.mark.parametrize("name", ["postinst", "prerm", "postrm", "build"])
def test_a_script_is_valid(name: str) -> None:
    shell = "bash" if name == "build" else "sh"
    subprocess.run([shell, "-n", DEBIAN / name], check=True, timeout=20)


def test_all_is_compiled_when_it_is_installed_and_removed_with_it() -> None:
    assert " -m compileall " in (DEBIAN / "postinst").read_text()
    assert "-name __pycache__" in (DEBIAN / "prerm").read_text()


def test_the_configuration_that_comes_with_it_is_valid_and_changes_nothing() -> None:
    shipped = load(DEBIAN / "cloudcore.toml", environ={})
    assert shipped.layers.tree == load(environ={}).layers.tree


def test_the_examples_in_it_are_valid_too(tmp_path: Path) -> None:
    (tmp_path / "kubeconfig").touch()
    text = (DEBIAN / "cloudcore.toml").read_text()
    examples = re.findall(r"^# (\[.+\]|\w+ = .+)$", text, re.MULTILINE)
    assert len(examples) >= 4
    file = tmp_path / "cloudcore.toml"
    file.write_text("\n".join(examples).replace("/etc/cloudcore", str(tmp_path)))
    load(file, environ={})


def test_user_and_directories_are_those_of_the_unit() -> None:
    unit = UNIT.read_text()
    (user,) = re.findall(r"^User=(.+)$", unit, re.MULTILINE)
    (state,) = re.findall(r"^StateDirectory=(.+)$", unit, re.MULTILINE)
    assert (DEBIAN / "cloudcore.sysusers").read_text().split()[1] == user
    line = (DEBIAN / "cloudcore.tmpfiles").read_text().splitlines()[-1].split()
    assert line == ["d", f"/var/lib/{state}", "0700", user, user, "-"]


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="there is no systemd here")
def test_the_exposure_of_the_service_is_low() -> None:
    command = ("systemd-analyze", "security", "--offline=true", "--threshold=24", UNIT)
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert "Overall exposure level" in done.stdout, done.stderr
    assert done.returncode == 0, done.stdout.splitlines()[-1]
