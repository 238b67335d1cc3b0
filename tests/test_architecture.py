"""The rooms and layers that docs/engineering/architecture.md draws are the import contracts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "engineering" / "architecture.md"


@cache
def imports() -> grimp.ImportGraph:
    """Every import between files, those under TYPE_CHECKING included."""
    return grimp.build_graph("ipc", "supervisor", "modules", cache_dir=None)


def drawn() -> dict[str, list[set[str]]]:
    """Read the page: for each package with a table of layers, its rooms from the top down."""
    houses: dict[str, list[set[str]]] = {}
    package = ""
    for line in PAGE.read_text().splitlines():
        if heading := re.fullmatch(r"### `([\w/]+)/`", line):
            package = heading[1].replace("/", ".")
            houses[package] = []
        elif line.startswith("#"):
            package = ""
        elif package and (row := re.match(r"\| ((?:`[\w.]+/?` ?)+)\|", line)):
            rooms = re.findall(r"`([\w.]+?)(?:\.py|/)`", row[1])
            houses[package].append(set(rooms))
    return houses


HOUSES = drawn()


@pytest.mark.parametrize("package", HOUSES)
def test_every_room_is_on_the_page_once(package: str) -> None:
    rooms = [room for layer in HOUSES[package] for room in layer]
    assert sorted(rooms) == sorted(
        child.rpartition(".")[2] for child in imports().find_children(package)
    )


@pytest.mark.parametrize("package", HOUSES)
def test_a_room_imports_only_from_the_layers_below_it(package: str) -> None:
    illegal = imports().find_illegal_dependencies_for_layers(
        layers=[grimp.Layer(*layer, independent=False) for layer in HOUSES[package]],
        containers={package},
    )
    assert not [
        f"{dependency.importer} imports {dependency.imported}: "
        + ", ".join(sorted(next(iter(route.heads)) for route in dependency.routes))
        for dependency in illegal
    ]


def test_every_file_that_the_page_names_is_there() -> None:
    named = set(re.findall(r"`((?:ipc|supervisor|modules)/[\w/]+(?:\.py|/))`", PAGE.read_text()))
    assert len(named) > 20
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


def test_no_files_import_each_other_in_a_circle() -> None:
    assert list(circles()) == []


def circles() -> Iterator[list[str]]:
    """Yield the strongly connected files, packages' faces left out (Tarjan's algorithm)."""
    graph = imports()
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    path: list[str] = []

    def visit(file: str) -> Iterator[list[str]]:
        number[file] = low[file] = len(number)
        path.append(file)
        for imported in graph.find_modules_directly_imported_by(file):
            if imported not in number:
                yield from visit(imported)
            if imported in path:
                low[file] = min(low[file], low[imported])
        if low[file] == number[file]:
            circle = path[path.index(file) :]
            del path[path.index(file) :]
            if len(circle) > 1:
                yield sorted(circle)

    for file in sorted(graph.modules):
        if file not in number:
            yield from visit(file)


def test_a_conftest_has_fixtures_alone() -> None:
    """What test files import is in a module with a name of its own."""
    importing = re.compile(r"(?m)^\s*(from|import) [\w.]*\bconftest\b")
    files = [*(ROOT / "tests").rglob("*.py"), *(ROOT / "bench").rglob("*.py")]
    assert len(files) > 100
    assert not [str(file) for file in files if importing.search(file.read_text())]


@pytest.mark.parametrize("package", HOUSES)
def test_a_public_class_has_a_name_of_its_own_in_its_package(package: str) -> None:
    """Except in the rooms of versions and of message forms, which mirror each other."""
    files: dict[str, list[str]] = {}
    for path in ROOT.joinpath(*package.split(".")).rglob("*.py"):
        parts = path.relative_to(ROOT).parts
        if not any(part.startswith(("v1", "wire")) for part in parts):
            for name in re.findall(r"^class ([A-Z]\w*)", path.read_text(), re.MULTILINE):
                files.setdefault(name, []).append("/".join(parts))
    assert not {name: places for name, places in files.items() if len(places) > 1}
