"""What `cloudcore run` prints when it is up."""

from pathlib import Path
from typing import Any

import pytest

from modules.apiserver import ApiServer
from modules.cloudhub.module import CloudHub
from supervisor import banner
from supervisor.api import Module, Settings
from supervisor.host.paths import Paths, resolve


def module(name: str, state: str = "ready", **details: Any) -> dict[str, Any]:
    return {"name": name, "enabled": True, "state": state, "details": details}


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _: "/usr/bin/cloudcore")


APISERVER = module("apiserver", listen={"https": "127.0.0.1:6443"})
CLOUDHUB = module("cloudhub", listen={"websocket": "0.0.0.0:10000", "https": "0.0.0.0:10002"})


CLASSES: dict[str, type[Module]] = {"apiserver": ApiServer, "cloudhub": CloudHub}


def rendered(
    paths: Paths, *modules: dict[str, Any], classes: dict[str, type[Module]] = CLASSES
) -> list[str]:
    settings = Settings(paths.data_dir, paths.run_dir)
    text = banner.render({"version": "0.1.0", "modules": modules}, classes, settings)
    return [" ".join(line.split()) for line in text.splitlines()]


def test_it_says_what_listens_and_what_to_do_next() -> None:
    paths = resolve()
    lines = rendered(paths, APISERVER, CLOUDHUB)
    assert lines == [
        "cloudcore 0.1.0: all 2 modules are ready",
        "",
        "apiserver https://127.0.0.1:6443",
        "cloudhub wss://0.0.0.0:10000",
        "cloudhub https://0.0.0.0:10002",
        f"kubeconfig {paths.kubeconfig}",
        f"kubectl kubectl --kubeconfig {paths.kubeconfig} get nodes",
        "join cloudcore token create --print-join-command",
        "prints the line to type on the edge node",
        "or try cloudcore hollow NODE",
        "a simulated edge node",
        "status cloudcore status",
    ]


def test_what_has_no_scheme_is_named() -> None:
    lines = rendered(resolve(), module("cloudhub", listen={"replicas": "10.1.0.7:10007"}))
    assert "cloudhub 10.1.0.7:10007 (replicas)" in lines


def test_commands_lead_to_where_this_one_is(tmp_path: Path) -> None:
    cloudhub = module("cloudhub", listen={"websocket": "0.0.0.0:4711"})
    lines = rendered(Paths(tmp_path / "run", tmp_path / "my data"), cloudhub)
    data = f"--data-dir '{tmp_path}/my data'"
    assert f"join cloudcore certs issue NODE --out DIR {data}" in lines
    assert f"or try cloudcore hollow NODE --server wss://127.0.0.1:4711 {data}" in lines
    assert f"status cloudcore status --run-dir {tmp_path}/run" in lines


def test_with_a_cluster_there_is_no_kubeconfig_of_ours() -> None:
    disabled = APISERVER | {"enabled": False, "state": "disabled", "details": {}}
    lines = rendered(resolve(), CLOUDHUB, disabled)
    assert lines[0] == "cloudcore 0.1.0: all 1 modules are ready"
    assert not [line for line in lines if line.startswith("kube")]


def test_it_says_that_no_module_is_enabled() -> None:
    (first, *_) = rendered(resolve())
    assert first == "cloudcore 0.1.0: no module is enabled; name some in modules.enabled"


def test_it_says_who_is_not_ready() -> None:
    lines = rendered(resolve(), APISERVER, module("cloudhub", "failed"))
    assert lines[0] == "cloudcore 0.1.0: 1 of 2 modules are ready; cloudhub is failed"
    assert not [line for line in lines if line.startswith("join")]


def test_it_says_who_is_ready_and_waits_for_something() -> None:
    waiting = module("edgecontroller", waiting_for="nodes, pods", because="401 Unauthorized")
    other = module("devicecontroller", because="401 Unauthorized")
    lines = rendered(resolve(), APISERVER, waiting, other)
    assert (
        lines[0] == "cloudcore 0.1.0: all 3 modules are ready; edgecontroller waits for nodes, pods"
    )
    assert lines.count("because 401 Unauthorized") == 1


def test_outside_of_the_path_the_command_is_named_as_it_was_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)
    monkeypatch.setattr("sys.argv", [".venv/bin/cloudcore"])
    assert rendered(resolve(), APISERVER)[-1] == "status .venv/bin/cloudcore status"


@pytest.mark.parametrize(
    ("address", "server"),
    [
        ("[::1]:10000", " --server wss://[::1]:10000"),
        ("[::]:10000", " --server wss://[::1]:10000"),
        ("192.0.2.7:10000", " --server wss://192.0.2.7:10000"),
        ("127.0.0.1:10000", ""),
    ],
)
def test_the_server_of_a_hollow_edge_is_where_cloudhub_listens(address: str, server: str) -> None:
    lines = rendered(resolve(), module("cloudhub", listen={"websocket": address}))
    (line,) = [line for line in lines if line.startswith("or try")]
    assert line.replace("'", "") == f"or try cloudcore hollow NODE{server}"


def test_a_module_whose_banner_fails_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    class Raising(CloudHub):
        @classmethod
        def banner(cls, *_: Any) -> Any:
            raise ValueError("no banner today")

    lines = rendered(resolve(), CLOUDHUB, classes={"cloudhub": Raising})
    assert lines[-1] == "status cloudcore status"
    assert "no banner today" in caplog.text
