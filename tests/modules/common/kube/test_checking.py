"""`cloudcore config check` says everything that is wrong with a kubeconfig."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from modules.common.kube.checking import check_kubernetes
from modules.common.pki.certificates import Pki
from modules.devicecontroller import DeviceController
from modules.edgecontroller import EdgeController
from supervisor.api import KubernetesSettings, Settings

Change = Callable[[dict[str, Any], dict[str, Any], Path], None]


def checked(path: Path, now: datetime | None = None, **options: Any) -> list[str]:
    kubernetes = KubernetesSettings(kubeconfig=str(path), **options)
    settings = Settings(path.parent, path.parent, kubernetes)
    return [f"{each.reason}; {each.hint}" for each in check_kubernetes(settings, now)]


def write(directory: Path, pki: Pki, change: Change | None = None) -> Path:
    """Write a kubeconfig that is good but for what `change` does to its cluster and user."""
    for name in ("ca_cert", "admin_cert", "admin_key", "server_key"):
        (directory / name).write_bytes(getattr(pki, name).read_bytes())
    cluster = {"server": "https://10.0.0.1:6443", "certificate-authority": "ca_cert"}
    user = {"client-certificate": "admin_cert", "client-key": "admin_key"}
    if change:
        change(cluster, user, directory)
    path = directory / "config"
    config = {
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path.write_text(yaml.safe_dump(config))
    return path


def test_a_good_one_has_no_problem(tmp_path: Path, pki: Pki) -> None:
    assert checked(write(tmp_path, pki)) == []


def test_data_in_place_of_files(tmp_path: Path, pki: Pki) -> None:
    def change(cluster: dict[str, Any], user: dict[str, Any], directory: Path) -> None:
        for table in (cluster, user):
            for key in [key for key in table if key != "server"]:
                data = (directory / table.pop(key)).read_bytes()
                table[f"{key}-data"] = base64.b64encode(data).decode()

    assert checked(write(tmp_path, pki, change)) == []


def drops(table: str, key: str) -> Change:
    """Remove the file that a key names."""

    def change(cluster: dict[str, Any], user: dict[str, Any], directory: Path) -> None:
        (directory / {"cluster": cluster, "user": user}[table][key]).unlink()

    return change


def puts(table: str, key: str, value: Any, file: str = "") -> Change:
    """Set a key, to a file if it has a content."""

    def change(cluster: dict[str, Any], user: dict[str, Any], directory: Path) -> None:
        {"cluster": cluster, "user": user}[table][key] = value
        if file:
            (directory / value).write_text(file)

    return change


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (drops("cluster", "certificate-authority"), "certificate-authority in .*: cannot read "),
        (drops("user", "client-certificate"), "client-certificate in .*/admin_cert: No such file"),
        (drops("user", "client-key"), "client-key in .*/admin_key: No such file"),
        (puts("user", "client-key", "server_key"), "client-key in .* not belong to the client"),
        (puts("user", "client-key", "k", "no key"), "client-key in .*: it is no PEM private key"),
        (puts("user", "client-certificate", "c", "x"), "client-certificate in .*: it is no PEM"),
        (puts("cluster", "certificate-authority", "c", "x"), "authority in .* no PEM certificate"),
        (puts("cluster", "server", "10.0.0.1"), "server in .*: 10.0.0.1 is no URL"),
        (puts("user", "client-key-data", "%"), "client-key-data in .*: it is no base64"),
        (puts("user", "tokenFile", "token"), "tokenFile in .*: cannot read .*/token: No such file"),
        (puts("user", "exec", {"apiVersion": "v1", "command": "nowhere"}), "no executable nowhere"),
        (
            lambda _, user, __: (user.clear(), user.update({"auth-provider": {"name": "gcp"}})),
            "auth-provider not supported",
        ),
    ],
)
def test_each_problem(tmp_path: Path, pki: Pki, change: Change, expected: str) -> None:
    found = checked(write(tmp_path, pki, change))
    assert any(re.search(expected, each) for each in found), found
    assert all(str(tmp_path / "config") in each and "\n" not in each for each in found)


def test_all_problems_at_once(tmp_path: Path, pki: Pki) -> None:
    def change(cluster: dict[str, Any], user: dict[str, Any], directory: Path) -> None:
        for name in ("ca_cert", "admin_cert", "admin_key"):
            (directory / name).unlink()

    assert len(checked(write(tmp_path, pki, change))) == 3


def test_certificates_that_have_expired(tmp_path: Path, pki: Pki) -> None:
    path = write(tmp_path, pki)
    of_authority, of_user = checked(path, datetime.now(UTC) + timedelta(days=40_000))
    assert "certificate-authority" in of_authority
    assert "client-certificate" in of_user
    assert "it expired on 2" in of_authority
    assert "it expired on 2" in of_user
    (early,) = checked(path, datetime(2001, 1, 1, tzinfo=UTC))
    assert "client-certificate" in early
    assert "not valid before" in early


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, "the file is not found"),
        ("", "it is empty"),
        ("clusters: [}", "line 1, column 12"),
        ("{}", "'clusters' is not defined there"),
        ("clusters: []\ncontexts: []\ncurrent-context: x", "Context 'x' not found"),
    ],
)
def test_what_is_no_kubeconfig(tmp_path: Path, text: str | None, expected: str) -> None:
    path = tmp_path / "config"
    if text is not None:
        path.write_text(text)
    (problem,) = checked(path)
    assert f"cannot use the kubeconfig {path}: {expected}" in problem
    assert "\n" not in problem


def test_in_cluster_outside_of_one(tmp_path: Path) -> None:
    settings = Settings(tmp_path, tmp_path, KubernetesSettings(in_cluster=True))
    (problem,) = check_kubernetes(settings)
    assert problem.key == "kubernetes.in_cluster"


def test_the_embedded_server_writes_its_own(tmp_path: Path) -> None:
    settings = Settings(tmp_path, tmp_path)
    assert DeviceController.problems(DeviceController.Config(), settings) == []
    assert EdgeController.problems(EdgeController.Config(), settings) == []
