"""The protocol generations that are served, and which of them a connection speaks.

A further generation is one file here, its message form one in modules/common/wire.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from modules.cloudhub.protocols.generation import Generation
from modules.cloudhub.protocols.v1_1 import V1_1
from modules.cloudhub.protocols.v1_23 import V1_23

#: In the order in which they are tried; the last one takes what is left, and says what is wrong.
GENERATIONS: Final[Sequence[Generation]] = (V1_23, V1_1)

_FIRST_BYTES: Final = 16


def generation_of(first: bytes | bytearray) -> Generation:
    """Detect the generation from a connection's first websocket message, which is not empty.

    Edges of all versions begin with a keepalive. Until then it is not known what they understand.
    """
    begin = bytes(first[:_FIRST_BYTES])
    return next((each for each in GENERATIONS if each.begins(begin)), GENERATIONS[-1])
