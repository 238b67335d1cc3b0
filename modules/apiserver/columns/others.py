"""Columns of leases and endpoint slices."""

from __future__ import annotations

from modules.apiserver.columns.cells import AGE, NAME, Column, first_few, text
from modules.apiserver.meta.objects import Json


def _slice_ports(slice_: Json) -> str:
    return first_few(str(port.get("port", "*")) for port in slice_.get("ports") or ()) or "<unset>"


def _slice_endpoints(slice_: Json) -> str:
    addresses = [
        address for point in slice_.get("endpoints") or () for address in point.get("addresses", ())
    ]
    return first_few(addresses) or "<unset>"


LEASES = (NAME, Column("Holder", text("spec", "holderIdentity")), AGE)

ENDPOINTSLICES = (
    NAME,
    Column("AddressType", text("addressType")),
    Column("Ports", _slice_ports),
    Column("Endpoints", _slice_endpoints),
    AGE,
)
