"""What is in deploy/ fits the command line and the package that it runs."""

import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from supervisor.cli.app import cloudcore

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "deploy" / "systemd" / "cloudcore.service"
CONTAINERFILE = (ROOT / "deploy" / "Containerfile").read_text()
KEPT = re.findall(r"^!(.+)$", (ROOT / ".containerignore").read_text(), re.MULTILINE)


def setting(name: str) -> str:
    (value,) = re.findall(rf"^{name}=(.*)$", UNIT.read_text(), re.MULTILINE)
    return value


@pytest.mark.parametrize("name", ["ExecStart", "ExecReload"])
def test_the_commands_of_the_unit_are_accepted(name: str, tmp_path: Path) -> None:
    line = setting(name).replace("%t", str(tmp_path)).replace("%S", str(tmp_path))
    _, command, *words = shlex.split(line)
    group = cloudcore.make_context("cloudcore", [command])
    found = cloudcore.get_command(group, command)
    assert found is not None
    config = tmp_path / "cloudcore.toml"
    config.touch()
    words = [word.replace("/etc/cloudcore/cloudcore.toml", str(config)) for word in words]
    with found.make_context(command, words, parent=group):
        pass


def test_the_unit_is_started_again_whatever_happens_and_runs_as_nobody_in_particular() -> None:
    assert setting("StartLimitIntervalSec") == "0"
    assert setting("User") == "cloudcore"
    assert setting("CapabilityBoundingSet") == ""


def test_the_unit_lets_cloudhub_ask_for_the_addresses_of_the_host() -> None:
    families = set(setting("RestrictAddressFamilies").split())
    assert families == {"AF_UNIX", "AF_INET", "AF_INET6", "AF_NETLINK"}  # getifaddrs(3): netlink


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="there is no systemd here")
def test_systemd_knows_every_setting_of_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/cloudcore/bin/cloudcore", "/bin/true"))
    command = ("systemd-analyze", "verify", "--man=no", unit)
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert not [line for line in done.stderr.splitlines() if UNIT.name in line], done.stderr


def test_the_image_gets_what_the_package_is_built_from(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for name in KEPT:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        ignored = shutil.ignore_patterns("__pycache__")
        if name == "build/share":  # made by `make share`; an image can be built without
            page = source / name / "man" / "man1" / "cloudcore.1"
            page.parent.mkdir(parents=True)
            page.write_text('.TH "CLOUDCORE" "1"')
            continue
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=ignored)
        else:
            shutil.copy(ROOT / name, source / name)
    pip = (sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check")
    options = (
        "--no-index",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        tmp_path / "wheels",
    )
    subprocess.run([*pip, *options, source], check=True, timeout=60)
    (wheel,) = (tmp_path / "wheels").glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {
        "supervisor/cloudcore.toml",
        "supervisor/api.py",
        "ipc/message.py",
        "modules/dashboard/assets/index.html",
        "modules/dashboard/assets/js/main.js",
    } <= set(names)
    assert any(name.startswith("modules/common/crds/yaml/") for name in names)
    assert any(name.endswith(".data/data/share/man/man1/cloudcore.1") for name in names)
    assert not [name for name in names if name.startswith(("tests/", "bench/", "build/"))]


def test_the_image_has_pinned_versions_and_no_root() -> None:
    assert "-r requirements/run.txt" in CONTAINERFILE
    assert set(re.findall(r"^FROM (\S+)", CONTAINERFILE, re.MULTILINE)) == {"${PYTHON}"}
    assert re.search(
        r"^ARG PYTHON=docker.io/library/python:\d+\.\d+-slim-\w+$", CONTAINERFILE, re.MULTILINE
    )
    assert re.search(r"^USER 10000$", CONTAINERFILE, re.MULTILINE)
    for name in re.findall(r"-r (\S+)", CONTAINERFILE):
        assert (ROOT / name).exists()
