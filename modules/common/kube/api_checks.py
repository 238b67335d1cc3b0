"""Checks of the Kubernetes API for `cloudcore doctor`: whether it answers, its clock, rights."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime
from typing import Final

from modules.common.kube.client import KubeClient
from modules.common.kube.credentials import kubeconfig_path
from modules.common.kube.errors import Forbidden, KubeError
from modules.common.kube.rights import Right, describe, missing
from modules.common.times import now
from supervisor.api import Check, Finding, Settings

Look = Callable[[KubeClient], Awaitable[list[Finding]]]

#: The oldest Kubernetes that cloudcore works with.
_OLDEST: Final = (1, 22)

#: Seconds by which the clocks may differ: certificates are valid from an hour ago, and leases of
#: nodes hold for 40 s.
_SKEW: Final = 20.0

#: Where the rights are granted, and those for single settings.
ROLES: Final = "kubectl apply -f deploy/rbac/cloudcore.yaml"
MORE_ROLES: Final = "kubectl apply -k deploy/rbac/optional"
#: The namespace of the Roles there.
NAMESPACE: Final = "kubeedge"


def reachability(settings: Settings, command: Callable[..., str]) -> Check:
    """Return the check whether the API answers, in a version that cloudcore knows."""

    async def look() -> list[Finding]:
        to_come = "the embedded Kubernetes API runs with cloudcore, and is looked at then"
        if _is_to_come(settings):
            return [Finding.note(to_come, command("run"))]
        try:
            async with KubeClient.connect(settings, user_agent="cloudcore-doctor") as client:
                return await _reached(client)
        except KubeError as error:
            if not settings.kubernetes.configured:
                return [Finding.note(to_come, command("run"))]
            text = f"the Kubernetes API does not answer: {error.cause}"
            return [Finding.wrong(text, _try(settings))]

    return Check("the Kubernetes API", look)


def api_check(title: str, settings: Settings, look: Look, *, rights: str = ROLES) -> Check:
    """Return a check that asks the API; it finds nothing while the embedded one does not run.

    `rights` is the command with which it may ask.
    """

    async def guarded() -> list[Finding]:
        if _is_to_come(settings):
            return []
        try:
            async with KubeClient.connect(settings, user_agent="cloudcore-doctor") as client:
                return await look(client)
        except Forbidden as error:
            return [Finding.unclear(f"cannot check {title}: {error}", rights)]
        except KubeError as error:
            if error.outage and not settings.kubernetes.configured:
                return []
            return [Finding.unclear(f"cannot check {title}: {error.cause}")]

    return Check(title, guarded)


def rights_check(
    module: str, settings: Settings, wanted: Iterable[Right], roles: str = ROLES, hint: str = ""
) -> Check:
    """Return the check whether a module has its rights; `roles` is the command that grants them.

    `hint` says what is to be done before that command.
    """
    needed = list(wanted)

    async def look(client: KubeClient) -> list[Finding]:
        lacking = await missing(client, needed, settings.kubernetes.namespace)
        if lacking:
            text = f"{module} may not {describe(lacking)}: grant these rights{hint}"
            return [Finding.wrong(text, roles)]
        return [Finding.ok(f"{module} has all {len(needed)} rights that it needs")]

    return api_check(f"the rights of {module}", settings, look)


def replica_rights_check(module: str, settings: Settings, wanted: Iterable[Right]) -> Check:
    """Return the check of the rights of a module as one of several replicas.

    Those that are limited to a namespace are needed in that of `[replicas]`.
    """
    namespace = settings.replicas.namespace
    needed = [each._replace(namespace=namespace) if each.namespace else each for each in wanted]
    hint = ""
    if namespace != NAMESPACE:
        hint = (
            f"; deploy/rbac/optional/rights.yaml has them in {NAMESPACE}, and replicas.namespace "
            f"is {namespace}: change it there in the Role and the RoleBinding cloudcore-replicas"
        )
    what = f"{module} as one of several replicas"
    return rights_check(what, settings, needed, MORE_ROLES, hint)


def _is_to_come(settings: Settings) -> bool:
    """Whether the kubeconfig is one that the embedded API server writes at its first start."""
    path = kubeconfig_path(settings)
    return not settings.kubernetes.configured and path is not None and not path.exists()


async def _reached(client: KubeClient) -> list[Finding]:
    version, theirs = await client.about()
    what = f"the Kubernetes API at {client.server}"
    found = []
    if version.number and version.number < _OLDEST:
        text = f"{what} is {version.text}, and cloudcore needs 1.22 or later: upgrade the cluster"
        found.append(Finding.wrong(text, "kubectl version"))
    else:
        found.append(Finding.ok(f"{what} answers: {version.text}"))
    return [*found, *_clocks(theirs)]


def _clocks(theirs: datetime | None) -> list[Finding]:
    if theirs is None:
        return []
    ahead = (now() - theirs).total_seconds()
    if abs(ahead) <= _SKEW:
        return [Finding.ok("the clocks of this host and of the API server agree")]
    which = "ahead of" if ahead > 0 else "behind"
    text = (
        f"the clock of this host is {abs(ahead):.0f} s {which} that of the API server: "
        "certificates and tokens of one are not valid yet, or expired, for the other"
    )
    return [Finding.wrong(text, "timedatectl set-ntp true")]


def _try(settings: Settings) -> str:
    path = kubeconfig_path(settings)
    return f"kubectl --kubeconfig {path} version" if path else "kubectl version"
