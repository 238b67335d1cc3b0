"""Tables that a module serves on its Unix sockets, for `cloudcore top` and its like.

The status document names them, so that who shows them need not know the module.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["text", "state", "count", "percent", "bytes", "rate", "since", "until"]
"""How a value is shown: `rate` is that of a counter, in 1/s; `since` and `until` are given as
seconds since the epoch, and shown as the time from then to now, or from now to then"""


@dataclass(frozen=True)
class Column:
    """A column; `field` is a key of a row, or a path of keys, as "certificate.expires"."""

    title: str
    field: str
    kind: Kind = "text"
    optional: bool = False
    """whether it is left out where there is no room"""


@dataclass(frozen=True)
class LiveTable:
    """A table of which each process of the module has a part; the first column names a row."""

    name: str
    columns: tuple[Column, ...]
    target: str
    """what GET is sent for to each of the sockets; the answer is a JSON list of objects"""
    sockets: tuple[str, ...]
    """file names in the run directory"""
