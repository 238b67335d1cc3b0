"""The wire formats of messages between cloud and edge.

One file for each format (KubeEdge calls it a lane). Each has the same two names: `encode` turns a
Message into the websocket messages to write one after the other; a `Decoder` is fed one websocket
message at a time and returns the Messages that it completes.
"""

from modules.common.wire.errors import WireError

__all__ = ["WireError"]
