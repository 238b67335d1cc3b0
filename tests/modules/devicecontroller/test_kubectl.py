"""How a person sets a device's desired values: KubeEdge's example, and a real kubectl."""

from __future__ import annotations

import json
from typing import Any

from modules.common.kube import DEVICEMODELS
from tests.modules.devicecontroller.api import Api
from tests.modules.devicecontroller.controller import Controller
from tests.modules.devicecontroller.samples import LED, NODE, device, model, to_create
from tests.support.kubectl import runner


def expected(content: dict[str, Any]) -> str:
    value: str = content["twin"]["power-status"]["expected"]["value"]
    return value


#: Without the version, kubectl takes the preferred one, v1beta1.
DEVICE = "devices.v1alpha1.devices.kubeedge.io"


async def test_each_way_reaches_the_edge(api: Api, controller: Controller) -> None:
    directory = api.settings.data_dir
    kubectl = runner(directory, directory / "kubeconfig")
    await api.make_node(NODE)
    await api.create(DEVICEMODELS, model())
    manifest = to_create(device(twins={"power-status": "OFF"}))
    await kubectl("apply", "-f", "-", stdin=manifest)
    assert expected((await controller.said()).content["added_devices"][0]) == "OFF"
    await api.device(LED, lambda found: "twins" in found.get("status", {}))

    manifest["status"]["twins"][0]["desired"]["value"] = "ON"
    await kubectl("apply", "-f", "-", stdin=manifest)
    assert expected((await controller.said()).content) == "ON"
    await api.device(LED, lambda f: f["status"]["twins"][0]["desired"]["value"] == "ON")

    twins = [{"propertyName": "power-status", "desired": {"value": "OFF"}}]
    patch = json.dumps({"status": {"twins": twins}})
    await kubectl("patch", DEVICE, LED, "--subresource=status", "--type=merge", "-p", patch)
    assert expected((await controller.said()).content) == "OFF"
    await api.device(
        LED, lambda f: any(c["status"] == "True" for c in f["status"].get("conditions", ()))
    )
    header, row = (await kubectl("get", DEVICE)).splitlines()
    assert header.split() == ["NAME", "MODEL", "NODE", "ACCEPTED", "AGE"]
    assert row.split()[:4] == [LED, "led-light", NODE, "Accepted"]
