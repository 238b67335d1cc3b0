"""deploy/crds: structural, with all that KubeEdge 1.1's have, and true to their samples."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from modules.common.crds.cli import crds as crds_command

CRDS = Path(__file__).parents[3] / "deploy" / "crds"
NAMES = ("devices", "devicemodels", "objectsyncs", "clusterobjectsyncs")


def crd(plural: str) -> dict[str, Any]:
    (path,) = CRDS.glob(f"*_{plural}.yaml")
    found: dict[str, Any] = yaml.safe_load(path.read_text())
    return found


def schema_of(plural: str) -> dict[str, Any]:
    (version,) = crd(plural)["spec"]["versions"]
    schema: dict[str, Any] = version["schema"]["openAPIV3Schema"]
    return schema


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, inner in schema.get("properties", {}).items():
        yield from nodes(inner, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield from nodes(schema[key], f"{path}.{key}")


@pytest.mark.parametrize("plural", NAMES)
def test_names(plural: str) -> None:
    found = crd(plural)
    assert found["apiVersion"] == "apiextensions.k8s.io/v1"
    assert found["metadata"]["name"] == f"{plural}.{found['spec']['group']}"
    assert found["spec"]["scope"] == ("Cluster" if "cluster" in plural else "Namespaced")
    (version,) = found["spec"]["versions"]
    assert (version["name"], version["served"], version["storage"]) == ("v1alpha1", True, True)


@pytest.mark.parametrize("plural", NAMES)
def test_schema_is_structural(plural: str) -> None:
    """The rules of apiextensions.k8s.io/v1: a type everywhere, arrays with their items."""
    for path, schema in nodes(schema_of(plural)):
        free = schema.get("x-kubernetes-preserve-unknown-fields", False)
        assert free or schema.get("type"), path
        assert ("items" in schema) == (schema.get("type") == "array"), path
        assert not ("properties" in schema and "additionalProperties" in schema), path
        assert set(schema.get("required", ())) <= set(schema.get("properties", ())), path
        for key in schema.get("x-kubernetes-list-map-keys", ()):
            assert key in schema["items"]["required"], path


@pytest.mark.parametrize("plural", NAMES)
def test_printer_columns_name_what_is_there(plural: str) -> None:
    schema = schema_of(plural)
    (version,) = crd(plural)["spec"]["versions"]
    for column in version["additionalPrinterColumns"]:
        found = schema
        path = re.sub(r"\[.*?\)?\]", ".[]", column["jsonPath"])
        for step in path.split(".")[1:]:
            if step == "[]":
                found = found["items"]
            elif found.get("properties"):
                found = found["properties"][step]
            else:
                assert column["jsonPath"].startswith(".metadata.")
                break


def test_device_has_a_status_subresource() -> None:
    (version,) = crd("devices")["spec"]["versions"]
    assert version["subresources"] == {"status": {}}


def test_command_prints_what_kubectl_takes() -> None:
    printed = CliRunner().invoke(crds_command, []).output
    assert list(yaml.safe_load_all(printed)) == [crd(plural) for plural in NAMES]
    assert "# KubeEdge's own has no status subresource" in printed


def test_variant_differs_by_the_subresource_alone() -> None:
    printed = CliRunner().invoke(crds_command, ["--without-status-subresource"]).output
    devices, *others = yaml.safe_load_all(printed)
    assert others == [crd(plural) for plural in NAMES[1:]]
    (version,) = devices["spec"]["versions"]
    version["subresources"] = {"status": {}}
    assert devices == crd("devices")
