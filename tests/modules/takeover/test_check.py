"""`cloudcore takeover check`: each of its checks, well and wrong, against the embedded API."""

from __future__ import annotations

import json
import socket
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from modules.common.crds import manifests
from modules.common.kube import (
    CONFIGMAPS,
    CUSTOMRESOURCEDEFINITIONS,
    DEVICEMODELS_V1BETA1,
    DEVICES,
    DEVICES_V1BETA1,
    LEASES,
    NODES,
    OBJECTSYNCS,
    PODS,
    Forbidden,
    KubeClient,
)
from modules.common.kube.kinds import DAEMONSETS, DEPLOYMENTS, Resource
from modules.common.kubeedge_secrets import authority_data, create_secret, write_secret
from modules.common.pki import signing
from modules.common.pki.authority import AuthorityFiles, new_authority, write_authority
from modules.common.pki.certificates import Pki
from modules.common.pki.tokens import Claims, make_token
from modules.common.times import format_time, now
from modules.hollow import manifests as samples
from modules.takeover.check import running
from modules.takeover.go_configuration import GoConfiguration
from supervisor.api import Finding
from supervisor.cli.app import cloudcore

from .cluster import Cluster, of_go

API, OURS = "the Kubernetes API", "this cloudcore"
GOS, CA = "KubeEdge's cloudcore", "the CA, and how edges know the cloud"
SENT, FEATURES = "what edges have, and are sent", "what KubeEdge does and cloudcore does not"
BACK = "the way back"


def texts(findings: list[Finding]) -> list[str]:
    return [f"{each.mark}: {each.text}" for each in findings]


async def of(cluster: Cluster, section: str, part: str) -> Finding:
    """Return the one finding that says this."""
    findings = await cluster.findings(section)
    [finding] = [each for each in findings if part in each.text] or [None]
    assert finding, texts(findings)
    return finding


def crd(group: str, plural: str, kind: str, version: str) -> dict[str, Any]:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": plural, "kind": kind, "singular": kind.lower()},
            "versions": [
                {
                    "name": version,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": schema},
                }
            ],
        },
    }


# The cluster and the configuration


async def test_the_api(cluster: Cluster) -> None:
    assert {each.mark for each in await cluster.findings(API)} == {"ok"}


async def test_a_configuration_without_a_cluster(cluster: Cluster) -> None:
    assert [each.mark for each in await cluster.findings(OURS)] == ["ok"]
    cluster.change(is_told_of_cluster=False)
    finding = await of(cluster, OURS, "names no cluster")
    assert finding.mark == "wrong"
    assert finding.command == "cloudcore config convert cloudcore.yaml > cloudcore.toml"


async def test_ports_that_edges_dial(cluster: Cluster) -> None:
    cluster.change(go=of_go(websocket={"port": 10000}))
    assert [each.mark for each in await cluster.findings(OURS)] == ["ok"]
    cluster.change(go=of_go(websocket={"port": 12000}))
    finding = await of(cluster, OURS, "edges dial")
    assert finding.mark == "wrong"
    assert finding.text.startswith("edges dial port 12000, and ours is 10000: set these ports")


# KubeEdge's cloudcore


async def test_nothing_runs(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running.psutil, "process_iter", lambda _: [])
    found = await cluster.findings(GOS)
    assert texts(found) == [
        "ok: no process of KubeEdge's cloudcore runs on this host",
        "ok: the cluster has no Deployment kubeedge/cloudcore",
        "ok: no edge has renewed its lease within 40 s: none is served now",
    ]


class Process:
    def __init__(self, exe: str, *cmdline: str, pid: int = 7) -> None:
        self.info = {"exe": exe, "cmdline": cmdline}
        self.pid = pid


@pytest.mark.parametrize(
    ("process", "is_gos"),
    [
        (Process("/usr/local/bin/cloudcore", "/usr/local/bin/cloudcore"), True),
        (Process("", "/usr/local/bin/cloudcore", "--config=x"), True),
        (Process("/usr/bin/python3.11", "/usr/bin/python3", "/bin/cloudcore", "run"), False),
        (Process("/usr/bin/vi", "vi", "cloudcore"), False),
        (Process(""), False),
    ],
)
@pytest.mark.parametrize(
    ("unit", "stop"),
    [
        ("cloudcore.service", "systemctl disable --now cloudcore.service"),
        ("", "kill 7"),
        ("user@0.service", "kill 7"),
    ],
)
async def test_a_process(
    cluster: Cluster,
    monkeypatch: pytest.MonkeyPatch,
    process: Process,
    is_gos: bool,
    unit: str,
    stop: str,
) -> None:
    monkeypatch.setattr(running.psutil, "process_iter", lambda _: [process])
    text = f"0::/system.slice/{unit}/x\n"
    monkeypatch.setattr(running.Path, "read_text", lambda _: text)
    [finding] = list(running._processes())
    assert finding.mark == ("note" if is_gos else "ok")
    assert finding.command == (stop if is_gos else "")


async def test_an_address_where_it_serves(cluster: Cluster) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        address = {"websocket": {"address": "0.0.0.0", "port": port}, "https": {"port": 1}}
        cluster.change(go=of_go(**address))
        finding = await of(cluster, GOS, "where edges dial")
        assert finding.mark == "note"
        assert finding.text.startswith(f"a cloudcore listens at 127.0.0.1:{port}, where edges")
    finding = await of(cluster, GOS, "nothing listens at")
    assert finding.mark == "ok"


def answer(monkeypatch: pytest.MonkeyPatch, resource: Resource, obj: dict[str, Any]) -> None:
    """Have the API answer with an object of a resource that the embedded one does not serve."""
    get = KubeClient.get

    async def answering(client: KubeClient, asked: Resource, *where: Any) -> Any:
        return obj if asked == resource else await get(client, asked, *where)

    monkeypatch.setattr(KubeClient, "get", answering)


async def test_the_deployment(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    containers = [{"image": "kubeedge/cloudcore:v1.23.1"}]
    spec = {"replicas": 2, "template": {"spec": {"containers": containers}}}
    deployment = {"metadata": {"name": "cloudcore"}, "spec": spec}
    answer(monkeypatch, DEPLOYMENTS, deployment)
    pod = samples.pod("cloudcore-1", "master", "")
    pod["metadata"]["namespace"] = "kubeedge"
    pod["spec"].pop("volumes", None)
    await cluster.api.create(PODS, pod, "kubeedge")
    finding = await of(cluster, GOS, "the Deployment")
    assert finding == Finding.note(
        "the Deployment kubeedge/cloudcore with kubeedge/cloudcore:v1.23.1 has 2 replicas "
        "(cloudcore-1 on master): stop it, keep it",
        "kubectl -n kubeedge scale deployment cloudcore --replicas=0",
    )
    spec["replicas"] = 0
    finding = await of(cluster, GOS, "the Deployment")
    assert (finding.mark, "has 0 replicas" in finding.text) == ("ok", True)


async def test_edges_that_are_served(cluster: Cluster) -> None:
    for name, age in (("a", 5), ("b", 50)):
        await cluster.api.create(NODES, samples.node(name))
        renewed = format_time(now() - timedelta(seconds=age), "microseconds")
        lease = {"metadata": {"name": name}, "spec": {"renewTime": renewed}}
        await cluster.api.create(LEASES, lease, "kube-node-lease")
    finding = await of(cluster, GOS, "served now")
    assert finding == Finding.note("1 of 2 edges are served now: a")


# The CA


def certificate(authority: signing.Authority, *names: str) -> x509.Certificate:
    return signing.sign(
        authority,
        signing.new_key().public_key(),
        signing.subject("KubeEdge", "KubeEdge"),
        ExtendedKeyUsageOID.SERVER_AUTH,
        x509.SubjectAlternativeName([signing.general_name(name) for name in names]),
    )


async def have_secrets(
    api: KubeClient, authority: signing.Authority, *names: str, expires: int = 600
) -> None:
    await write_secret(api, "casecret", authority_data(authority))
    server = certificate(authority, *(names or ("127.0.0.1",)))
    await write_secret(api, "cloudcoresecret", {"cloudcoredata": signing.certificate_der(server)})
    claims = Claims(int(now().timestamp()) + expires)
    await write_secret(api, "tokensecret", {"tokendata": make_token(authority, claims).encode()})


def authority_files(directory: Path, authority: signing.Authority) -> AuthorityFiles:
    directory.mkdir(parents=True)
    files = Pki(directory).authority
    write_authority(files, authority)
    return files


async def test_the_authority_is_taken(cluster: Cluster) -> None:
    authority = new_authority()
    await have_secrets(cluster.api, authority)
    found = await cluster.findings(CA)
    assert [each.mark for each in found] == ["ok", "ok", "ok"]
    assert "takes the CA of the secret kubeedge/casecret at its first start" in found[0].text
    assert found[1].text == "the certificate will name what edges dial: 127.0.0.1"
    assert found[2].text.startswith("the join token in kubeedge/tokensecret stays good until ")

    authority_files(cluster.subject.settings.data_dir / "pki", authority)
    finding = await of(cluster, CA, "edges and tokens stay good")
    assert finding.mark == "ok"


async def test_another_authority_in_the_data_directory(cluster: Cluster) -> None:
    await have_secrets(cluster.api, new_authority())
    pki = cluster.subject.settings.data_dir / "pki"
    authority_files(pki, new_authority())
    finding = await of(cluster, CA, "edges would refuse it. Move its own away")
    assert finding.mark == "wrong"
    moved = f"mv {pki} {pki}.old && mv {pki}.fingerprint {pki}.fingerprint.old"
    assert finding.command == moved


async def test_another_authority_in_the_configuration(cluster: Cluster, tmp_path: Path) -> None:
    await have_secrets(cluster.api, new_authority())
    files = authority_files(tmp_path / "ours", new_authority())
    cluster.change(authority=files.cert, has_files=True)
    finding = await of(cluster, CA, "they would refuse this cloudcore")
    assert finding.mark == "wrong"


async def test_no_authority_of_kubeedge(cluster: Cluster) -> None:
    finding = await of(cluster, CA, "no CA of KubeEdge is found")
    assert finding.mark == "wrong"


async def test_the_authority_in_files_alone(cluster: Cluster, tmp_path: Path) -> None:
    authority = new_authority()
    files = authority_files(tmp_path / "gos", authority)
    server = tmp_path / "server.crt"
    server.write_bytes(signing.certificate_pem(certificate(authority, "127.0.0.1")))
    cluster.change(go=of_go(tlsCAFile=str(files.cert), tlsCertFile=str(server)))
    finding = await of(cluster, CA, "would make another one")
    assert finding.mark == "wrong"
    assert finding.command == "cloudcore config convert cloudcore.yaml > cloudcore.toml"
    cluster.change(authority=files, has_files=True)
    found = await cluster.findings(CA)
    assert [each.mark for each in found] == ["ok", "ok"]
    cluster.change(authority=AuthorityFiles(tmp_path / "no", tmp_path / "no", tmp_path / "no"))
    finding = await of(cluster, CA, "correct modules.cloudhub.ca")
    assert finding.mark == "wrong"


async def test_files_and_secret_differ(cluster: Cluster, tmp_path: Path) -> None:
    await have_secrets(cluster.api, new_authority())
    files = authority_files(tmp_path / "gos", new_authority())
    cluster.change(go=of_go(tlsCAFile=str(files.cert)))
    finding = await of(cluster, CA, "are different CAs")
    assert finding.mark == "wrong"


@pytest.mark.parametrize("data", [{"cadata": b"?"}, {"cadata": b"?", "cakeydata": b"?"}])
async def test_a_secret_that_is_no_authority(cluster: Cluster, data: dict[str, bytes]) -> None:
    await create_secret(cluster.api, "casecret", data)
    finding, _ = await cluster.findings(CA)
    assert finding.mark == "wrong"
    assert "the secret kubeedge/casecret" in finding.text
    assert finding.command == "kubectl -n kubeedge get secret casecret -o yaml"


async def test_names_that_edges_dial(cluster: Cluster) -> None:
    await have_secrets(cluster.api, new_authority(), "cloud.example", "", "127.0.0.1", "192.0.2.1")
    finding = await of(cluster, CA, "edges would refuse it. Set modules.cloudhub.names")
    assert finding.mark == "wrong"
    assert "names cloud.example, 192.0.2.1, which edges may dial" in finding.text
    setting = 'modules.cloudhub.names=["cloud.example", "192.0.2.1"]'
    assert finding.command == f"cloudcore run --set {setting}"
    cluster.change(names=("127.0.0.1", "cloud.example", "192.0.2.1"))
    finding = await of(cluster, CA, "will name what edges dial")
    assert finding.mark == "ok"


async def test_tokens(cluster: Cluster) -> None:
    authority = new_authority()
    await have_secrets(cluster.api, authority, expires=-1)
    finding = await of(cluster, CA, "is not good: it has expired")
    assert finding.mark == "note"
    other = make_token(new_authority(), Claims(int(now().timestamp()) + 60))
    await write_secret(cluster.api, "tokensecret", {"tokendata": other.encode()})
    finding = await of(cluster, CA, "was not made by this cloudcore's CA")
    assert finding.mark == "note"
    assert other not in finding.text
    await write_secret(cluster.api, "tokensecret", {})
    finding = await of(cluster, CA, "cloudcore makes a join token")
    assert finding.mark == "ok"


# What edges have


async def have_an_edge(cluster: Cluster, name: str = "a", version: str = "1.23") -> None:
    kubelet = f"v1.32.10-kubeedge-v{version}.1"
    conditions = [{"type": "Ready", "status": "True"}]
    status = {"nodeInfo": {"kubeletVersion": kubelet}, "conditions": conditions}
    await cluster.api.create(NODES, samples.node(name))
    await cluster.api.patch(NODES, name, {"status": status}, subresource="status")
    await cluster.api.create(PODS, samples.pod(f"p-{name}", name, f"cm-{name}"), "default")
    await cluster.api.create(CONFIGMAPS, samples.configmap(f"cm-{name}", k="1"), "default")


async def record(cluster: Cluster, resource: Resource, name: str, node: str = "a") -> None:
    """Have it recorded that a node has the present state of an object."""
    found = (await cluster.api.get(resource, name, "default"))["metadata"]
    spec = {
        "objectAPIVersion": resource.api_version,
        "objectKind": resource.kind,
        "objectName": name,
    }
    sync = f"{node}.{found['uid']}"
    await cluster.api.create(OBJECTSYNCS, {"metadata": {"name": sync}, "spec": spec}, "default")
    status = {"status": {"objectResourceVersion": found["resourceVersion"]}}
    await cluster.api.patch(OBJECTSYNCS, sync, status, "default", subresource="status")


async def test_edges_that_lack_nothing_and_something(cluster: Cluster) -> None:
    await have_an_edge(cluster)
    await record(cluster, PODS, "p-a")
    await record(cluster, CONFIGMAPS, "cm-a")
    finding = await of(cluster, SENT, "a (KubeEdge 1.23, ready)")
    text = (
        "a (KubeEdge 1.23, ready) has 2 of its objects in their present state, and is sent nothing"
    )
    assert finding == Finding.ok(text)
    await cluster.api.patch(CONFIGMAPS, "cm-a", {"data": {"k": "2"}}, "default")
    await cluster.api.create(PODS, samples.pod("more", "a", "cm-a"), "default")
    finding = await of(cluster, SENT, "a (KubeEdge 1.23, ready)")
    assert finding.text.endswith(
        "has 1 of its objects in their present state, and is sent "
        "1 insert (1 pod), 1 update (1 configmap)"
    )
    finding = await of(cluster, SENT, "ObjectSyncs of 1 edges")
    assert finding.text.startswith("2 ObjectSyncs of 1 edges: ")
    assert finding.text.endswith("this cloudcore goes on from them")


async def test_without_the_record(cluster: Cluster) -> None:
    await have_an_edge(cluster)
    await record(cluster, PODS, "p-a")
    cluster.change(records=False)
    finding = await of(cluster, SENT, "this cloudcore does not read them")
    assert finding.mark == "note"
    assert 'modules.edgecontroller.record="objectsync"' in finding.command
    finding = await of(cluster, SENT, "a (KubeEdge 1.23, ready)")
    assert finding.text.endswith("and is sent 2 inserts (1 pod, 1 configmap)")
    for plural in manifests.SYNCS:
        name = manifests.load(plural)["metadata"]["name"]
        await cluster.api.delete(CUSTOMRESOURCEDEFINITIONS, name)
    finding = await of(cluster, SENT, "no CRDs of ObjectSyncs")
    assert finding.mark == "note"


async def test_edges_of_other_versions(cluster: Cluster) -> None:
    await have_an_edge(cluster, "old", "1.1")
    await have_an_edge(cluster, "odd", "1.12")
    await cluster.api.create(NODES, samples.node("silent"))
    finding = await of(cluster, SENT, "old (KubeEdge 1.1, ready) is sent all its 2 objects")
    assert finding.mark == "ok"
    finding = await of(cluster, SENT, "odd (KubeEdge 1.12, ready)")
    assert (finding.mark, "was not tried" in finding.text) == ("note", True)
    finding = await of(cluster, SENT, "silent (version not reported, not ready)")
    assert finding.mark == "note"


async def test_edges_whose_certificates_name_no_node(cluster: Cluster) -> None:
    for name, version in (("old", "1.1"), ("older", "1.15"), ("new", "1.16")):
        await have_an_edge(cluster, name, version)
    finding = await of(cluster, SENT, "refuses them: 2 edges (old, older)")
    assert (finding.mark, "any-trusted" in finding.command) == ("wrong", True)
    assert (await of(cluster, SENT, "was upgraded since")).mark == "note"
    cluster.change(strict=False)
    assert not [each for each in await cluster.findings(SENT) if "no node" in each.text]


async def test_no_edge_has_a_certificate_that_names_no_node(cluster: Cluster) -> None:
    await have_an_edge(cluster)
    assert not [each for each in await cluster.findings(SENT) if "refuses them" in each.text]


async def test_what_edges_are_sent_of_devices(cluster: Cluster) -> None:
    api = cluster.api
    await have_an_edge(cluster)
    await api.create(DEVICEMODELS_V1BETA1, samples.device_model_v1beta1("m"), "default")
    for name in ("one", "two"):
        device = samples.device_v1beta1(name, "a", "0", model="m")
        await api.create(DEVICES_V1BETA1, device, "default")
    for resource, name in ((DEVICEMODELS_V1BETA1, "m"), (DEVICES_V1BETA1, "one")):
        await record(cluster, resource, name)
    finding = await of(cluster, SENT, "a (KubeEdge 1.23, ready)")
    everything = "and is sent 5 inserts (1 pod, 1 configmap, 2 devices, 1 devicemodel)"
    assert finding.text.endswith(everything)
    finding = await of(cluster, SENT, "2 ObjectSyncs of other kinds")
    assert finding.mark == "note"
    cluster.change(records_devices=True)
    finding = await of(cluster, SENT, "a (KubeEdge 1.23, ready)")
    assert "has 2 of its objects" in finding.text
    assert finding.text.endswith("and is sent 3 inserts (1 pod, 1 configmap, 1 device)")
    assert "other kinds" not in " ".join(texts(await cluster.findings(SENT)))


async def test_what_an_edge_of_1_1_is_sent_of_devices(cluster: Cluster) -> None:
    await have_an_edge(cluster, "old", "1.1")
    device = samples.applied(samples.device("d", "old", "ON"))
    await cluster.api.create(DEVICES, device, "default")
    device = samples.device_v1beta1("today", "old", "0", model="m")  # which it does not know
    await cluster.api.create(DEVICES_V1BETA1, device, "default")
    finding = await of(cluster, SENT, "old (KubeEdge 1.1, ready)")
    text = "is sent all its 2 objects and 1 devices: edges of it have no record"
    assert finding.text.endswith(text)


async def test_many_edges(cluster: Cluster) -> None:
    for number in range(23):
        await have_an_edge(cluster, f"e-{number:02}")
    finding = await of(cluster, SENT, "more edges")
    assert finding == Finding.ok("3 more edges are sent 6 objects in all")


async def test_no_edges(cluster: Cluster) -> None:
    finding = await of(cluster, SENT, "no Node is an edge")
    assert finding.mark == "note"


async def test_devices(cluster: Cluster) -> None:
    finding = await of(cluster, SENT, "devices are served by cloudcore's CRDs")
    assert finding.mark == "ok"
    assert finding.text.endswith("There are 0 of v1alpha1, 0 of v1beta1")
    for plural in manifests.NAMES:
        name = manifests.load(plural)["metadata"]["name"]
        await cluster.api.delete(CUSTOMRESOURCEDEFINITIONS, name)
    finding = await of(cluster, SENT, "lacks the CRDs of devices")
    assert finding.mark == "note"
    for plural, kind in (("devices", "Device"), ("devicemodels", "DeviceModel")):
        definition = crd("devices.kubeedge.io", plural, kind, "v1alpha2")
        await cluster.api.create(CUSTOMRESOURCEDEFINITIONS, definition)
    finding = await of(cluster, SENT, "v1alpha2 for edges of KubeEdge 1.2 to 1.14")
    assert finding.mark == "wrong"


# What has no equivalent


async def test_no_features_in_use(cluster: Cluster) -> None:
    cluster.change(go=of_go())
    assert texts(await cluster.findings(FEATURES)) == [
        "ok: the cluster has no objects that only KubeEdge's cloudcore serves",
        "ok: its configuration enables nothing that cloudcore has not",
    ]


@pytest.mark.parametrize(
    ("group", "version", "plural", "mark", "text"),
    [
        (
            "rules",
            "v1",
            "rules",
            "note",
            "1 rules.rules.kubeedge.io: not yet: messages",
        ),
        ("operations", "v1alpha2", "nodeupgradejobs", "note", "node tasks are not carried out"),
        ("operations", "v1alpha1", "imageprepulljobs", "note", "node tasks are not carried out"),
        ("policy", "v1alpha1", "serviceaccountaccesses", "note", "they are not sent"),
        ("apps", "v1alpha1", "edgeapplications", "ok", "beside cloudcore"),
    ],
)
async def test_objects_in_use(
    cluster: Cluster, group: str, version: str, plural: str, mark: str, text: str
) -> None:
    definition = crd(f"{group}.kubeedge.io", plural, "Thing", version)
    await cluster.api.create(CUSTOMRESOURCEDEFINITIONS, definition)
    assert "no objects" in (await cluster.findings(FEATURES))[0].text
    resource = Resource(f"{group}.kubeedge.io", version, plural, "Thing", namespaced=True)
    await cluster.api.create(resource, {"metadata": {"name": "x"}}, "default")
    finding = await of(cluster, FEATURES, text)
    assert finding.mark == mark


async def test_the_iptables_manager(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, DAEMONSETS, {"metadata": {"name": "cloud-iptables-manager"}})
    finding = await of(cluster, FEATURES, "the DaemonSet")
    assert finding.mark == "note"
    assert finding.command == "kubectl -n kubeedge delete daemonset cloud-iptables-manager"


async def test_features_that_are_enabled(cluster: Cluster) -> None:
    modules = ("cloudStream", "dynamicController", "router", "taskManager")
    document = {
        "kind": "CloudCore",
        "modules": {**{name: {"enable": True} for name in modules}, "cloudHub": {}},
    }
    cluster.change(go=GoConfiguration(document))
    found = (await cluster.findings(FEATURES))[1:]
    names = {each.text.partition(" ")[0] for each in found}
    assert names == {f"modules.{name}" for name in (*modules, "iptablesManager")}
    assert {each.mark for each in found} == {"note"}


# The way back


async def test_the_way_back(cluster: Cluster) -> None:
    found = await cluster.findings(BACK)
    assert [each.mark for each in found] == ["ok", "note"]
    assert found[1].command == "kubectl -n kubeedge delete secret cloudcoresecret"
    cluster.change(records=False)
    found = await cluster.findings(BACK)
    assert [each.mark for each in found] == ["note", "note"]


async def test_no_way_back_with_an_rsa_key(cluster: Cluster) -> None:
    key = signing.new_rsa_key()
    authority = signing.Authority(signing.authority_certificate(key, "ca"), key)
    authority_files(cluster.subject.settings.data_dir / "pki", authority)
    [finding] = await cluster.findings(BACK)
    assert (finding.mark, "RSA key" in finding.text) == ("wrong", True)


# The command


async def test_what_cloudcores_own_user_may_not_ask(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def forbidden(*_: Any, **__: Any) -> Any:
        raise Forbidden(403, "Forbidden", "no")

    monkeypatch.setattr(KubeClient, "get", forbidden)
    finding = await of(cluster, GOS, "cannot check the Deployment")
    assert finding.mark == "unclear"
    assert finding.command.startswith("cloudcore takeover check --set kubernetes.kubeconfig=")


async def test_the_command(cluster: Cluster, tmp_path: Path) -> None:
    import asyncio

    await have_secrets(cluster.api, new_authority())
    file = tmp_path / "cloudcore.yaml"
    kubeconfig = cluster.subject.settings.kubernetes.kubeconfig
    file.write_text(json.dumps({**of_go().document, "kubeAPIConfig": {"kubeConfig": kubeconfig}}))
    directories = ("--data-dir", str(tmp_path / "ours"), "--run-dir", str(tmp_path / "run"))
    arguments = ["takeover", "check", str(file), *directories, "-o", "json"]
    result = await asyncio.to_thread(CliRunner().invoke, cloudcore, arguments)
    document = json.loads(result.stdout)
    wrong = [each["text"] for each in document["findings"] if each["mark"] == "wrong"]
    assert result.exit_code == 1
    assert len(wrong) == 1, wrong
    assert wrong[0].startswith("this cloudcore's configuration names no cluster")
    commands = [each["command"] for each in document["findings"]]
    assert f"cloudcore config convert {file} > cloudcore.toml" in commands
    arguments += ["--set", f"kubernetes.kubeconfig={kubeconfig}"]
    result = await asyncio.to_thread(CliRunner().invoke, cloudcore, arguments)
    assert result.exit_code == 0, result.output


def test_the_command_without_a_cluster(tmp_path: Path) -> None:
    result = CliRunner().invoke(cloudcore, ["takeover", "check", "--data-dir", str(tmp_path)])
    assert result.exit_code == 2
    assert "no cluster is named; give cloudcore.yaml" in result.output
    other = tmp_path / "x.yaml"
    other.write_text("[]")
    result = CliRunner().invoke(cloudcore, ["takeover", "check", str(other)])
    assert result.exit_code == 1
    assert "is no configuration of KubeEdge" in result.output
