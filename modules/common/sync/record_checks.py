"""What `cloudcore doctor` checks of a controller's record: its files, or its ObjectSyncs."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterator
from typing import Final

from modules.common.kube import CLUSTEROBJECTSYNCS, OBJECTSYNCS, KubeClient, served_resources
from modules.common.kube.api_checks import MORE_ROLES, api_check, rights_check
from modules.common.kube.rights import Right, rights
from modules.common.sync.journal import UNUSABLE
from supervisor.api import Check, Finding, Settings

#: With record = "objectsync".
FOR_OBJECTSYNCS: Final[list[Right]] = [
    *rights(OBJECTSYNCS.group, "list create delete", "objectsyncs clusterobjectsyncs"),
    *rights(OBJECTSYNCS.group, "patch", "objectsyncs/status clusterobjectsyncs/status"),
]


def file_check(module: str, settings: Settings) -> Check:
    """Return the check whether a file of the module's record was damaged and set aside."""

    def look() -> Iterator[Finding]:
        for path in sorted((settings.data_dir / module).glob(f"*{UNUSABLE}")):
            at = time.strftime("%Y-%m-%d %H:%M", time.localtime(path.stat().st_ctime))
            text = (
                f"{module}'s record of what edges have was damaged, and set aside at {at} as "
                f"{path}: an object that was deleted before may still be on an edge; compare, "
                "delete it there, and remove the file"
            )
            yield Finding.wrong(text, f"rm {shlex.quote(str(path))}")

    return Check(f"the files of the record of {module}", look)


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
