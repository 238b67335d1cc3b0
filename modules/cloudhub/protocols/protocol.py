"""Message forms, and which one a connection speaks: its first websocket message tells.

A further form is one file in modules/common/wire and one line here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

from ipc import Message
from modules.common.wire import WireError, packed

#: The operation of what an edge says to show that it is there; it goes no further than here.
KEEPALIVE: Final = "keepalive"


class Decoder(Protocol):
    """Reads one connection's websocket messages; WireError for what is not the form's."""

    def feed(self, data: bytes | bytearray) -> list[Message]: ...


@dataclass(frozen=True, slots=True)
class Lane:
    """One message form."""

    name: str
    begins: Callable[[bytes], bool]
    """tells whether the first bytes of a connection, of which there are some, are of this form"""
    encode: Callable[[Message], tuple[bytes, ...]]
    """a message into the websocket messages to write; WireError if that is impossible"""
    decoder: Callable[[int], Decoder]
    """makes a reader, given the largest message in bytes"""


def _is_json(first: bytes) -> bool:
    return first.lstrip().startswith(b"{")


PACKED: Final = Lane(
    "packed",
    lambda first: not _is_json(first),
    packed.encode,
    partial(packed.Decoder, repeats=KEEPALIVE),
)

#: The forms that are served. JSON, which edges of KubeEdge v1.2 and later speak, would be
#: Lane("json", _is_json, json_form.encode, json_form.Decoder) of modules/common/wire; what else
#: such an edge expects of the cloud is not there.
LANES: Sequence[Lane] = (PACKED,)

_FIRST_BYTES: Final = 16


class NotServed(WireError):
    """A connection speaks a message form that is none of LANES."""


def lane_of(first: bytes | bytearray) -> Lane:
    """Tell the form from a connection's first websocket message, which is not empty.

    NotServed says whose form it is if it is not served.
    """
    for lane in LANES:
        if lane.begins(bytes(first[:_FIRST_BYTES])):
            return lane
    raise NotServed(
        "it speaks JSON, as edges of KubeEdge 1.2 and later do; only edges of 1.1 are served"
    )
