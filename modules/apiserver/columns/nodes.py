"""Columns of nodes."""

from __future__ import annotations

from collections.abc import Callable

from modules.apiserver.columns.cells import AGE, NAME, NONE, UNKNOWN, Column, text
from modules.apiserver.meta.objects import Json, dig

_ROLE_PREFIX = "node-role.kubernetes.io/"


def _status(node: Json) -> str:
    ready = [
        condition.get("status")
        for condition in dig(node, "status", "conditions") or ()
        if condition.get("type") == "Ready"
    ]
    states = ["Unknown"]
    if ready:
        states = ["Ready" if ready[0] == "True" else "NotReady"]
    if dig(node, "spec", "unschedulable"):
        states.append("SchedulingDisabled")
    return ",".join(states)


def _roles(node: Json) -> str:
    labels = node["metadata"].get("labels") or {}
    roles = {key.removeprefix(_ROLE_PREFIX) for key in labels if key.startswith(_ROLE_PREFIX)}
    if "kubernetes.io/role" in labels:
        roles.add(labels["kubernetes.io/role"])
    return ",".join(sorted(roles - {""})) or NONE


def _address(kind: str) -> Callable[[Json], str]:
    def cell(node: Json) -> str:
        for address in dig(node, "status", "addresses") or ():
            if address.get("type") == kind:
                return str(address.get("address"))
        return NONE

    return cell


def _info(field: str) -> Callable[[Json], str]:
    return text("status", "nodeInfo", field, default=UNKNOWN)


NODES = (
    NAME,
    Column("Status", _status),
    Column("Roles", _roles),
    AGE,
    Column("Version", text("status", "nodeInfo", "kubeletVersion")),
    Column("Internal-IP", _address("InternalIP"), wide=True),
    Column("External-IP", _address("ExternalIP"), wide=True),
    Column("OS-Image", _info("osImage"), wide=True),
    Column("Kernel-Version", _info("kernelVersion"), wide=True),
    Column("Container-Runtime", _info("containerRuntimeVersion"), wide=True),
)
