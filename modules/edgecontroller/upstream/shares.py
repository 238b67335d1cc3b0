"""How much of what is in flight may be of one edge, so that a flood of one leaves room for all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

#: The part of all messages in flight that one edge may have; at least so many. A kubelet has some
#: dozens when it starts.
_PART: Final = 10
_LEAST: Final = 64

#: Bytes of one edge in flight: half of what the channel takes. One message may have more.
_BYTES: Final = 4 * 2**20


@dataclass(slots=True)
class _Share:
    messages: int = 0
    bytes: int = 0


class Shares:
    """The messages in flight of each edge that has any."""

    def __init__(self, limit: int) -> None:
        """Set up; `limit` is that of the messages of all edges."""
        self._most = max(_LEAST, limit // _PART)
        self._shares: dict[str, _Share] = {}

    def __len__(self) -> int:
        """Return the number of edges that have messages in flight."""
        return len(self._shares)

    def has_room(self, node: str, size: int) -> bool:
        """Whether an edge may have another message of `size` bytes in flight."""
        share = self._shares.get(node)
        return share is None or (share.messages < self._most and share.bytes + size <= _BYTES)

    def begin(self, node: str, size: int) -> None:
        share = self._shares.setdefault(node, _Share())
        share.messages += 1
        share.bytes += size

    def end(self, node: str, size: int) -> None:
        share = self._shares[node]
        share.messages -= 1
        share.bytes -= size
        if not share.messages:
            del self._shares[node]
