"""The status of modules as short texts, each safe for a terminal."""

from __future__ import annotations

import json
import time
from datetime import datetime
from typing import Any


def last_exit(last: dict[str, Any] | None) -> str:
    if not last:
        return ""
    how = last["signal"] or ("exit" if last["code"] is None else f"exit {last['code']}")
    return f"{how} {duration(_age(last['at']))} ago"


def details(module: dict[str, Any]) -> str:
    """Return why a module is not ready, and what it reports; empty values are left out."""
    reason = module.get("reason", "")
    parts = [printable(reason)] if reason else []
    parts += [f"{name}={_detail(value)}" for name, value in module["details"].items() if value]
    if dead := module["inbox"]["dead_letters"]:
        parts.append(f"dead_letters={dead}")
    return " ".join(parts)


def _detail(value: Any) -> str:
    if isinstance(value, dict) and all(isinstance(item, str | int) for item in value.values()):
        return ",".join(f"{name}:{_detail(item)}" for name, item in value.items())
    if isinstance(value, str):
        return printable(value)
    return json.dumps(value, ensure_ascii=True, separators=(",", ":"))


def printable(text: str) -> str:
    """Return a module's own text as one line that is safe for a terminal."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def or_dash(value: Any) -> str:
    return "-" if value is None else str(value)


def when(seconds: float) -> str:
    """Return a time in local time, to the millisecond."""
    moment = time.localtime(seconds)
    return f"{time.strftime('%Y-%m-%d %H:%M:%S', moment)}.{int(seconds % 1 * 1000):03d}"


def _age(timestamp: str) -> float:
    return max(0.0, time.time() - datetime.fromisoformat(timestamp).timestamp())


def duration(seconds: float) -> str:
    """Return a duration as kubectl writes it: at most two units, the smaller if it matters.

    One that is negative, as of what has expired, has a minus sign.
    """
    if seconds < 0:
        return f"-{duration(-seconds)}"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days}d{hours}h" if days < 8 and hours else f"{days}d"
    if hours:
        return f"{hours}h{minutes}m" if hours < 8 and minutes else f"{hours}h"
    if minutes:
        return f"{minutes}m{rest}s" if minutes < 10 and rest else f"{minutes}m"
    return f"{rest}s"


def size(count: float) -> str:
    """Return a number of bytes in binary units, with at most one decimal."""
    units = ["GiB", "MiB", "KiB", "B"]
    while count >= 1024 and len(units) > 1:
        count /= 1024
        units.pop()
    unit = units[-1]
    return f"{count:.0f} {unit}" if count >= 100 or unit == "B" else f"{count:.1f} {unit}"
