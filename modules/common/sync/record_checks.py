"""What `cloudcore doctor` checks of a controller that keeps its record in ObjectSyncs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from modules.common.kube import CLUSTEROBJECTSYNCS, OBJECTSYNCS, KubeClient, served_resources
from modules.common.kube.api_checks import MORE_ROLES, api_check, rights_check
from modules.common.kube.rights import Right, rights
from supervisor.api import Check, Finding, Settings

#: With record = "objectsync".
FOR_OBJECTSYNCS: Final[list[Right]] = [
    *rights(OBJECTSYNCS.group, "list create delete", "objectsyncs clusterobjectsyncs"),
    *rights(OBJECTSYNCS.group, "patch", "objectsyncs/status clusterobjectsyncs/status"),
]


def record_checks(module: str, settings: Settings, command: Callable[..., str]) -> list[Check]:
    """Return the checks of the CRDs and of the rights."""

    async def definitions(client: KubeClient) -> list[Finding]:
        served = await served_resources(client, OBJECTSYNCS.group)
        plurals = served.get(OBJECTSYNCS.version, set())
        if {OBJECTSYNCS.plural, CLUSTEROBJECTSYNCS.plural} <= plurals:
            return [Finding.ok("ObjectSyncs are served, for the record of what edges have")]
        text = 'the cluster lacks the CRDs of ObjectSyncs, which record = "objectsync" needs'
        return [Finding.wrong(text, f"{command('crds')} | kubectl apply -f -")]

    what = f"{module} with its record in ObjectSyncs"
    return [
        api_check("the CRDs of ObjectSyncs", settings, definitions),
        rights_check(what, settings, FOR_OBJECTSYNCS, MORE_ROLES),
    ]
