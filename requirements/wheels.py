"""Check that what is pinned here can be installed on every Python that cloudcore supports.

Run with `make wheels`: every pin has a wheel, and every dependency of one is pinned too, since
set-up installs with `--no-deps`. pip looks wheels up as it is configured, for the platform of
this machine; the interpreters need not be there, and nothing is installed.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

OLDEST, *NEWER = ("3.11", "3.12", "3.13", "3.14")

#: Sets that go into one environment. Those of peers.txt are in none of ours, and may be built.
SETS = ("build", "run", "kubectl", "test", "docs", "bench")


@dataclass(frozen=True)
class Wheel:
    """What pip's report says of a wheel."""

    name: str
    version: str
    file: str
    requires_python: str
    requires: list[Requirement]

    @property
    def lasting(self) -> bool:
        """Whether it is no wheel of one Python alone (PEP 425, and PEP 384 for abi3)."""
        python, abi, _ = self.file.removesuffix(".whl").rsplit("-", 2)
        return "py3" in python.split(".") or abi == "abi3"


def main() -> int:
    """Look everything up, print what is missing, and return the exit status."""
    pins = {pin.name: pin for name in SETS for pin in read(Path(__file__).parent / f"{name}.txt")}
    found = {OLDEST: look_up(pins.values(), OLDEST)}
    # Most wheels are good for every later Python as well; only the others are looked up again.
    lasting = {name: wheel for name, wheel in found[OLDEST].items() if wheel.lasting}
    rest = [pin for pin in pins.values() if canonicalize_name(pin.name) not in lasting]
    with ThreadPoolExecutor() as pool:
        for version, wheels in zip(NEWER, pool.map(lambda v: look_up(rest, v), NEWER), strict=True):
            found[version] = lasting | wheels
    faults = [
        f"Python {version}: {fault}"
        for version, wheels in found.items()
        for fault in faults_of(wheels, pins.values(), version)
    ]
    print(*faults, sep="\n", end="\n" if faults else "")
    if not faults:
        print(f"{len(pins)} pins have wheels for Python {', '.join(found)}")
    return 1 if faults else 0


def read(file: Path) -> Iterator[Requirement]:
    """Parse what pip-compile has written."""
    for line in file.read_text().splitlines():
        if line and not line.lstrip().startswith("#"):
            yield Requirement(line)


def applies(requirement: Requirement, version: str, extras: Iterable[str] = ("",)) -> bool:
    """Say whether the marker holds for a Python; pip asks the one that it runs on."""
    environment = {"python_version": version, "python_full_version": f"{version}.0"}
    marker = requirement.marker
    return marker is None or any(marker.evaluate(environment | {"extra": e}) for e in extras)


def look_up(pins: Iterable[Requirement], version: str) -> dict[str, Wheel]:
    """Ask pip for the wheels of one Python, by name; those it has none for are left out."""
    wanted = [f"{pin.name}{pin.specifier}" for pin in pins if applies(pin, version)]
    while wanted:
        with tempfile.TemporaryDirectory() as scratch:
            report = Path(scratch, "report.json")
            command = [
                *(sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--no-deps"),
                *("--only-binary=:all:", "--ignore-installed", "--python-version", version),
                *("--target", scratch, "--report", str(report), *wanted),
            ]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode == 0:
                return {
                    wheel.name: wheel
                    for wheel in map(wheel_of, json.loads(report.read_text())["install"])
                }
        missing = [
            pin for pin in wanted if f"No matching distribution found for {pin}" in done.stderr
        ]
        if not missing:
            raise SystemExit(done.stderr)
        wanted = [pin for pin in wanted if pin not in missing]
    return {}


def wheel_of(item: dict[str, Any]) -> Wheel:
    metadata = item["metadata"]
    return Wheel(
        canonicalize_name(metadata["name"]),
        metadata["version"],
        item["download_info"]["url"].rpartition("/")[2],
        metadata.get("requires_python", ""),
        [Requirement(text) for text in metadata.get("requires_dist", [])],
    )


def faults_of(wheels: dict[str, Wheel], pins: Iterable[Requirement], version: str) -> Iterator[str]:
    """Name what keeps the pins from being a whole environment."""
    for pin in pins:
        if applies(pin, version) and canonicalize_name(pin.name) not in wheels:
            yield f"{pin.name}{pin.specifier} has no wheel"
    for wheel in wheels.values():
        if f"{version}.99" not in SpecifierSet(wheel.requires_python):
            yield f"{wheel.name} {wheel.version} requires Python {wheel.requires_python}"
        for needed in wheel.requires:
            if applies(needed, version):
                yield from faults_of_dependency(wheel, needed, wheels, version)


def faults_of_dependency(
    wheel: Wheel, needed: Requirement, wheels: dict[str, Wheel], version: str
) -> Iterator[str]:
    """Follow one dependency, and what the extras that it names bring in."""
    pinned = wheels.get(canonicalize_name(needed.name))
    if pinned is None:
        yield f"{wheel.name} needs {needed}, which is not pinned"
    elif not needed.specifier.contains(pinned.version, prereleases=True):
        yield f"{wheel.name} needs {needed}, and {pinned.version} is pinned"
    elif needed.extras:
        for more in pinned.requires:
            if not applies(more, version) and applies(more, version, needed.extras):
                yield from faults_of_dependency(pinned, more, wheels, version)


if __name__ == "__main__":
    sys.exit(main())
