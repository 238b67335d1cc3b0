"""KubeEdge's configuration in this cloudcore's form: every key has its place or its reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tomli
from click.testing import CliRunner

from modules.takeover.conversion import CannotConvert, convert
from supervisor.cli.app import cloudcore
from supervisor.config import load

TODAY = """
apiVersion: cloudcore.config.kubeedge.io/v1alpha2
kind: CloudCore
commonConfig: {tunnelPort: 10350, monitorServer: {bindAddress: "127.0.0.1:9091"}}
kubeAPIConfig: {kubeConfig: /root/.kube/config, qps: 100, burst: 200, contentType: application/json}
modules:
  cloudHub:
    advertiseAddress: [10.0.0.1, "2001:db8::1"]
    dnsNames: ["", cloud.example]
    nodeLimit: 1000
    keepaliveInterval: 60
    websocket: {enable: true, port: 10010, address: 0.0.0.0}
    https: {enable: true, port: 10012, address: 0.0.0.0}
    quic: {enable: true, port: 10001}
    unixsocket: {enable: false, address: "unix:///var/lib/kubeedge/kubeedge.sock"}
    edgeCertSigningDuration: 30
    tokenRefreshDuration: 6
  edgeController: {nodeUpdateFrequency: 20, buffer: {podEvent: 1}}
  deviceController: {enable: false}
  cloudStream: {enable: true, streamPort: 10003}
  somethingNew: {a: 1}
"""
V1_1 = """
controller: {kube: {master: "http://127.0.0.1:8080", qps: 5, burst: 10, content_type: json}}
cloudhub: {port: 10000, address: 0.0.0.0, ca: /c/ca.crt, cert: /c/edge.crt, key: /c/edge.key,
  node-limit: 10, keepalive-interval: 30, write-timeout: 20, enable_uds: true,
  uds_address: "unix:///run/k.sock", protocol_quic: true}
devicecontroller: {kube: {master: ""}}
"""


def converted(text: str, **files: str) -> dict[str, Any]:
    return tomli.loads(convert({"cloudcore.yaml": text, **files}, is_file=lambda _: False))


def test_todays_keys() -> None:
    made = converted(TODAY)
    assert made["kubernetes"] == {"kubeconfig": "/root/.kube/config", "qps": 100.0, "burst": 200}
    assert made["admin"] == {"address": "127.0.0.1:9091"}
    assert made["modules"]["enabled"] == ["cloudhub", "edgecontroller"]
    assert made["modules"]["edgecontroller"] == {
        "node_update_frequency": 20.0,
        "record": "objectsync",
    }
    assert made["modules"]["devicecontroller"] == {"record": "objectsync"}
    assert made["modules"]["cloudhub"] == {
        "address": "0.0.0.0",
        "port": 10010,
        "https_port": 10012,
        "names": ["10.0.0.1", "2001:db8::1", "cloud.example"],
        "node_limit": 1000,
        "keepalive_interval": 60.0,
        "edge_certificate_days": 30,
        "token_refresh_hours": 6,
    }


def test_what_has_no_equivalent_is_a_comment_with_the_reason() -> None:
    text = convert({"cloudcore.yaml": TODAY}, is_file=lambda _: False)
    for key, reason in (
        ("modules.cloudHub.quic.enable = true", "websocket.enable on the edges"),
        ("modules.cloudStream.streamPort = 10003", "kubectl logs"),
        ("modules.edgeController.buffer.podEvent = 1", "goroutines"),
        ("modules.somethingNew.a = 1", "it is no key of KubeEdge 1.1 or 1.19 to 1.23"),
    ):
        before, _, _ = text.partition(f"#   {key}\n")
        assert before != text, key
        assert reason in before.rpartition("#\n# ")[2], key


def test_without_a_kubeconfig_it_runs_in_a_pod() -> None:
    assert converted("kind: CloudCore\nkubeAPIConfig: {qps: 1}")["kubernetes"]["in_cluster"] is True


def test_certificate_files_are_used_only_if_all_are_there() -> None:
    every = convert({"cloudcore.yaml": TODAY}, is_file=lambda _: True)
    hub = tomli.loads(every)["modules"]["cloudhub"]
    assert (hub["ca"], hub["ca_key"]) == (
        "/etc/kubeedge/ca/rootCA.crt",
        "/etc/kubeedge/ca/rootCA.key",
    )
    assert (hub["cert"], hub["key"]) == (
        "/etc/kubeedge/certs/server.crt",
        "/etc/kubeedge/certs/server.key",
    )
    some = convert({"cloudcore.yaml": TODAY}, is_file=lambda path: "rootCA" in path)
    assert "ca" not in tomli.loads(some)["modules"]["cloudhub"]
    assert "not here: /etc/kubeedge/certs/server.crt" in some.replace("\n# ", " ")


def test_the_files_of_1_1() -> None:
    modules = "modules: {enabled: [edgecontroller, cloudhub]}"
    text = convert({"controller.yaml": V1_1, "modules.yaml": modules})
    made = tomli.loads(text)
    assert made["modules"].pop("enabled") == ["edgecontroller", "cloudhub"]
    assert made["modules"]["cloudhub"] == {
        "address": "0.0.0.0",
        "port": 10000,
        "ca": "/c/ca.crt",
        "cert": "/c/edge.crt",
        "key": "/c/edge.key",
        "node_limit": 10,
        "keepalive_interval": 30.0,
        "write_timeout": 20.0,
        "uds_address": "unix:///run/k.sock",
        "authorization": "any-trusted",
    }
    assert made["kubernetes"] == {"master": "http://127.0.0.1:8080", "qps": 5.0, "burst": 10}
    assert "one node fewer" in text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: [", "as YAML"),
        ("[1, 2]", "not a mapping"),
        ("hello: world", "no key of KubeEdge's"),
        ("kind: CloudCore\nkubeAPIConfig: {qps: many}", "kubeAPIConfig.qps"),
    ],
)
def test_what_is_no_configuration_of_kubeedge(text: str, reason: str) -> None:
    with pytest.raises(CannotConvert, match=reason) as caught:
        converted(text)
    assert "cloudcore.yaml" in str(caught.value)


def test_a_whole_configuration_is_converted_alone() -> None:
    with pytest.raises(CannotConvert, match="alone"):
        convert({"cloudcore.yaml": TODAY, "modules.yaml": "modules: {enabled: []}"})


@pytest.mark.parametrize("text", [TODAY, V1_1], ids=["today", "1.1"])
def test_the_result_is_a_configuration(tmp_path: Path, text: str) -> None:
    """All keys of ours exist, with values of the right type."""
    source, made = tmp_path / "theirs.yaml", tmp_path / "ours.toml"
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text("{}")
    source.write_text(text.replace("/root/.kube/config", str(kubeconfig)))
    run = CliRunner().invoke(cloudcore, ["config", "convert", str(source)])
    assert run.exit_code == 0, run.output
    made.write_text(run.stdout)
    assert load(made, []).modules


def test_the_command_names_a_file_that_it_cannot_convert(tmp_path: Path) -> None:
    source = tmp_path / "theirs.yaml"
    source.write_text("hello: world")
    run = CliRunner().invoke(cloudcore, ["config", "convert", str(source)])
    assert run.exit_code == 1
    assert str(source) in run.stderr


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("kubeAPIConfig", "{qps: many}", 'qps has the value "many"; a number is expected'),
        ("kubeAPIConfig", "{qps: .nan}", "qps has the value NaN; a number is expected"),
        ("kubeAPIConfig", "{qps: [1]}", "qps has the value [1]; a number is expected"),
        ("kubeAPIConfig", "{burst: true}", "burst has the value true; a number is expected"),
        ("kubeAPIConfig", "{burst: 1.5}", "burst has the value 1.5; a whole number is expected"),
        ("kubeAPIConfig", "{kubeConfig: 7}", "kubeConfig has the value 7; a text is expected"),
        ("kubeAPIConfig", "{master: [1]}", "master has the value [1]; a text is expected"),
        ("modules", "{cloudHub: {nodeLimit: lots}}", 'nodeLimit has the value "lots"; a number'),
    ],
)
def test_a_value_of_a_wrong_type_is_named(key: str, value: str, expected: str) -> None:
    with pytest.raises(CannotConvert) as caught:
        converted(f"kind: CloudCore\n{key}: {value}")
    assert str(caught.value).startswith(f"cloudcore.yaml: {key}.")
    assert expected in str(caught.value)


def test_a_number_may_be_in_quotes() -> None:
    made = converted('cloudhub: {port: "10010", node-limit: 5}')
    assert made["modules"]["cloudhub"]["port"] == 10010
