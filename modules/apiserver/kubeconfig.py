"""The kubeconfig of the embedded API server."""

from __future__ import annotations

import base64
import stat
from pathlib import Path

import yaml

from ipc.files import PRIVATE, replace_file
from modules.common.pki.certificates import Pki

CONTEXT = "cloudcore"
USER = "kubernetes-admin"


def write_kubeconfig(path: Path, url: str, pki: Pki) -> None:
    """Write the file atomically, with mode 0600: it contains the administrator's key.

    An up-to-date file is not written again: the disk may be full.
    """

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
    content = yaml.safe_dump(config, sort_keys=False).encode()
    if not _is_current(path, content):
        replace_file(path, content)


def _is_current(path: Path, content: bytes) -> bool:
    try:
        mode = path.lstat().st_mode
        return mode == stat.S_IFREG | PRIVATE and path.read_bytes() == content
    except OSError:
        return False
