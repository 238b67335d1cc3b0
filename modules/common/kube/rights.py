"""What a module may do in the API: asked with SelfSubjectAccessReviews."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from typing import Final, NamedTuple

from modules.common.kube.client import KubeClient
from modules.common.kube.kinds import SELFSUBJECTACCESSREVIEWS

#: Reviews at a time.
_AT_ONCE: Final = 16


class Right(NamedTuple):
    """A right as RBAC names it."""

    verb: str
    group: str
    resource: str
    """the plural, or plural/subresource"""
    name: str = ""
    """of the one object that it is for; of all if empty"""
    namespace: str = ""
    """in which it is needed; the configured one, or all, if empty"""


def rights(group: str, verbs: str, resources: str, **limits: str) -> list[Right]:
    """Return the rights of a rule: verbs and resources are separated by spaces."""
    return [
        Right(verb, group, resource, **limits)
        for resource in resources.split()
        for verb in verbs.split()
    ]


async def missing(client: KubeClient, wanted: Iterable[Right], namespace: str) -> list[Right]:
    """Return the rights that this client's user has not; raises a KubeError.

    `namespace` is the configured one; empty: all.
    """
    room = asyncio.Semaphore(_AT_ONCE)
    asked = list(wanted)

    async def is_allowed(right: Right) -> bool:
        async with room:
            return await _is_allowed(client, right, namespace)

    allowed = await asyncio.gather(*map(is_allowed, asked))
    return [right for right, may in zip(asked, allowed, strict=True) if not may]


def describe(found: Iterable[Right]) -> str:
    """Return rights as a phrase: "list, watch pods; create leases"."""
    verbs: defaultdict[tuple[str, str, str], list[str]] = defaultdict(list)
    for verb, *right in found:
        verbs[right[1], right[2], right[3]].append(verb)
    resources: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for (resource, name, namespace), each in verbs.items():
        what = f"{resource} {name}".strip()
        resources[", ".join(each), namespace].append(what)
    return "; ".join(
        f"{may} {', '.join(whats)}{f' in {namespace}' if namespace else ''}"
        for (may, namespace), whats in resources.items()
    )


async def _is_allowed(client: KubeClient, right: Right, namespace: str) -> bool:
    plural, _, subresource = right.resource.partition("/")
    attributes = {
        "verb": right.verb,
        "group": right.group,
        "resource": plural,
        "subresource": subresource,
        "name": right.name,
        "namespace": right.namespace or namespace,
    }
    spec = {"resourceAttributes": {key: value for key, value in attributes.items() if value}}
    review = await client.create(SELFSUBJECTACCESSREVIEWS, {"metadata": {}, "spec": spec})
    return bool((review.get("status") or {}).get("allowed"))
