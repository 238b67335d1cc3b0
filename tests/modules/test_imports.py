"""What modules import: it is most of their start, and of the memory of a process without work."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from modules.apiserver import ApiServer
from modules.cloudhub.module import CloudHub
from modules.dashboard.module import Dashboard
from modules.devicecontroller import DeviceController
from modules.edgecontroller import EdgeController
from supervisor.api import Module

DEADLINE = 30
MODULES: tuple[type[Module], ...] = (
    ApiServer,
    CloudHub,
    DeviceController,
    EdgeController,
    Dashboard,
)

#: Counts the authorities in the TLS contexts that aiohttp makes while it is imported.
AUTHORITIES = """
import importlib, json, os, sys
before = dict(os.environ)
for name in sys.argv[1:]:
    importlib.import_module(name)
from aiohttp import connector
contexts = connector._SSL_CONTEXT_VERIFIED, connector._SSL_CONTEXT_UNVERIFIED
json.dump([sum(c.cert_store_stats()["x509"] for c in contexts), os.environ == before], sys.stdout)
"""
NAMES = """
import importlib, json, sys
importlib.import_module(sys.argv[1])
json.dump(sorted(sys.modules), sys.stdout)
"""


def run(script: str, *arguments: str) -> list[object]:
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=True,
    )
    found: list[object] = json.loads(done.stdout)
    return found


def test_aiohttp_is_imported_in_one_place() -> None:
    root = Path(__file__).parents[2]
    importing = [
        str(file.relative_to(root))
        for package in ("ipc", "supervisor", "modules")
        for file in (root / package).rglob("*.py")
        if re.search(r"^\s*(import|from) aiohttp\b", file.read_text(), re.MULTILINE)
    ]
    assert importing == ["modules/common/http_library.py"]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name)
def test_no_module_reads_the_authorities_of_the_system(module: type[Module]) -> None:
    assert run(AUTHORITIES, *module.preload) == [0, True]


def test_a_process_of_cloudhub_imports_what_it_does_without_joining() -> None:
    names = set(run(NAMES, "modules.cloudhub.main"))
    assert not {"aiohttp", "lightkube", "modules.common.kube", "modules.cloudhub.csi"} & names
    assert "modules.common.wire.message_pb2" not in names  # for the messages of v1.1 alone
    assert "modules.cloudhub.endpoint.websocket" in names
