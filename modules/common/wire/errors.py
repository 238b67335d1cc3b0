"""The error of the wire formats."""

from __future__ import annotations


class WireError(ValueError):
    """Received bytes that violate the protocol, or a message that cannot be encoded in it.

    On the receiving side the stream is out of sync: close the connection. The text gives the
    reason and never contains a message's content.
    """
