"""The parts of the reference that are made from the code have all of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click
import pytest
import tomli
from prometheus_client.parser import text_string_to_metric_families

from docs.generate import MARK, PARTS, commands, configuration, fill, metrics
from supervisor import client
from supervisor.admin.routes import ROUTES
from supervisor.config.loading import default_file
from tests.docs.pages import ROOT
from tests.support.running import Running

PAGES = sorted((ROOT / "docs").rglob("*.md"))


def keys(tree: dict[str, Any], table: str = "") -> list[str]:
    found = []
    for name, value in tree.items():
        inner = keys(value, f"{table}{name}.") if isinstance(value, dict) else [f"{table}{name}"]
        found += inner
    return found


def test_every_part_is_on_a_page_and_every_mark_is_filled() -> None:
    marked = {name for page in PAGES for name in MARK.findall(page.read_text())}
    assert marked == set(PARTS)
    with pytest.raises(KeyError):
        fill("<!-- generated: nothing -->")


def test_configuration_has_every_key_with_type_default_and_meaning() -> None:
    tables = configuration.read(default_file().read_text())
    written = [f"{each.name}.{key}" for each in tables for key in each.keys]
    assert written == keys(tomli.loads(default_file().read_text()))
    assert all(meaning for each in tables for _, meaning in each.keys.values())
    text = configuration.render()
    assert len(re.findall(r"^`\w+ = .+`$", text, re.MULTILINE)) == len(written)
    assert len(re.findall(r"^: .+ \(allowed: .+\)$", text, re.MULTILINE)) == len(written)
    assert "`port = 10000`" in text
    assert "(allowed: an integer from 0 to 65535)" in text


def test_commands_have_every_command_and_option() -> None:
    text = commands.render()
    for context in commands.contexts():
        section = text.partition(f"\n## {context.command_path}\n")[2].partition("\n## ")[0]
        if context.parent is None:
            section = text.partition("\n## cloudcore ")[0]
        assert context.command.help
        for parameter in context.command.params:
            named = [parameter.make_metavar(context)]
            if isinstance(parameter, click.Option):
                named = parameter.opts
            assert all(each in section for each in named), parameter
    assert not re.search(r"^: *$", text, re.MULTILINE), "an option without a help text"


def test_metrics_are_those_that_a_running_cloudcore_exports(tmp_path: Path) -> None:
    known = {family.name: family for family in metrics.families()}
    with Running(tmp_path, "good") as running:
        running.ready("good")
        text = client.text(running.admin_socket, "/metrics")
    exported = {
        f"{each.name}_total" if each.type == "counter" else each.name: each
        for each in text_string_to_metric_families(text)
    }
    assert exported.keys() <= known.keys()
    assert {name for name in known if re.match("cloudcore_(up|module|channel|send)", name)} <= (
        exported.keys() | {"cloudcore_module_restarts_total"}
    )
    for name, family in exported.items():
        assert family.type == known[name].kind
        for sample in family.samples:
            assert sample.labels.keys() - {"le"} == set(known[name].labels), sample


def test_metrics_of_every_module_are_there() -> None:
    named = {family.name for family in metrics.families()}
    for file in (ROOT / "modules").rglob("metrics.py"):
        for name in re.findall(r'"(cloudcore_\w+)"', file.read_text()):
            assert name in named, name


def test_the_http_api_has_every_route_and_every_type_that_it_links_to() -> None:
    text = PARTS["http-api"]()
    for route in ROUTES:
        assert f"`{route.method} {route.path}`" in text
    headings = {name.lower() for name in re.findall(r"^### (\w+)$", text, re.MULTILINE)}
    assert set(re.findall(r"\]\(#(\w+)\)", text)) <= headings
