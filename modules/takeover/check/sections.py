"""All checks of a takeover, by section."""

from __future__ import annotations

from modules.common.kube.api_checks import reachability
from modules.takeover.check import authority, configuration, edges, features, running, way_back
from modules.takeover.check.subject import Subject
from supervisor.api import Check


def sections(subject: Subject) -> dict[str, list[Check]]:
    return {
        "the Kubernetes API": [reachability(subject.settings, subject.command)],
        "this cloudcore": configuration.checks(subject),
        "KubeEdge's cloudcore": running.checks(subject),
        "the CA, and how edges know the cloud": authority.checks(subject),
        "what edges have, and are sent": edges.checks(subject),
        "what KubeEdge does and cloudcore does not": features.checks(subject),
        "the way back": way_back.checks(subject),
    }
