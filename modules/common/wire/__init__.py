"""How a message looks on the wire between cloud and edge.

One file for each form, a lane as KubeEdge calls it. Each has the same two names: `encode`, which
turns a Message into the websocket messages to write one after the other, and `Decoder`, which is
fed websocket messages one at a time and gives back the Messages that they complete.
"""

from modules.common.wire.errors import WireError

__all__ = ["WireError"]
