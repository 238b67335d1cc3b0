"""Why a Device of v1beta1 cannot be used."""

from __future__ import annotations

from modules.common.edge_versions import V1_1, V1_15, EdgeVersion
from modules.common.kube import Object, Reason, explain, key_of
from modules.devicecontroller.edges import Edges
from modules.devicecontroller.status.acceptance import DeviceFault
from modules.devicecontroller.v1beta1.inventory import Inventory
from modules.devicecontroller.v1beta1.objects import model_of, node_of


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
        return _other_version(node, edges.version(node) or V1_1)
    holder = inventory.holder(node, device["metadata"]["name"])
    if holder and holder != key_of(device) and edges.names_devices_alone(node):
        return DeviceFault(
            Reason.NAME_TAKEN,
            f"node {node} already has the device {'/'.join(holder)}, and an edge of KubeEdge "
            f"{V1_15} knows a device by its name alone: rename one of the two, bind it to another "
            "node, or upgrade the edge",
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


def _other_version(node: str, version: EdgeVersion) -> DeviceFault:
    text = f"the edge of node {node} is of KubeEdge {version} and knows "
    if version == V1_1:
        text += "devices of v1alpha1 only: create the device in that version"
    else:
        text += f"no devices of v1beta1: upgrade it to KubeEdge {V1_15} or later"
    return DeviceFault(Reason.OTHER_VERSION, text)
