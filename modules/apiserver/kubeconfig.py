"""The kubeconfig of the embedded API server."""

from __future__ import annotations

import base64
from pathlib import Path

import yaml

from ipc.files import replace_file
from modules.common.certs import Pki

CONTEXT = "cloudcore"
USER = "kubernetes-admin"


def write_kubeconfig(path: Path, url: str, pki: Pki) -> None:
    """Write it in one step, mode 0600: it holds the administrator's key."""

    def embedded(file: Path) -> str:
        return base64.b64encode(file.read_bytes()).decode()

    cluster = {"server": url, "certificate-authority-data": embedded(pki.ca_cert)}
    user = {
        "client-certificate-data": embedded(pki.admin_cert),
        "client-key-data": embedded(pki.admin_key),
    }
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": CONTEXT, "cluster": cluster}],
        "users": [{"name": USER, "user": user}],
        "contexts": [{"name": CONTEXT, "context": {"cluster": CONTEXT, "user": USER}}],
        "current-context": CONTEXT,
    }
    replace_file(path, yaml.safe_dump(config, sort_keys=False).encode())
