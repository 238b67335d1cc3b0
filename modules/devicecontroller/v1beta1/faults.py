"""Why a Device of v1beta1 cannot be used."""

from __future__ import annotations

from modules.common.device_references import model_of, node_of
from modules.common.kube import Object, Reason, explain
from modules.devicecontroller.edges import Edges
from modules.devicecontroller.status.acceptance import DeviceFault
from modules.devicecontroller.v1beta1.inventory import Inventory


def fault_of(device: Object, inventory: Inventory, edges: Edges) -> DeviceFault | None:
    """Return the fault of a device, None if it can be used."""
    node, model = node_of(device), model_of(device)
    if not node:
        text = "the device names no edge node: put the node's name into spec.nodeName"
        return DeviceFault(Reason.NO_NODE, text)
    if ("", node) not in inventory.known_nodes:
        text = f"there is no node {node!r}: the device is sent to it when it connects"
        return DeviceFault(Reason.UNKNOWN_NODE, text)
    if edges.is_other(node):
        return DeviceFault(
            Reason.OTHER_VERSION,
            f"the edge of node {node} is of KubeEdge 1.1 and knows devices of v1alpha1 only: "
            "create the device in that version",
        )
    if model is None:
        text = "the device names no DeviceModel: put its name into spec.deviceModelRef.name"
        return DeviceFault(Reason.NO_MODEL, text)
    if model not in inventory.models:
        aside = inventory.models_aside.get(model)
        named = f"DeviceModel {model[1]!r} in namespace {model[0]}"
        if aside:
            text = f"{named} cannot be used: {explain(aside.error)[1]}"
        else:
            text = f"there is no {named} of v1beta1"
        return DeviceFault(
            Reason.INVALID_MODEL if aside else Reason.UNKNOWN_MODEL,
            f"{text}; the device itself is sent to node {node} when there is one",
        )
    return None
