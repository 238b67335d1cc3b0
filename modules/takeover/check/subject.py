"""What is taken over, and the cloudcore that takes it over."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from modules.common.kube.api_checks import Look, api_check
from modules.common.pki.authority import AuthorityFiles
from modules.common.pki.certificates import ALWAYS_NAMED, configured_authority
from modules.common.pki.host_names import served_names
from modules.takeover.go_configuration import GoConfiguration
from supervisor.api import Check, KubernetesSettings, Settings

Command = Callable[..., str]

_AS_ADMINISTRATOR: Final = "cloudcore takeover check --set kubernetes.kubeconfig=admin.conf FILE"


#: What has both controllers keep their record in ObjectSyncs.
RECORD: Final = (
    *("--set", 'modules.edgecontroller.record="objectsync"'),
    *("--set", 'modules.devicecontroller.record="objectsync"'),
)


@dataclass(frozen=True)
class Subject:
    """The configuration of both sides."""

    settings: Settings
    """with the API server of this cloudcore, or else of KubeEdge's"""
    go: GoConfiguration | None
    authority: AuthorityFiles | Path
    """the files of this cloudcore's CA, or of its certificate alone"""
    has_files: bool
    """whether these files are named in the configuration"""
    names: Sequence[str]
    """what this cloudcore's server certificate names"""
    ports: tuple[int, int]
    """where this cloudcore serves edges, and lets them join"""
    is_told_of_cluster: bool
    """whether this cloudcore's own configuration names the cluster"""
    records: bool
    """whether this cloudcore keeps its record in ObjectSyncs"""
    records_devices: bool
    """whether it keeps that of devices there too"""
    strict: bool
    """whether the certificate of an edge has to name its node"""
    selector: str
    """which Nodes are edges"""
    command: Command

    @property
    def conversion(self) -> str:
        """The command that makes a configuration of this cloudcore from KubeEdge's."""
        file = self.go.file if self.go else "cloudcore.yaml"
        return f"{shlex.join(['cloudcore', 'config', 'convert', file])} > cloudcore.toml"

    def api_check(self, title: str, look: Look) -> Check:
        """Return a check that asks the API for more than cloudcore itself may."""
        return api_check(title, self.settings, look, rights=_AS_ADMINISTRATOR)


def subject(
    configuration: Any, paths: Any, go: GoConfiguration | None, command: Command
) -> Subject:
    """Return the subject for this cloudcore's configuration and directories."""
    modules = {module.name: module.config for module in configuration.modules}
    hub, controller = modules["cloudhub"], modules["edgecontroller"]
    kubernetes: KubernetesSettings = configuration.kubernetes
    if go and not kubernetes.configured:
        kubernetes = go.kubernetes
    return Subject(
        settings=Settings(paths.data_dir, paths.run_dir, kubernetes),
        go=go,
        authority=configured_authority(hub.ca, hub.ca_key, paths.data_dir),
        has_files=bool(hub.ca),
        names=(*ALWAYS_NAMED, *served_names(hub.names, hub.address)),
        ports=(hub.port, hub.https_port),
        is_told_of_cluster=configuration.kubernetes.configured,
        records=controller.record == "objectsync",
        records_devices=modules["devicecontroller"].record == "objectsync",
        strict=hub.authorization == "strict",
        selector=controller.edge_node_selector,
        command=command,
    )
