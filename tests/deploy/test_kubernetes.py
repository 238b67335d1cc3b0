"""deploy/kubernetes and its overlay with replicas: whole in themselves, and accepted by an API."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tomli
import yaml

from modules.common.pki.certificates import Pki
from supervisor.config import Configuration, load
from supervisor.config.references import bad_references, settings_of
from supervisor.host.paths import Paths
from tests.support.apiserver import embedded_apiserver
from tests.support.kubectl import program

ROOT = Path(__file__).parents[2]
BASE = ROOT / "deploy" / "kubernetes"
#: What the embedded API server does not serve.
UNSERVED = {
    "ClusterRole", "ClusterRoleBinding", "Deployment", "NetworkPolicy", "Role", "RoleBinding",
    "PodDisruptionBudget",
}  # fmt: skip
REPLICAS = ROOT / "deploy" / "overlays" / "replicas"

#: The address of a pod, and the seconds after which an edge dials again: twice its heartbeat.
POD = "10.244.1.7"
REDIAL = 30

Object = dict[str, Any]


def kubectl(*words: str | Path) -> str:
    done = subprocess.run(
        [program(), *words], capture_output=True, text=True, timeout=50, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def rendered(directory: Path) -> list[Object]:
    return list(yaml.safe_load_all(kubectl("kustomize", directory)))


@pytest.fixture(scope="module")
def base() -> list[Object]:
    return rendered(BASE)


@pytest.fixture(scope="module")
def replicas() -> list[Object]:
    return rendered(REPLICAS)


@pytest.fixture(params=["base", "replicas"])
def objects(request: pytest.FixtureRequest) -> list[Object]:
    found: list[Object] = request.getfixturevalue(request.param)
    return found


def one(objects: list[Object], kind: str, name: str = "cloudcore") -> Object:
    (found,) = (o for o in objects if o["kind"] == kind and o["metadata"]["name"] == name)
    return found


def pod(objects: list[Object]) -> Object:
    return one(objects, "Deployment")["spec"]["template"]


def config_map(objects: list[Object]) -> Object:
    (found,) = (each for each in objects if each["kind"] == "ConfigMap")
    return found


def configured(objects: list[Object], directory: Path) -> Configuration:
    """Return the configuration of a pod, which gets its name and address from Kubernetes."""
    file = directory / "cloudcore.toml"
    file.write_text(config_map(objects)["data"]["cloudcore.toml"])
    fields = {"metadata.name": "cloudcore-7d-x", "status.podIP": POD}
    environ = {
        each["name"]: each.get("value") or fields[each["valueFrom"]["fieldRef"]["fieldPath"]]
        for each in container(objects)["env"]
        if each["name"].startswith("CLOUDCORE_")
    }
    return load(file, environ=environ)


def container(objects: list[Object]) -> Object:
    (found,) = pod(objects)["spec"]["containers"]
    return found


def test_everything_is_in_the_namespace_or_in_none(objects: list[Object]) -> None:
    kinds = {each["kind"] for each in objects}
    needed = UNSERVED - {"PodDisruptionBudget"}
    assert {"Namespace", "CustomResourceDefinition", "Service", *needed} <= kinds
    for each in objects:
        assert each["metadata"].get("namespace", "kubeedge") == "kubeedge", each


def test_the_configuration_is_valid_and_its_ports_are_those_of_the_pod(
    objects: list[Object], tmp_path: Path
) -> None:
    config = config_map(objects)
    assert {"name": config["metadata"]["name"]} == next(
        each["configMap"] for each in pod(objects)["spec"]["volumes"] if "configMap" in each
    )
    configuration = configured(objects, tmp_path)
    assert configuration.kubernetes.in_cluster
    ports = {each["name"]: each["containerPort"] for each in container(objects)["ports"]}
    (hub,) = (each for each in configuration.modules if each.name == "cloudhub")
    names = {"edges": "websocket", "joining": "https", "replicas": "replicas"}
    settings = settings_of(configuration, Paths(tmp_path, tmp_path))
    listeners = hub.cls.listeners(hub.config, settings)
    assert ports.pop("admin") == 9090
    assert {names[name]: port for name, port in ports.items()} == {
        name: listener.port for name, listener in listeners.items()
    }
    faults = bad_references(configuration, Paths(tmp_path, tmp_path))
    # The token is there in a pod alone.
    assert [fault for fault in faults if "serviceaccount/token" not in str(fault)] == []
    assert configuration.admin.address == "0.0.0.0:9090"
    grace = pod(objects)["spec"]["terminationGracePeriodSeconds"]
    assert configuration.supervisor.shutdown_timeout < grace
    spread, closing = hub.config.model_dump()["stop_spread"], 3.0
    assert spread + closing < hub.supervision.stop_timeout
    assert hub.supervision.stop_timeout < configuration.supervisor.shutdown_timeout
    assert tomli.loads(config["data"]["cloudcore.toml"])["modules"]["enabled"]


def test_what_is_named_exists(objects: list[Object]) -> None:
    labels = pod(objects)["metadata"]["labels"].items()
    ports = {each["name"] for each in container(objects)["ports"]}
    for service in (each for each in objects if each["kind"] == "Service"):
        assert service["spec"]["selector"].items() <= labels
        assert {each["targetPort"] for each in service["spec"]["ports"]} <= ports
    policy = one(objects, "NetworkPolicy")["spec"]
    assert policy["podSelector"]["matchLabels"].items() <= labels
    assert {p["port"] for rule in policy["ingress"] for p in rule["ports"]} == ports
    for rule in policy["ingress"]:
        for source in rule.get("from", []):
            if "podSelector" in source:
                assert source["podSelector"]["matchLabels"].items() <= labels
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        assert container(objects)[probe]["httpGet"]["port"] in ports
    volumes = {each["name"] for each in pod(objects)["spec"]["volumes"]}
    assert {each["name"] for each in container(objects)["volumeMounts"]} == volumes
    claims = [
        each["persistentVolumeClaim"]["claimName"]
        for each in pod(objects)["spec"]["volumes"]
        if "persistentVolumeClaim" in each
    ]
    claimed = [one(objects, "PersistentVolumeClaim", name) for name in claims]
    assert claimed == [each for each in objects if each["kind"] == "PersistentVolumeClaim"]
    account = one(objects, "ServiceAccount", pod(objects)["spec"]["serviceAccountName"])
    bindings = [each for each in objects if each["kind"].endswith("Binding")]
    roles = [each for each in objects if each["kind"] in ("Role", "ClusterRole")]
    assert len(roles) == len(bindings)
    for binding in bindings:
        (subject,) = binding["subjects"]
        assert subject["name"] == account["metadata"]["name"]
        assert one(objects, binding["roleRef"]["kind"], binding["roleRef"]["name"])


def test_one_replica(base: list[Object]) -> None:
    spec = one(base, "Deployment")["spec"]
    assert (spec["replicas"], spec["strategy"]["type"]) == (1, "Recreate")


def test_three_replicas_that_are_replaced_one_by_one(
    replicas: list[Object], tmp_path: Path
) -> None:
    spec = one(replicas, "Deployment")["spec"]
    assert spec["replicas"] == 3
    assert spec["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
    }
    assert spec["minReadySeconds"] > REDIAL
    labels = pod(replicas)["metadata"]["labels"].items()
    budget = one(replicas, "PodDisruptionBudget")["spec"]
    assert budget["maxUnavailable"] == 1
    assert budget["selector"]["matchLabels"].items() <= labels
    for spread in pod(replicas)["spec"]["topologySpreadConstraints"]:
        assert spread["labelSelector"]["matchLabels"].items() <= labels
    service = one(replicas, "Service")["spec"]
    assert service["sessionAffinity"] == "None"
    assert "replicas" not in {each["targetPort"] for each in service["ports"]}
    configuration = configured(replicas, tmp_path)
    assert (configuration.replicas.name, configuration.replicas.address) == ("cloudcore-7d-x", POD)
    records = {each.name: getattr(each.config, "record", None) for each in configuration.modules}
    assert records["edgecontroller"] == records["devicecontroller"] == "objectsync"
    # No replica has anything that another one needs, and none is bound to a machine.
    assert not [each for each in replicas if each["kind"] == "PersistentVolumeClaim"]
    granted = {each["metadata"]["name"] for each in replicas if each["kind"] == "ClusterRole"}
    assert granted == {"cloudcore", "cloudcore-replicas", "cloudcore-record-in-objectsyncs"}


def test_a_pod_is_confined(objects: list[Object]) -> None:
    inside = container(objects)["securityContext"]
    assert inside["capabilities"] == {"drop": ["ALL"]}
    assert inside["readOnlyRootFilesystem"]
    assert not inside["allowPrivilegeEscalation"]
    outside = pod(objects)["spec"]["securityContext"]
    assert outside["runAsNonRoot"]
    image = (ROOT / "deploy" / "Containerfile").read_text()
    assert f"USER {outside['runAsUser']}\n" in image
    user, group = outside["runAsUser"], outside["runAsGroup"]
    assert f"useradd --uid {user} --gid {group} " in image
    assert outside["fsGroup"] == group


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
