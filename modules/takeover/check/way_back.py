"""What has to hold so that KubeEdge's cloudcore can take the edges back."""

from __future__ import annotations

from collections.abc import Iterator

from modules.common.kubeedge_secrets import NAMESPACE, SERVER_SECRET
from modules.takeover.check.authority import is_usable_by_go
from modules.takeover.check.subject import RECORD, Subject
from supervisor.api import Check, Finding


def checks(subject: Subject) -> list[Check]:
    def look() -> Iterator[Finding]:
        if not is_usable_by_go(subject):
            yield Finding.wrong(
                "this cloudcore's CA has an RSA key, and KubeEdge's cloudcore reads ECDSA keys "
                "alone: it could not take the edges back. Use the CA of KubeEdge"
            )
            return
        if subject.records:
            text = "what edges have acknowledged stays in ObjectSyncs, for KubeEdge's cloudcore too"
            yield Finding.ok(text)
        else:
            yield Finding.note(
                "without ObjectSyncs KubeEdge's cloudcore would send each edge all again, and not "
                "notice what was deleted meanwhile",
                subject.command("run", *RECORD),
            )
        yield Finding.note(
            f"on the way back, stop this cloudcore, delete {NAMESPACE}/{SERVER_SECRET} (its "
            "certificate ends after a year, and KubeEdge does not renew it), and start KubeEdge's",
            f"kubectl -n {NAMESPACE} delete secret {SERVER_SECRET}",
        )

    return [Check("the way back", look)]
