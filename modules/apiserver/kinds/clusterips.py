"""Addresses of services."""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Iterable

from modules.apiserver.meta.objects import Entry, Json
from modules.apiserver.meta.status import ApiError, invalid, invalid_value

# kubeadm's default; the first address is by convention the API server's own service.
NETWORK = ipaddress.ip_network("10.96.0.0/12")
_TRIES = 1000


def assign(service: Json, others: Iterable[Entry]) -> None:
    """Give a service without an address a free one; raises ApiError when it asks for a taken one.

    Which address is chosen is up to chance: one that has just become free should not come back
    at once, since edges may still have it in use.
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
