"""The one error of the wire forms."""

from __future__ import annotations


class WireError(ValueError):
    """What came is not the protocol, or what should go cannot be said in it.

    On the receiving side nothing more can be read from that connection: close it. The text
    names the reason and never holds a message's content.
    """
