"""Why a Device of v1alpha1 cannot be used."""

from __future__ import annotations

from collections.abc import Callable

from modules.common.kube import Object, Reason, explain, key_of
from modules.devicecontroller.status.acceptance import DeviceFault
from modules.devicecontroller.v1alpha1.device import model_of
from modules.devicecontroller.v1alpha1.sync.inventory import Inventory, slot_of


def fault_of(
    device: Object, inventory: Inventory, takes_devices: Callable[[str], bool]
) -> DeviceFault | None:
    """Return the fault of a device, None if it can be used.

    `takes_devices` says whether a node's edge knows devices of this version.
    """
    slot = slot_of(device)
    if slot is None:
        return DeviceFault(
            Reason.NO_NODE,
            "the device names no edge node: put the node's name into "
            "spec.nodeSelector.nodeSelectorTerms[0].matchExpressions[0].values[0]",
        )
    if ("", slot.node) not in inventory.known_nodes:
        return DeviceFault(
            Reason.UNKNOWN_NODE,
            f"there is no node {slot.node!r}: the device is announced to it when it connects",
        )
    if not takes_devices(slot.node):
        return DeviceFault(
            Reason.OTHER_VERSION,
            f"the edge of node {slot.node} is of a later KubeEdge than 1.1 and knows devices of "
            "v1beta1 only: create the device in that version",
        )
    holder = inventory.holder(slot)
    if holder is not None and holder != key_of(device):
        return DeviceFault(
            Reason.NAME_TAKEN,
            f"node {slot.node} already has the device {'/'.join(holder)}, and an edge node knows a "
            f"device by its name alone: rename one of the two or bind it to another node",
        )
    namespace, model = model_of(device)
    aside = inventory.models_aside.get((namespace, model))
    if aside and (namespace, model) not in inventory.models:
        return DeviceFault(
            Reason.INVALID_MODEL,
            f"DeviceModel {model!r} in namespace {namespace} cannot be used: "
            f"{explain(aside.error)[1]}; the device is left out of the device profile of node "
            f"{slot.node} until the model is changed",
        )
    if (namespace, model) not in inventory.models:
        return DeviceFault(
            Reason.UNKNOWN_MODEL,
            f"there is no DeviceModel {model!r} in namespace {namespace}: the device is left out "
            f"of the device profile of node {slot.node} until it is created",
        )
    return None
