"""Objects that nobody can use, in a whole cloudcore: its modules live on, and good ones arrive."""

from __future__ import annotations

from typing import Any

import pytest

from modules.common.kube import DEVICEMODELS, DEVICES, EVENTS, PODS
from modules.hollow.demo.harness import running
from modules.hollow.demo.observe import gone_from_api, in_api
from modules.hollow.demo.walk import Walk, walking
from tests.support.quick_edges import QUICK

CONTROLLERS = ("edgecontroller", "devicecontroller")


def pod(name: str, node: Any, **spec: Any) -> dict[str, Any]:
    whole = {"nodeName": node, "containers": [{"name": "c", "image": "nginx"}], **spec}
    return {"metadata": {"name": name}, "spec": whole}


def device(name: str, node: str, model: Any) -> dict[str, Any]:
    expression = {"key": "", "operator": "In", "values": [node]}
    terms = [{"matchExpressions": [expression]}]
    spec = {"deviceModelRef": model, "nodeSelector": {"nodeSelectorTerms": terms}}
    return {"metadata": {"name": name}, "spec": spec}


async def make_bad_ones(walk: Walk) -> None:
    """Create what people have written by mistake."""
    node = walk.old.node
    env_from = [{"name": "c", "image": "nginx", "envFrom": ["settings"]}]
    for bad in (
        pod("bad-secrets", node, imagePullSecrets=["regcred"]),
        pod("bad-env", node, containers=env_from),
        pod("bad-node", [node]),
    ):
        await walk.api.create(PODS, bad, "default")
    properties = [{"name": "power", "type": "string"}]
    model = {"metadata": {"name": "bad-model"}, "spec": {"properties": properties}}
    await walk.api.create(DEVICEMODELS, model, "default")
    await walk.api.create(DEVICES, device("bad-ref", node, "lamp"), "default")
    await walk.api.create(DEVICES, device("bad-type", node, {"name": "bad-model"}), "default")


def is_rejected(reason: str) -> Any:
    return lambda found: any(
        each.get("reason") == reason for each in found.get("status", {}).get("conditions", ())
    )


@pytest.mark.timeout(120)
async def test_bad_objects_stop_nobody() -> None:
    async with running() as cloudcore:
        async with walking(cloudcore, timing=QUICK) as walk:
            await walk.nodes_become_ready()
            before = {name: (await cloudcore.module(name))["pid"] for name in CONTROLLERS}
            await make_bad_ones(walk)
            await in_api(walk.api, DEVICES, "bad-ref", "default", is_rejected("InvalidObject"))
            await in_api(walk.api, DEVICES, "bad-type", "default", is_rejected("InvalidModel"))
            await walk.pods_run_with_their_configmap()
            await walk.device_follows_its_twin()
            events = (await walk.api.list(EVENTS, "default")).items
            told = {
                each["involvedObject"]["name"]: each["message"]
                for each in events
                if each["reason"] == "InvalidObject"
            }
            assert told["bad-secrets"] == (
                "set aside: spec.imagePullSecrets[0]: expected an object, got a string"
            )
            assert {"bad-env", "bad-node", "bad-model", "bad-ref"} <= told.keys()
            mended = {"spec": {"deviceModelRef": {"name": "none"}}}
            await walk.api.patch(DEVICES, "bad-ref", mended, "default")
            await in_api(walk.api, DEVICES, "bad-ref", "default", is_rejected("UnknownModel"))
            await walk.api.delete(PODS, "bad-env", "default")
            await gone_from_api(walk.api, PODS, "bad-env", "default")
            await walk.api.create(PODS, pod("bad-env", walk.old.node), "default")
            await walk.old.wait_for("default/pod/bad-env", lambda found: found is not None, 20)
            for name in CONTROLLERS:
                module = await cloudcore.module(name)
                assert (module["pid"], module["restarts"]) == (before[name], 0)
        await cloudcore.stop(15)
