"""Allocation of cluster IPs to services."""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Iterable

from modules.apiserver.meta.objects import Entry, Json
from modules.apiserver.meta.status import ApiError, invalid, invalid_value

#: The default of kubeadm; by convention the first address is that of the service `kubernetes`.
NETWORK = ipaddress.ip_network("10.96.0.0/12")
_TRIES = 1000


def assign(service: Json, others: Iterable[Entry]) -> None:
    """Assign a free address to a service without one; raises ApiError (422) if its own is in use.

    The address is random: one that was just released is unlikely to be reused at once, while
    edges may still use it.
    """
    spec = service.get("spec")
    if not isinstance(spec, dict) or spec.get("type") == "ExternalName":
        return
    taken = {entry.fields.get("spec.clusterIP") for entry in others}
    address = spec.get("clusterIP")
    if address and address != "None" and address in taken:
        name = str(service["metadata"].get("name"))
        fault = invalid_value("spec.clusterIPs", address, "provided IP is already allocated")
        raise invalid("Service", "", name, [fault])
    spec["clusterIP"] = address or _free(taken)
    spec["clusterIPs"] = [spec["clusterIP"]]
    spec.setdefault("ipFamilies", ["IPv4"])
    spec.setdefault("ipFamilyPolicy", "SingleStack")


def _free(taken: set[str | None]) -> str:
    for _ in range(_TRIES):
        address = str(NETWORK[2 + secrets.randbelow(NETWORK.num_addresses - 3)])
        if address not in taken:
            return address
    raise ApiError(500, "InternalError", f"no free cluster IP found in {NETWORK}")
