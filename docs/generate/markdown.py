"""Pieces of Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; its cells are Markdown."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines) + "\n"


def definitions(items: Iterable[tuple[str, str]]) -> str:
    """Return a list of terms and what they mean, which a man page shows better than a table."""
    return "\n".join(f"{term}\n: {_cell(meaning)}\n" for term, meaning in items)


def code(text: str) -> str:
    """Return a text as inline code."""
    fence = "``" if "`" in text else "`"
    return f"{fence}{text}{fence}" if text else ""


def prose(text: str) -> str:
    """Return plain text, such as a help text, with what Markdown would take as its own.

    Backquotes are meant as in Markdown.
    """
    pieces = re.split(r"(`[^`]*`)", text)
    return "".join(
        p if p.startswith("`") else re.sub(r"([\\*_<>\[\]#])", r"\\\1", p) for p in pieces
    )


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip().replace("|", r"\|")
