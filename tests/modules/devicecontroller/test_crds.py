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
NAMES = ("devices", "devicemodels", "devicestatuses", "objectsyncs", "clusterobjectsyncs")
VERSIONS = {
    "devices": ["v1beta1", "v1alpha1"],
    "devicemodels": ["v1beta1", "v1alpha1"],
    "devicestatuses": ["v1beta1"],
}


def crd(plural: str) -> dict[str, Any]:
    (path,) = CRDS.glob(f"*_{plural}.yaml")
    found: dict[str, Any] = yaml.safe_load(path.read_text())
    return found


def versions_of(plural: str) -> dict[str, dict[str, Any]]:
    return {version["name"]: version for version in crd(plural)["spec"]["versions"]}


def schemas_of(plural: str) -> list[dict[str, Any]]:
    return [version["schema"]["openAPIV3Schema"] for version in versions_of(plural).values()]


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
    versions = found["spec"]["versions"]
    assert [each["name"] for each in versions] == VERSIONS.get(plural, ["v1alpha1"])
    assert all(each["served"] for each in versions)
    assert [each["storage"] for each in versions] == [True, *[False] * (len(versions) - 1)]


@pytest.mark.parametrize("plural", NAMES)
def test_schema_is_structural(plural: str) -> None:
    """The rules of apiextensions.k8s.io/v1: a type everywhere, arrays with their items."""
    for path, schema in (each for given in schemas_of(plural) for each in nodes(given)):
        free = schema.get("x-kubernetes-preserve-unknown-fields", False)
        assert free or schema.get("type"), path
        assert ("items" in schema) == (schema.get("type") == "array"), path
        assert not ("properties" in schema and "additionalProperties" in schema), path
        assert set(schema.get("required", ())) <= set(schema.get("properties", ())), path
        for key in schema.get("x-kubernetes-list-map-keys", ()):
            assert key in schema["items"]["required"], path


@pytest.mark.parametrize("plural", NAMES)
def test_printer_columns_name_what_is_there(plural: str) -> None:
    columns = [
        (version["schema"]["openAPIV3Schema"], column)
        for version in versions_of(plural).values()
        for column in version["additionalPrinterColumns"]
    ]
    for schema, column in columns:
        found = schema
        path = re.sub(r"\[.*?\)?\]", ".[]", column["jsonPath"])
        for step in path.split(".")[1:]:
            if step == "[]":
                found = found["items"]
            elif step == "conditions" and "conditions" not in found["properties"]:
                assert found["x-kubernetes-preserve-unknown-fields"]
                break
            elif found.get("properties"):
                found = found["properties"][step]
            else:
                assert column["jsonPath"].startswith(".metadata.")
                break


def test_a_device_of_v1alpha1_has_a_status_subresource() -> None:
    versions = versions_of("devices")
    assert versions["v1alpha1"]["subresources"] == {"status": {}}
    assert "subresources" not in versions["v1beta1"]  # as in KubeEdge's own


def test_command_prints_what_kubectl_takes() -> None:
    printed = CliRunner().invoke(crds_command, []).output
    assert list(yaml.safe_load_all(printed)) == [crd(plural) for plural in NAMES]
    assert "# KubeEdge's own of v1alpha1 has no status subresource" in printed


def test_variant_differs_by_the_subresource_alone() -> None:
    printed = CliRunner().invoke(crds_command, ["--without-status-subresource"]).output
    devices, *others = yaml.safe_load_all(printed)
    assert others == [crd(plural) for plural in NAMES[1:]]
    (version,) = (each for each in devices["spec"]["versions"] if each["name"] == "v1alpha1")
    version["subresources"] = {"status": {}}
    assert devices == crd("devices")
