"""deploy/monitoring: valid, and about metrics that cloudcore exports; each alert is explained."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from docs.generate.metrics import Family, families
from supervisor.unit.restart_policy import Cause
from supervisor.unit.states import State

ROOT = Path(__file__).parents[2]
MONITORING = ROOT / "deploy" / "monitoring"
RULES = MONITORING / "cloudcore.rules.yaml"
UNIT_TESTS = MONITORING / "cloudcore.rules.test.yaml"
DASHBOARD = json.loads((MONITORING / "cloudcore.dashboard.json").read_text())
ALERTS = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
SAMPLES: dict[str, Family] = {sample: f for f in families() for sample in f.samples}

#: Labels that Prometheus adds, and that of a histogram's buckets.
ADDED = {"job", "instance", "le"}


def panels() -> Iterator[dict[str, Any]]:
    yield from (panel for panel in DASHBOARD["panels"] if panel["type"] != "row")


EXPRESSIONS = {
    **{rule["alert"]: rule["expr"] for rule in ALERTS},
    **{
        f"{panel['title']} {target['refId']}": target["expr"]
        for panel in panels()
        for target in panel["targets"]
    },
}


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_a_query_names_metrics_and_labels_that_exist(name: str) -> None:
    query = EXPRESSIONS[name]
    named = re.findall(r"\bcloudcore_\w+", query)
    assert named or query.startswith("absent(up")
    assert not [metric for metric in named if metric not in SAMPLES]
    known = {label for metric in named for label in SAMPLES[metric].labels} | ADDED
    labels = set(re.findall(r'(\w+)\s*(?:=~|!~|!=|=)\s*"', query))
    for listed in re.findall(r"\b(?:by|on)\s*\(([^)]*)\)", query):
        labels |= {label.strip() for label in listed.split(",")}
    assert labels <= known


def test_values_of_labels_are_those_of_the_code() -> None:
    text = RULES.read_text()
    assert set(re.findall(r'state="(\w+)"', text)) <= set(State)
    (causes,) = re.findall(r'cause!~"([^"]+)"', text)
    assert set(causes.split("|")) < set(Cause)


def test_each_alert_is_explained_and_nothing_else_is() -> None:
    page = (ROOT / "docs" / "howto" / "alerts.md").read_text()
    assert re.findall(r"^### (Cloudcore\w+)$", page, re.MULTILINE) == [
        rule["alert"] for rule in ALERTS
    ]
    for rule in ALERTS:
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert {"summary", "description"} <= rule["annotations"].keys()


def test_the_dashboard_is_whole() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    assert all(panel["description"] for panel in panels())
    taken = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
    named = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    assert set(re.findall(r"\$\{?([a-z]+)", json.dumps(DASHBOARD["panels"]))) <= named


@pytest.mark.skipif(not shutil.which("promtool"), reason="there is no promtool here")
@pytest.mark.parametrize("command", [("rules", RULES), ("unit tests", UNIT_TESTS)], ids=str)
def test_promtool_accepts_it(command: tuple[str, Path]) -> None:
    kind, path = command
    words = ("check", "rules") if kind == "rules" else ("test", "rules")
    done = subprocess.run(
        ["promtool", *words, path], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(not shutil.which("promtool"), reason="there is no promtool here")
def test_promtool_accepts_the_queries_of_the_dashboard(tmp_path: Path) -> None:
    """As rules, once the dashboard's variables have values."""
    rules = [
        {
            "record": f"query:{number}",
            "expr": query.replace("$job", ".*").replace("$instance", ".*"),
        }
        for number, query in enumerate(EXPRESSIONS.values())
    ]
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    command = ("promtool", "check", "rules", path)
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
