"""CloudHub in more than one process: all share the listening socket, the first one leads.

    controllers --> inbox of the leader --> its own sessions
                          |
                          +--- forwarded messages ---> inbox of a follower --> its sessions
                          |--- grant refuse evict call reset --->|
                          |<-- claim enroll release roster ------|

The leader (leader.py) keeps the directory (directory.py); the followers (follower.py) claim nodes
and report what they hold. Any of them may be killed: the channels keep what was sent, a restarted
leader calls for the rosters, and a restarted follower sends a roster without nodes. The processes
exchange messages of the group GROUP with the resource `node/{node}`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Protocol

from ipc import Message

#: The leader's unit: the only one in the group `cloudhub`.
FIRST: Final = "cloudhub"
GROUP: Final = "cloudhub.processes"

# To the leader. Content: [unit, serial, generation], of a roster
# [unit, [[node, serial, generation]]]; a generation is empty until the session is enrolled.
CLAIM: Final = "claim"
ENROLL: Final = "enroll"
RELEASE: Final = "release"
ROSTER: Final = "roster"
# From the leader. Content: [serial, reason].
GRANT: Final = "grant"
REFUSE: Final = "refuse"
EVICT: Final = "evict"
CALL: Final = "call"
RESET: Final = "reset"

_ALL: Final = "*"  # no node has this name


class ClusterSession(Protocol):
    """A session, as far as the cluster is concerned."""

    node: str
    serial: int

    @property
    def generation_name(self) -> str: ...
    @property
    def pending(self) -> bool: ...
    def granted(self) -> None: ...
    def refused(self, reason: str, cause: str = ...) -> None: ...
    def replaced(self) -> None: ...
    def start_over(self, reason: str) -> None: ...


class Cluster(Protocol):
    """This process's part in the cluster: Leader or Follower."""

    async def run(self) -> None:
        """Exchange messages with the other processes until cancelled."""

    async def joined(self) -> None:
        """Wait until enough is known of the other processes to accept edges."""

    async def drained(self) -> None:
        """Wait until all queued messages have been sent."""

    def check(self, node: str) -> None:
        """Raise HandshakeRefused if it is known at once that the node may not connect."""

    def claim(self, session: ClusterSession) -> bool:
        """Claim the node for a session, and end an older one; whether it is granted at once.

        If not, `granted` or `refused` of the session is called later.
        """

    def enroll(self, session: ClusterSession) -> None:
        """Report that the session has been enrolled."""

    def release(self, session: ClusterSession) -> None:
        """Report that the session is over."""

    def handle(self, message: Message) -> None:
        """Handle a message of another process."""

    def forward(self, message: Message, node: str) -> bool:
        """Forward a message to the process that holds the node; False if there is none."""


def unit_names(count: int) -> Sequence[str]:
    """Return the unit names of `count` processes, as the supervisor gives them."""
    return [FIRST, *(f"{FIRST}-{number}" for number in range(2, count + 1))]


def process_message(operation: str, content: Any, node: str = _ALL) -> Message:
    """Return a message from one process of CloudHub to another."""
    return Message.build("cloudhub", GROUP, operation, f"node/{node}", content)
