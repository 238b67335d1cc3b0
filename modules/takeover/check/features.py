"""What of KubeEdge is in use and has no equivalent, and what happens then.

docs/compatibility.md has all of it; here is what can be seen in a configuration or a cluster.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from modules.common.kube import KubeClient, NotFound, Resource, served_resources
from modules.common.kube.kinds import DAEMONSETS
from modules.common.kubeedge_secrets import NAMESPACE
from modules.takeover.check.subject import Subject
from modules.takeover.keys import why_not
from supervisor.api import Check, Finding


class _Kind(NamedTuple):
    """Objects that are in use if there are any; `then` says what happens without KubeEdge."""

    group: str
    versions: tuple[str, ...]
    """the newest first"""
    plural: str
    then: str

    def resource(self, served: Mapping[str, set[str]]) -> Resource | None:
        """Return the resource in the newest version that is served; None if none is."""
        for version in self.versions:
            if self.plural in served.get(version, ()):
                return Resource(self.group, version, self.plural, self.plural, namespaced=True)
        return None


_BESIDE: Final = "KubeEdge's controllermanager goes on with them beside cloudcore"

_OPERATIONS: Final = ("operations.kubeedge.io", ("v1alpha2", "v1alpha1"))

_KINDS: Final = (
    _Kind("rules.kubeedge.io", ("v1",), "rules", why_not("modules.router")),
    _Kind(*_OPERATIONS, "nodeupgradejobs", why_not("modules.taskManager")),
    _Kind(*_OPERATIONS, "imageprepulljobs", why_not("modules.taskManager")),
    _Kind(*_OPERATIONS, "configupdatejobs", why_not("modules.taskManager")),
    _Kind(
        "policy.kubeedge.io",
        ("v1alpha1",),
        "serviceaccountaccesses",
        "they are not sent: the edges' metaServer decides by what it has",
    ),
    _Kind("apps.kubeedge.io", ("v1alpha1",), "edgeapplications", _BESIDE),
)

_IPTABLES: Final = "cloud-iptables-manager"


def checks(subject: Subject) -> list[Check]:
    async def look(client: KubeClient) -> list[Finding]:
        found = await _in_cluster(client)
        return found or [
            Finding.ok("the cluster has no objects that only KubeEdge's cloudcore serves")
        ]

    found = [subject.api_check("features in use, in the cluster", look)]
    if subject.go:
        go = subject.go

        def enabled() -> Iterator[Finding]:
            keys = list(go.enabled())
            for key in keys:
                yield Finding.note(f"{key} is enabled: {why_not(key)}")
            if not keys:
                yield Finding.ok("its configuration enables nothing that cloudcore has not")

        found.append(Check("features in use, by the configuration", enabled))
    return found


async def _in_cluster(client: KubeClient) -> list[Finding]:
    groups = {each.group for each in _KINDS}
    served = {group: await served_resources(client, group) for group in groups}
    found = []
    for kind in _KINDS:
        resource = kind.resource(served[kind.group])
        if resource and (count := len((await client.list(resource)).items)):
            text = f"{count} {kind.plural}.{kind.group}: {kind.then}"
            found.append(Finding.ok(text) if kind.then == _BESIDE else Finding.note(text))
    try:
        await client.get(DAEMONSETS, _IPTABLES, NAMESPACE)
    except NotFound:
        return found
    text = f"the DaemonSet {NAMESPACE}/{_IPTABLES} runs: {why_not('modules.iptablesManager')}"
    return [*found, Finding.note(text, f"kubectl -n {NAMESPACE} delete daemonset {_IPTABLES}")]
