"""Columns of CertificateSigningRequests."""

from __future__ import annotations

from modules.apiserver.columns.cells import AGE, NAME, NONE, Column, human_duration, text
from modules.apiserver.meta.objects import Json, dig


def _condition(request: Json) -> str:
    types = {item.get("type") for item in dig(request, "status", "conditions") or ()}
    states = ["Pending"]
    for type_ in ("Approved", "Denied"):
        if type_ in types:
            states = [type_]
    if "Failed" in types:
        states.append("Failed")
    if dig(request, "status", "certificate"):
        states.append("Issued")
    return ",".join(states)


def _duration(request: Json) -> str:
    seconds = dig(request, "spec", "expirationSeconds")
    return NONE if seconds is None else human_duration(seconds)


CERTIFICATESIGNINGREQUESTS = (
    NAME,
    AGE,
    Column("SignerName", text("spec", "signerName")),
    Column("Requestor", text("spec", "username")),
    Column("RequestedDuration", _duration),
    Column("Condition", _condition),
)
