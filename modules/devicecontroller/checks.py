"""What `cloudcore doctor` checks for DeviceController: the API, rights, and CRDs of devices."""

from __future__ import annotations

from collections.abc import Callable

from modules.common.crds.device_versions import DeviceVersions
from modules.common.kube import KubeClient
from modules.common.kube.api_checks import (
    MORE_ROLES,
    api_check,
    reachability,
    replica_rights_check,
    rights_check,
)
from modules.common.sync.record_checks import file_check, record_checks
from modules.devicecontroller.config import DeviceControllerConfig
from modules.devicecontroller.rights import FOR_CRDS, FOR_REPLICAS, RIGHTS
from supervisor.api import Check, Finding, Settings


def checks(
    config: DeviceControllerConfig, settings: Settings, command: Callable[..., str]
) -> list[Check]:
    async def definitions(client: KubeClient) -> list[Finding]:
        versions = await DeviceVersions.read(client)
        if versions.are_known:
            return [Finding.ok(str(versions))]
        if config.install_crds and not versions.served:
            return [Finding.note(f"{versions}; devicecontroller installs them at its start")]
        return [Finding.wrong(str(versions), f"{command('crds')} | kubectl apply -f -")]

    found = [
        reachability(settings, command),
        rights_check("devicecontroller", settings, RIGHTS),
        api_check("the CRDs of devices", settings, definitions),
        file_check("devicecontroller", settings),
    ]
    if config.install_crds:
        what = "devicecontroller with install_crds"
        found.append(rights_check(what, settings, FOR_CRDS, MORE_ROLES))
    if config.record == "objectsync":
        found += record_checks("devicecontroller", settings, command)
    if settings.replicas.enabled:
        found.append(replica_rights_check("devicecontroller", settings, FOR_REPLICAS))
    return found
