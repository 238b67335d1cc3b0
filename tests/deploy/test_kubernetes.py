"""deploy/kubernetes: rendered by kubectl, whole in itself, and accepted by an API server."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tomli
import yaml

from modules.common.pki.certificates import Pki
from supervisor.config import load
from tests.support.apiserver import embedded_apiserver

ROOT = Path(__file__).parents[2]
BASE = ROOT / "deploy" / "kubernetes"
#: What the embedded API server does not serve.
UNSERVED = {
    "ClusterRole", "ClusterRoleBinding", "Deployment", "NetworkPolicy", "Role", "RoleBinding",
}  # fmt: skip

Object = dict[str, Any]


def kubectl(*words: str | Path) -> str:
    beside = Path(sys.executable).parent / "kubectl"
    program = str(beside) if beside.exists() else shutil.which("kubectl")
    assert program, "kubectl is missing: set up with `make kubectl`"
    done = subprocess.run(
        [program, *words], capture_output=True, text=True, timeout=50, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def rendered(directory: Path) -> list[Object]:
    return list(yaml.safe_load_all(kubectl("kustomize", directory)))


@pytest.fixture(scope="module")
def objects() -> list[Object]:
    return rendered(BASE)


def one(objects: list[Object], kind: str, name: str = "cloudcore") -> Object:
    (found,) = (o for o in objects if o["kind"] == kind and o["metadata"]["name"] == name)
    return found


def pod(objects: list[Object]) -> Object:
    return one(objects, "Deployment")["spec"]["template"]


def container(objects: list[Object]) -> Object:
    (found,) = pod(objects)["spec"]["containers"]
    return found


def test_everything_is_in_the_namespace_or_in_none(objects: list[Object]) -> None:
    kinds = {each["kind"] for each in objects}
    assert {"Namespace", "CustomResourceDefinition", "PersistentVolumeClaim", *UNSERVED} <= kinds
    for each in objects:
        assert each["metadata"].get("namespace", "kubeedge") == "kubeedge", each


def test_the_configuration_is_valid_and_its_ports_are_those_of_the_pod(
    objects: list[Object], tmp_path: Path
) -> None:
    (config,) = (each for each in objects if each["kind"] == "ConfigMap")
    assert {"name": config["metadata"]["name"]} == next(
        each["configMap"] for each in pod(objects)["spec"]["volumes"] if "configMap" in each
    )
    file = tmp_path / "cloudcore.toml"
    file.write_text(config["data"]["cloudcore.toml"])
    configuration = load(file, environ={})
    assert configuration.kubernetes.in_cluster
    ports = {each["name"]: each["containerPort"] for each in container(objects)["ports"]}
    (hub,) = (each.config.model_dump() for each in configuration.modules if each.name == "cloudhub")
    assert ports == {"edges": hub["port"], "joining": hub["https_port"], "admin": 9090}
    assert configuration.admin.address == "0.0.0.0:9090"
    grace = pod(objects)["spec"]["terminationGracePeriodSeconds"]
    assert configuration.supervisor.shutdown_timeout < grace
    assert tomli.loads(file.read_text())["modules"]["enabled"]


def test_what_is_named_exists(objects: list[Object]) -> None:
    labels = pod(objects)["metadata"]["labels"].items()
    ports = {each["name"] for each in container(objects)["ports"]}
    for service in (each for each in objects if each["kind"] == "Service"):
        assert service["spec"]["selector"].items() <= labels
        assert {each["targetPort"] for each in service["spec"]["ports"]} <= ports
    policy = one(objects, "NetworkPolicy")["spec"]
    assert policy["podSelector"]["matchLabels"].items() <= labels
    assert {p["port"] for rule in policy["ingress"] for p in rule["ports"]} == ports
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        assert container(objects)[probe]["httpGet"]["port"] in ports
    volumes = {each["name"] for each in pod(objects)["spec"]["volumes"]}
    assert {each["name"] for each in container(objects)["volumeMounts"]} == volumes
    claims = [
        each["persistentVolumeClaim"]["claimName"]
        for each in pod(objects)["spec"]["volumes"]
        if "persistentVolumeClaim" in each
    ]
    assert [one(objects, "PersistentVolumeClaim", name) for name in claims]
    account = one(objects, "ServiceAccount", pod(objects)["spec"]["serviceAccountName"])
    for binding in (each for each in objects if each["kind"].endswith("Binding")):
        (subject,) = binding["subjects"]
        assert subject["name"] == account["metadata"]["name"]
        assert one(objects, binding["roleRef"]["kind"], binding["roleRef"]["name"])


def test_one_replica_that_is_confined(objects: list[Object]) -> None:
    spec = one(objects, "Deployment")["spec"]
    assert (spec["replicas"], spec["strategy"]["type"]) == (1, "Recreate")
    inside = container(objects)["securityContext"]
    assert inside["capabilities"] == {"drop": ["ALL"]}
    assert inside["readOnlyRootFilesystem"]
    assert not inside["allowPrivilegeEscalation"]
    outside = pod(objects)["spec"]["securityContext"]
    assert outside["runAsNonRoot"]
    user = f"USER {outside['runAsUser']}\n"
    assert user in (ROOT / "deploy" / "Containerfile").read_text()


def test_the_component_adds_a_service_monitor_of_a_service_that_exists(tmp_path: Path) -> None:
    copy = tmp_path / "deploy"
    shutil.copytree(ROOT / "deploy", copy, ignore=shutil.ignore_patterns("__pycache__"))
    overlay = tmp_path / "overlay"
    overlay.mkdir()
    (overlay / "kustomization.yaml").write_text(
        "resources: [../deploy/kubernetes]\n"
        "components: [../deploy/kubernetes/prometheus-operator]\n"
        "images: [{name: cloudcore, newName: example.com/cloudcore, newTag: 1.2.3}]\n"
    )
    objects = rendered(overlay)
    assert container(objects)["image"] == "example.com/cloudcore:1.2.3"
    monitor = one(objects, "ServiceMonitor")["spec"]
    admin = one(objects, "Service", "cloudcore-admin")
    assert monitor["selector"]["matchLabels"].items() <= admin["metadata"]["labels"].items()
    (endpoint,) = monitor["endpoints"]
    assert endpoint["port"] in {each["name"] for each in admin["spec"]["ports"]}
    others = [
        each
        for each in objects
        if each["kind"] == "Service"
        and monitor["selector"]["matchLabels"].items() <= each["metadata"]["labels"].items()
    ]
    assert others == [admin], "one of them would be scraped twice"


def served(objects: list[Object]) -> Iterator[Object]:
    yield from (each for each in objects if each["kind"] not in UNSERVED)


@pytest.mark.timeout(90)
async def test_an_api_server_accepts_what_it_serves(
    objects: list[Object], tmp_path: Path, pki: Pki
) -> None:
    files = tmp_path / "served.yaml"
    files.write_text(yaml.safe_dump_all(served(objects)))
    async with embedded_apiserver(tmp_path, pki) as (kubeconfig, _):
        for verb in ("created", "unchanged"):
            said = await asyncio.to_thread(
                kubectl, "--kubeconfig", kubeconfig, "apply", "-f", files
            )
            lines = [line for line in said.splitlines() if "customresourcedefinition" not in line]
            assert lines
            assert all(line.endswith((verb, "configured")) for line in lines), said
