"""The protocol of today's edges, KubeEdge v1.2 and later: JSON in text messages."""

from __future__ import annotations

from typing import Final

from modules.cloudhub.protocols.generation import Generation
from modules.common.wire import generations, json_form

V1_23: Final = Generation(
    name=generations.V1_23,
    form="json",
    begins=lambda first: first.lstrip().startswith(b"{"),
    encode=json_form.encode,
    decoder=json_form.EnvelopeDecoder,
    keepalive="keepalive",
    text=True,
)
