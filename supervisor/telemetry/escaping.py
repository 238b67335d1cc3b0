r"""Encoding of text in reports: no text may make a report fail.

File names that are not UTF-8 become text with lone surrogates (PEP 383), which strict encoders
refuse. In reports they are escaped: `caf\udce9`.
"""

from __future__ import annotations

from typing import Any

import msgspec


def utf8(text: str) -> str:
    """Return the text with everything escaped that UTF-8 cannot encode."""
    return text.encode("utf-8", "backslashreplace").decode()


def to_json(value: Any) -> bytes:
    """Encode a JSON-like value or a msgspec structure; raises TypeError for anything else."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        return msgspec.json.encode(_escaped(msgspec.to_builtins(value)))


def _escaped(value: Any) -> Any:
    match value:
        case str():
            return utf8(value)
        case list():
            return [_escaped(each) for each in value]
        case dict():
            return {_escaped(key): _escaped(each) for key, each in value.items()}
    return value
