"""CloudHub in more than one process: all share the listening socket, the first one leads.

    controllers --> inbox of the first --> its own sessions
                          |
                          +--- forwarded messages ---> inbox of another --> its sessions
                          |--- grant refuse evict call reset --->|
                          |<-- claim enroll release roster ------|

The first keeps the directory (directory.py, leading.py), the others ask and tell it
(following.py). Any of them may be killed: the channels keep what was sent, a new first one calls
the roster, and any other new one says by itself that it holds nothing. What the processes say to
each other are messages of the group GROUP, about `node/{node}`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Protocol

from ipc import Message

#: The first process's unit: it is the one that is in the group `cloudhub`.
FIRST: Final = "cloudhub"
GROUP: Final = "cloudhub.processes"

# To the first process. Content: [unit, serial]; of a roster [unit, [[node, serial, enrolled]]].
CLAIM: Final = "claim"
ENROLL: Final = "enroll"
RELEASE: Final = "release"
ROSTER: Final = "roster"
# From the first process. Content: [serial, reason].
GRANT: Final = "grant"
REFUSE: Final = "refuse"
EVICT: Final = "evict"
CALL: Final = "call"
RESET: Final = "reset"

_ALL: Final = "*"  # no node has this name


class ClusterSession(Protocol):
    """A session, as far as it is one among those of all processes."""

    node: str
    serial: int

    @property
    def enrolled(self) -> bool: ...
    @property
    def pending(self) -> bool: ...
    def granted(self) -> None: ...
    def refused(self, reason: str) -> None: ...
    def replaced(self) -> None: ...
    def start_over(self, reason: str) -> None: ...


class Cluster(Protocol):
    """This process among CloudHub's: it leads, or it follows."""

    async def run(self) -> None:
        """Talk to the other processes until cancelled."""

    async def joined(self) -> None:
        """Wait until enough is known of the others to let edges in."""

    async def drained(self) -> None:
        """Wait until all that was said has been sent."""

    def check(self, node: str) -> None:
        """HandshakeRefused, if it can be told at once that the node may not come."""

    def claim(self, session: ClusterSession) -> bool:
        """Claim the node for a session, and end an older one; whether it is granted at once.

        If not, `granted` or `refused` of the session is called later.
        """

    def enroll(self, session: ClusterSession) -> None:
        """Tell that the session has begun to speak."""

    def release(self, session: ClusterSession) -> None:
        """Tell that the session is over."""

    def handle(self, message: Message) -> None:
        """Take what another process says."""

    def forward(self, message: Message, node: str) -> bool:
        """Send a message to the process that holds the node; False if there is none."""


def unit_names(count: int) -> Sequence[str]:
    """Name the units of `count` processes, as the supervisor does."""
    return [FIRST, *(f"{FIRST}-{number}" for number in range(2, count + 1))]


def process_message(operation: str, content: Any, node: str = _ALL) -> Message:
    """Make a message from one process of CloudHub to another."""
    return Message.build("cloudhub", GROUP, operation, f"node/{node}", content)
