"""The protocol generations that are served, and which of them a connection speaks.

A further generation is one file here, its message form one in modules/common/wire.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from modules.cloudhub.protocols.generation import Generation
from modules.cloudhub.protocols.v1_1 import V1_1
from modules.common.wire import WireError

#: In the order in which they are tried. Edges of KubeEdge v1.2 and later send JSON (json_form of
#: modules/common/wire); what else they expect of the cloud is not implemented.
GENERATIONS: Sequence[Generation] = (V1_1,)
#: The generation of an edge that connects and sends nothing.
SILENT: Final = V1_1

_FIRST_BYTES: Final = 16


class NotServed(WireError):
    """A connection's message form belongs to none of GENERATIONS."""


def generation_of(first: bytes | bytearray) -> Generation:
    """Detect the generation from a connection's first websocket message, which is not empty.

    Raises NotServed if there is none; the text names the versions of KubeEdge.
    """
    for generation in GENERATIONS:
        if generation.begins(bytes(first[:_FIRST_BYTES])):
            return generation
    raise NotServed(
        "it speaks JSON, as edges of KubeEdge 1.2 and later do; only edges of 1.1 are served"
    )
