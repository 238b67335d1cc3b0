"""The protocol of KubeEdge v1.1: packed messages, two binary websocket messages for each."""

from __future__ import annotations

from functools import partial
from typing import Final

from modules.cloudhub.protocols.generation import Generation
from modules.common.wire import generations, packed

_KEEPALIVE: Final = "keepalive"

V1_1: Final = Generation(
    name=generations.V1_1,
    form="packed",
    begins=lambda first: not first.lstrip().startswith(b"{"),
    encode=packed.encode,
    decoder=partial(packed.Decoder, repeats=_KEEPALIVE),
    keepalive=_KEEPALIVE,
    text=False,
)
