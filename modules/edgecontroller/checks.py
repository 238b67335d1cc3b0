"""What `cloudcore doctor` checks for EdgeController: the API, rights, ObjectSyncs, edges."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Final

from modules.common.edge_versions import NEWEST, EdgeVersion
from modules.common.kube import (
    NODES,
    KubeClient,
    Object,
)
from modules.common.kube.api_checks import (
    api_check,
    reachability,
    replica_rights_check,
    rights_check,
)
from modules.common.sync.record_checks import file_check, record_checks
from modules.edgecontroller.config import EdgeControllerConfig
from modules.edgecontroller.rights import FOR_REPLICAS, RIGHTS
from supervisor.api import Check, Finding, Settings

#: Names of nodes that a finding lists.
_NAMED: Final = 5


def checks(
    config: EdgeControllerConfig, settings: Settings, command: Callable[..., str]
) -> list[Check]:
    async def edges(client: KubeClient) -> list[Finding]:
        page = await client.list(NODES, label_selector=config.edge_node_selector)
        return _edges(page.items, config.edge_node_selector)

    found = [
        reachability(settings, command),
        rights_check("edgecontroller", settings, RIGHTS),
        file_check("edgecontroller", settings),
    ]
    if config.record == "objectsync":
        found += record_checks("edgecontroller", settings, command)
    if settings.replicas.enabled:
        found.append(replica_rights_check("edgecontroller", settings, FOR_REPLICAS))
    return [*found, api_check("the edges", settings, edges)]


def _edges(nodes: list[Object], selector: str) -> list[Finding]:
    if not nodes:
        return [Finding.note(f"no Node is an edge by its labels ({selector})")]
    names: dict[EdgeVersion | None, list[str]] = {}
    for node in nodes:
        names.setdefault(EdgeVersion.of(node), []).append(node["metadata"]["name"])
    counts = Counter({version: len(each) for version, each in names.items()})
    known = ", ".join(
        f"{counts[version]} of {version}" for version in sorted(filter(None, counts), reverse=True)
    )
    found = [Finding.ok(f"edges by their version of KubeEdge: {known}")] if known else []
    for version, each in names.items():
        if version is None:
            text = f"{_named(each)}: the edge has not said its version yet"
            found.append(Finding.note(f"{text}, or is none of KubeEdge"))
        elif not version.is_tried:
            hint = "upgrade cloudcore" if version > NEWEST else "upgrade the edges"
            text = f"{_named(each)}: KubeEdge {version} was not tried with this cloudcore; {hint}"
            found.append(Finding.note(text, "" if version > NEWEST else "keadm upgrade edge"))
    return found


def _named(names: list[str]) -> str:
    more = len(names) - _NAMED
    listed = ", ".join(sorted(names)[:_NAMED])
    return f"{listed} and {more} more" if more > 0 else listed
