from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError

from modules.cloudhub.cluster.protocol import unit_names
from modules.cloudhub.config import CloudHubConfig
from modules.cloudhub.module import CloudHub
from modules.cloudhub.nodes import socket_of
from supervisor.api import Listener, ReplicasSettings, Settings
from supervisor.config.loading import load

ALONE = Settings(Path(), Path())


def test_the_listeners_are_where_the_configuration_says() -> None:
    config = CloudHubConfig(address="127.0.0.1", port=0, https_port=0)
    assert CloudHub.listeners(config, ALONE) == {
        "websocket": Listener("127.0.0.1", 0),
        "https": Listener("127.0.0.1", 0),
    }
    default = {"websocket": Listener("0.0.0.0", 10000), "https": Listener("0.0.0.0", 10002)}
    assert CloudHub.listeners(CloudHubConfig(), ALONE) == default
    assert CloudHub.listeners(CloudHubConfig(https=False), ALONE).keys() == {"websocket"}
    replicas = ReplicasSettings(True, address="127.0.0.1", port=10017)
    found = CloudHub.listeners(CloudHubConfig(), replace(ALONE, replicas=replicas))
    assert found["replicas"][:2] == ("127.0.0.1", 10017)


def test_certificate_files_come_together() -> None:
    CloudHubConfig(ca="ca.crt", cert="server.crt", key="server.key")
    with pytest.raises(ValidationError, match="go together"):
        CloudHubConfig(cert="server.crt", key="server.key")
    with pytest.raises(ValidationError, match="ca_key is the key of ca"):
        CloudHubConfig(ca_key="ca.key")


@pytest.mark.parametrize(
    "wrong",
    [
        {"port": 65536},
        {"node_limit": 0},
        {"authorization": "none"},
        {"keepalive": 30},
        {"port": "1"},
        {"processes": 0},
        {"rate_limit": -1.0},
        {"stop_spread": -1.0},
        {"uds_address": "/var/lib/kubeedge/kubeedge.sock"},
        {"uds_address": "tcp://127.0.0.1:1"},
        {"uds_address": f"unix:///{'x' * 107}"},
    ],
)
def test_faults_are_found(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        CloudHubConfig(**wrong)


def test_processes_are_as_many_as_configured() -> None:
    assert CloudHub.processes(CloudHubConfig()) == 1
    assert CloudHub.processes(CloudHubConfig(processes=3)) == 3
    assert unit_names(3) == ["cloudhub", "cloudhub-2", "cloudhub-3"]


@pytest.mark.parametrize("processes", [1, 12])
def test_the_sockets_that_it_will_make_are_known_before(processes: int, tmp_path: Path) -> None:
    named = CloudHub.unix_sockets(CloudHubConfig(processes=processes))
    assert [tmp_path / name for name in named] == [
        socket_of(tmp_path, unit) for unit in unit_names(processes)
    ]


def test_cloudhub_stops_before_those_that_handle_what_edges_send() -> None:
    specs = {spec.name: spec for spec in load(None, (), {}).modules}
    found = specs["cloudhub"].supervision.stop_before
    assert set(found) == {"edgecontroller", "devicecontroller"}
