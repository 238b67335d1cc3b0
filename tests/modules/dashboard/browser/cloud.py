"""A whole cloudcore with edges, pods and a device, for a browser to look at."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.modules.dashboard.cloudcore import begin
from tests.support.kubectl import program
from tests.support.running import Running
from tests.support.waiting import block_until

EDGES = 6
PODS = ("camera", "broker", "dashboard")
DEVICES = """
apiVersion: devices.kubeedge.io/v1beta1
kind: DeviceModel
metadata: {name: thermometer, namespace: default}
spec:
  protocol: modbus
  properties:
  - {name: temperature, type: FLOAT, accessMode: ReadOnly}
  - {name: target, type: FLOAT, accessMode: ReadWrite}
---
apiVersion: devices.kubeedge.io/v1beta1
kind: Device
metadata: {name: boiler, namespace: default}
spec:
  nodeName: plant-1
  deviceModelRef: {name: thermometer}
  protocol: {protocolName: modbus}
  properties:
  - {name: temperature, visitors: {protocolName: modbus}}
  - {name: target, desired: {value: "21.5"}, visitors: {protocolName: modbus}}
"""
POD = """
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: default}}
spec:
  nodeName: plant-1
  containers: [{{name: {name}, image: nginx}}]
"""


@contextmanager
def cloud(base: Path) -> Iterator[Running]:
    """Run all modules and some edges with pods and a device."""
    sets = tuple(
        f"modules.{key}"
        for key in (
            *("apiserver.port=0", "cloudhub.port=0", "cloudhub.https_port=0"),
            *('cloudhub.address="127.0.0.1"', "devicecontroller.install_crds=true"),
        )
    )
    modules = ("apiserver", "cloudhub", "edgecontroller", "devicecontroller")
    with begin(base, *modules, sets=sets) as running, edges(running):
        objects = base / "objects.yaml"
        objects.write_text("---".join((DEVICES, *(POD.format(name=name) for name in PODS))))
        block_until(
            lambda: kubectl(running, "get", "nodes", "-o", "name").count("plant-") == EDGES,
            "edges",
            1,
        )
        kubectl(running, "apply", "-f", str(objects))
        yield running


@contextmanager
def edges(running: Running) -> Iterator[None]:
    """Connect the edges, as `cloudcore hollow` does."""
    server = running.module("cloudhub")["details"]["listen"]["websocket"]
    options = ("--server", f"wss://{server}", "--data-dir", str(running.base))
    command = (sys.executable, "-m", "supervisor", "hollow", "plant", "--count", str(EDGES))
    with (running.base / "edges.log").open("wb") as log:
        process = subprocess.Popen((*command, *options), stdout=log, stderr=log)
    try:
        yield
    finally:
        process.terminate()
        process.wait(20)


def kubectl(running: Running, *arguments: str) -> str:
    config = running.base / "kubeconfig"
    done = subprocess.run(
        [program(), "--kubeconfig", config, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
