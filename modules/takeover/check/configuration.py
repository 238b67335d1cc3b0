"""Whether this cloudcore's configuration leads to the same cluster, and to the same edges."""

from __future__ import annotations

from collections.abc import Iterator

from modules.takeover.check.subject import Subject
from supervisor.api import Check, Finding


def checks(subject: Subject) -> list[Check]:
    def look() -> Iterator[Finding]:
        if not subject.is_told_of_cluster:
            yield Finding.wrong(
                "this cloudcore's configuration names no cluster: it would run an embedded API "
                "server. Convert that of KubeEdge, and use it with --config",
                subject.conversion,
            )
        if subject.go and (others := _other_ports(subject)):
            text = f"edges dial {others}: set these ports, or have them forwarded"
            yield Finding.wrong(text, subject.command("config", "show"))
        elif subject.is_told_of_cluster:
            yield Finding.ok("this cloudcore's configuration names a cluster, and ports of edges")

    return [Check("this cloudcore's configuration", look)]


def _other_ports(subject: Subject) -> str:
    assert subject.go
    dialled = list(dict.fromkeys(port for _, port in subject.go.served))
    pairs = zip(dialled, subject.ports, strict=False)
    return ", ".join(f"port {theirs}, and ours is {own}" for theirs, own in pairs if theirs != own)
