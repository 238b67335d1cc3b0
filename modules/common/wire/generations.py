"""Names of the protocol generations of edges, which CloudHub tells to the controllers.

The content of CloudHub's message `connected`, and of its answer to `request_exist`, is an object
with the generation of the edge's connection as `generation`.
"""

from __future__ import annotations

from typing import Any, Final

#: Edges of KubeEdge 1.1: packed messages, answers to questions are stored whatever they are.
V1_1: Final = "v1.1"
#: Edges that send JSON, as those from KubeEdge 1.2 on do; 1.15 to 1.23 are tested.
V1_23: Final = "v1.23"

_KEY: Final = "generation"


def tell(generation: str) -> dict[str, str]:
    """Return the part of a message's content that tells the generation."""
    return {_KEY: generation}


def generation_of(content: Any) -> str:
    """Return the generation that a message's content tells; empty if it tells none."""
    return str(content.get(_KEY, "")) if isinstance(content, dict) else ""
