"""Each table of results has the command that repeats it, which exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.pages import ROOT

TEXT = (ROOT / "docs" / "performance.md").read_text()
COMMAND = re.compile(
    r"`(?:make (bench-[\w-]+)(?: ARGS=\"([^\"]*)\")?|python -m (bench[\w.]+)([^`]*))`"
)


def module_of(target: str) -> str:
    """Return the module that a target of the Makefile runs."""
    rule = re.search(rf"^{target}:.*\n\t@\$\(BIN\)/python -m ([\w.]+)", MAKEFILE, re.MULTILINE)
    assert rule, f"no target {target}"
    return rule[1]


MAKEFILE = (ROOT / "Makefile").read_text()


def source_of(module: str) -> str:
    path = ROOT / Path(*module.split("."))
    return (path / "__main__.py" if path.is_dir() else path.with_suffix(".py")).read_text()


def test_each_section_with_a_table_has_a_command() -> None:
    sections = TEXT.split("\n## ")[1:]
    assert len(sections) > 5
    for section in sections:
        before = section.partition("\n|---")[0]
        assert "\n|---" not in section or COMMAND.search(before), section.partition("\n")[0]


@pytest.mark.parametrize("found", COMMAND.findall(TEXT), ids=lambda found: found[0] or found[2])
def test_each_command_exists_with_its_options(found: tuple[str, str, str, str]) -> None:
    target, arguments, module, options = found
    source = source_of(module or module_of(target))
    for option in re.findall(r"--[\w-]+", arguments + options):
        assert f'"{option}"' in source, option
