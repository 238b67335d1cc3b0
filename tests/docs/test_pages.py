"""The commands of the README and of the documentation, run on a machine of their own."""

from __future__ import annotations

import re

import pytest

from modules.common.edge_versions import NEWEST, OLDEST_TODAY
from tests.docs.pages import ROOT, Machine, can_be_made, matches, read

#: Their commands and code are tested in tests/test_tutorial.py and tests/test_howto_takeover.py.
ELSEWHERE = {"docs/tutorial/module", "docs/howto/takeover"}
PAGES = [
    str(path.relative_to(ROOT).with_suffix(""))
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
    if path.stem != "index" and re.search(r"^ *```(sh|console)$", path.read_text(), re.MULTILINE)
]
#: Their commands are for the directory of a checkout.
IN_A_CHECKOUT = {"README"}


@pytest.mark.skipif(not can_be_made(), reason="needs the right to make namespaces")
@pytest.mark.timeout(240)
@pytest.mark.parametrize("name", sorted(set(PAGES) - ELSEWHERE))
def test_the_commands_do_what_the_page_says(name: str) -> None:
    page = read((ROOT / f"{name}.md").read_text())
    assert page.steps or page.not_run
    with Machine() as machine:
        if name in IN_A_CHECKOUT:
            machine.run(f"cd {ROOT}")
        for step in page.steps:
            if step.stays:
                machine.stay(step.command, step.stays)
                continue
            printed = machine.run(step.command)
            if step.output is not None:
                shown = "\n".join([f"$ {step.command}", *printed])
                assert matches(step.output, printed), f"{shown}\nis not, in form,\n{step.output}"


@pytest.mark.parametrize(
    ("expected", "printed", "same"),
    [
        (["pod/a created"], ["pod/a created"], True),
        (["pod/a created"], ["pod/b created"], False),
        (["edge-1   Ready   12s"], ["edge-1 Ready 1m2s"], True),
        (["edge-1   Ready   12s"], ["edge-1 NotReady 1m2s"], False),
        (["pid 13, 70.5 MiB"], ["pid 4711, 8 MiB"], True),
        (["a … z"], ["a b c z"], True),
        (["a", "...", "z"], ["a", "b", "c", "z"], True),
        (["a", "...", "z"], ["a", "b", "c"], False),
        (["a"], ["a", "b"], False),
        (["stopped"], ["waiting for module apiserver to stop ...", "stopped"], True),
        ([], ["a"], False),
    ],
)
def test_output_is_compared_in_form(expected: list[str], printed: list[str], same: bool) -> None:
    assert matches(expected, printed) == same


@pytest.mark.parametrize("name", ["README", "tutorial/real-edge", "howto/takeover", "howto/tuning"])
def test_a_page_names_the_edges_that_are_served(name: str) -> None:
    path = ROOT / "README.md" if name == "README" else ROOT / "docs" / f"{name}.md"
    assert f"{OLDEST_TODAY} to {NEWEST}" in " ".join(path.read_text().split())
