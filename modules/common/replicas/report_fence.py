"""No report of an edge is written over a later one that another replica has written.

A report that has waited here, while this replica was cut off the API for example, may be older than
what the edge has reported to another replica since. So the write of a report names the version of
the object that it changes, and that is a clean one: no report that another replica has taken later
is in it. Clean is

- a version that this replica has written in this way itself;
- a version that it has known before it read the Lease of the node, which named this replica.
  Whoever takes the node over after that writes a later version, so that the write conflicts.

Hence the order after a conflict: first the object, then the Lease. As long as nobody else writes an
object, no request is made but the write itself.

Without a Lease a holder goes on (holdings.py). The Lease does not tell whether an edge has been
away and has come back, so the controllers drop what it has reported when its connection ends.

tests/modules/common/replicas/test_reporting.py has every history up to a number of failures.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from modules.common.kube import LEASES, BadObject, KubeClient, NotFound, Resource
from modules.common.replicas.leases import OF_NODE, name_of, read_node_lease
from modules.common.shared_answers import SharedAnswers
from supervisor.api import ReplicasSettings

#: Objects whose clean version is remembered, some 300 bytes each; a further one costs a read.
_MOST: Final = 100_000
#: Leases that are read at a time.
_AT_ONCE: Final = 16

#: The plural of an object's resource, its namespace and its name.
Target = tuple[str, str, str]


class HeldElsewhere(Exception):
    """A node is another replica's: what it has reported here is not written any more."""


class ReportFence:
    """The clean versions of what edges report about, and what the Leases of their nodes say."""

    def __init__(self, client: KubeClient, replicas: ReplicasSettings) -> None:
        self._client = client
        self._namespace = replicas.namespace
        self._replica = replicas.identity
        self._clean: OrderedDict[Target, str] = OrderedDict()
        self._holders = SharedAnswers(self._read_holder, _AT_ONCE)

    def clean_version(self, target: Target) -> str:
        """Return the version of an object that is known to be clean; empty if none is."""
        return self._clean.get(target, "")

    def note_clean(self, target: Target, version: str) -> None:
        """Remember a version that was written with a clean one as its condition."""
        self._clean[target] = version
        self._clean.move_to_end(target)
        if len(self._clean) > _MOST:
            self._clean.popitem(last=False)

    async def check(self, node: str, target: Target, version: str) -> None:
        """Return once a version that was read before is clean for the reports of a node.

        Raises HeldElsewhere if it may not be, and a KubeError if the API does not say it.
        """
        if self._clean.get(target) == version:
            return
        if await self._holders.ask(node) not in ("", self._replica):
            raise HeldElsewhere(node)
        self.note_clean(target, version)

    async def _read_holder(self, node: str) -> str:
        try:
            lease = await self._client.get(LEASES, name_of(OF_NODE, node), self._namespace)
            return read_node_lease(lease).holder
        except (NotFound, BadObject):
            return ""


def target_of(resource: Resource, namespace: str | None, name: str) -> Target:
    return resource.plural, namespace or "", name
