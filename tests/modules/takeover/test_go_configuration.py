"""What a takeover asks of KubeEdge's configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from modules.takeover.go_configuration import CannotConvert, GoConfiguration
from supervisor.api import KubernetesSettings

TODAY = """
kind: CloudCore
kubeAPIConfig: {kubeConfig: /root/.kube/config}
modules:
  cloudHub:
    advertiseAddress: [192.0.2.1, 192.0.2.2]
    tlsCAFile: /ca.crt
    https: {port: 11002}
    quic: {enable: true}
  cloudStream: {enable: true}
featureGates: {requireAuthorization: true}
"""
OLD = """
controller:
  kube: {master: "10.0.0.1:8080"}
cloudhub:
  protocol_quic: true
  port: 10005
  address: 0.0.0.0
  ca: /etc/kubeedge/ca/rootCA.crt
  cert: /etc/kubeedge/certs/edge.crt
"""


def configuration(tmp_path: Path, text: str) -> GoConfiguration:
    path = tmp_path / "file.yaml"
    path.write_text(text)
    return GoConfiguration.read(path)


def test_of_today(tmp_path: Path) -> None:
    found = configuration(tmp_path, TODAY)
    assert not found.is_v1_1
    assert found.kubernetes == KubernetesSettings(kubeconfig="/root/.kube/config")
    assert found.files["ca"] == Path("/ca.crt")
    assert found.files["ca_key"] == Path("/etc/kubeedge/ca/rootCA.key")
    hosts = ("192.0.2.1", "192.0.2.2")
    assert found.served == [(host, port) for host in hosts for port in (10000, 11002)]
    assert list(found.enabled()) == [
        "modules.cloudStream",
        "modules.iptablesManager",
        "modules.cloudHub.quic",
        "featureGates.requireAuthorization",
    ]


def test_of_1_1(tmp_path: Path) -> None:
    found = configuration(tmp_path, OLD)
    assert found.is_v1_1
    assert found.kubernetes == KubernetesSettings(master="http://10.0.0.1:8080")
    assert set(found.files) == {"ca", "cert"}
    assert found.served == [("127.0.0.1", 10005)]
    assert list(found.enabled()) == ["cloudhub.protocol_quic"]


def test_in_a_pod(tmp_path: Path) -> None:
    found = configuration(tmp_path, "kind: CloudCore\nmodules: {cloudHub: {websocket: {}}}\n")
    assert found.kubernetes == KubernetesSettings(in_cluster=True)
    assert found.served == [("127.0.0.1", 10000), ("127.0.0.1", 10002)]


@pytest.mark.parametrize("text", ["[]", "a: ["])
def test_of_none(tmp_path: Path, text: str) -> None:
    with pytest.raises(CannotConvert):
        configuration(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("kind: CloudCore\nkubeAPIConfig: {master: [1]}", "kubeAPIConfig.master has the value [1]"),
        ("modules: {cloudHub: {https: {port: lots}}}", 'https.port has the value "lots"; a number'),
        ("modules: {cloudHub: {tlsCAFile: 7}}", "tlsCAFile has the value 7; a text is expected"),
        ("cloudhub: {port: true}", "cloudhub.port has the value true; a number is expected"),
        ("a: 1\nb: [", "cannot read {path} as YAML: line 2: "),
        ("\0", "cannot read {path} as YAML: "),
    ],
)
def test_what_is_none_is_said(text: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(CannotConvert) as refused:
        configuration(tmp_path, text)
    assert reason.format(path=tmp_path / "file.yaml") in str(refused.value)


def test_what_is_no_text_is_said(tmp_path: Path) -> None:
    path = tmp_path / "file.yaml"
    path.write_bytes(b"\xff")
    with pytest.raises(CannotConvert, match="it is no text in UTF-8; give cloudcore.yaml"):
        GoConfiguration.read(path)
