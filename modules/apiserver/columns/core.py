"""Columns of configmaps, secrets, services, endpoints, namespaces and events."""

from __future__ import annotations

from modules.apiserver.columns.cells import (
    AGE,
    NAME,
    NONE,
    Column,
    count,
    first_few,
    join_labels,
    since,
    text,
)
from modules.apiserver.meta.objects import Json, dig


def _external_ip(service: Json) -> str:
    spec = service.get("spec") or {}
    ingress = [
        str(point.get("ip") or point.get("hostname"))
        for point in dig(service, "status", "loadBalancer", "ingress") or ()
    ]
    addresses = ingress + list(spec.get("externalIPs") or ())
    if spec.get("type") == "ExternalName":
        return str(spec.get("externalName"))
    if not addresses and spec.get("type") == "LoadBalancer":
        return "<pending>"
    return ",".join(addresses) or NONE


def _ports(service: Json) -> str:
    texts = []
    for port in dig(service, "spec", "ports") or ():
        node_port = f":{port['nodePort']}" if port.get("nodePort") else ""
        texts.append(f"{port.get('port')}{node_port}/{port.get('protocol', 'TCP')}")
    return ",".join(texts) or NONE


def _endpoints(endpoints: Json) -> str:
    texts = []
    for subset in endpoints.get("subsets") or ():
        addresses = [address.get("ip") for address in subset.get("addresses") or ()]
        ports = [port.get("port") for port in subset.get("ports") or ()]
        texts += [f"{address}:{port}" for port in ports for address in addresses]
        if not ports:
            texts += addresses
    return first_few(texts) or NONE


def _last_seen(event: Json) -> str:
    return since(
        dig(event, "series", "lastObservedTime")
        or event.get("lastTimestamp")
        or event.get("eventTime")
        or event["metadata"].get("creationTimestamp")
    )


def _first_seen(event: Json) -> str:
    return since(event.get("firstTimestamp") or event.get("eventTime"))


def _involved(event: Json) -> str:
    about = event.get("involvedObject") or {}
    return f"{str(about.get('kind', '')).lower()}/{about.get('name', '')}"


def _source(event: Json) -> str:
    source = event.get("source") or {}
    component = source.get("component") or event.get("reportingComponent")
    return ", ".join(filter(None, [component, source.get("host")]))


CONFIGMAPS = (NAME, Column("Data", count("data", "binaryData"), "integer"), AGE)

SECRETS = (NAME, Column("Type", text("type")), Column("Data", count("data"), "integer"), AGE)

SERVICES = (
    NAME,
    Column("Type", text("spec", "type")),
    Column("Cluster-IP", text("spec", "clusterIP", default=NONE)),
    Column("External-IP", _external_ip),
    Column("Port(s)", _ports),
    AGE,
    Column("Selector", lambda obj: join_labels(dig(obj, "spec", "selector")), wide=True),
)

ENDPOINTS = (NAME, Column("Endpoints", _endpoints), AGE)

NAMESPACES = (NAME, Column("Status", text("status", "phase")), AGE)

EVENTS = (
    Column("Last Seen", _last_seen),
    Column("Type", text("type")),
    Column("Reason", text("reason")),
    Column("Object", _involved),
    Column("Subobject", text("involvedObject", "fieldPath"), wide=True),
    Column("Source", _source, wide=True),
    Column("Message", lambda event: str(event.get("message") or "").strip()),
    Column("First Seen", _first_seen, wide=True),
    Column("Count", lambda event: event.get("count") or 1, "integer", wide=True),
    Column("Name", NAME.cell, format="name", wide=True),
)
