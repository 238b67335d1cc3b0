"""Writing TOML: tomli only reads it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
#: The character that a TOML string has to escape and JSON does not.
_DELETE = {0x7F: "\\u007f"}


def format_value(value: Any) -> str:
    """Return a value as TOML; one that is not (a date, None) as its `str`."""
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            return repr(value) if math.isfinite(value) else str(value)
        case str():
            return json.dumps(value, ensure_ascii=False).translate(_DELETE)
        case Mapping():
            pairs = (f"{format_key(key)} = {format_value(item)}" for key, item in value.items())
            return f"{{{', '.join(pairs)}}}"
        case Sequence():
            return f"[{', '.join(map(format_value, value))}]"
    return str(value)


def format_key(*parts: str) -> str:
    """Return a key as TOML, quoted if needed."""
    return ".".join(part if _BARE_KEY.fullmatch(part) else format_value(part) for part in parts)
