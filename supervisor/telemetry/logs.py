"""Logs to stderr: one line for each record, as klog writes it for people, or JSON for programs."""

from __future__ import annotations

import json
import logging
import sys
import time
from datetime import UTC, datetime
from typing import Final

#: The loggers whose debug records -v shows; -vv also shows those of libraries.
OURS: Final = ("ipc", "modules", "supervisor")

_LETTERS: Final = {
    logging.DEBUG: "D",
    logging.INFO: "I",
    logging.WARNING: "W",
    logging.ERROR: "E",
    logging.CRITICAL: "F",
}
#: Control characters could forge a second record, or control the reader's terminal.
_ESCAPES: Final = {number: f"\\x{number:02x}" for number in (*range(32), *range(0x7F, 0xA0))} | {
    ord("\n"): "\\n",
    ord("\r"): "\\r",
    ord("\t"): "\t",
}
#: The control characters that json.dumps does not escape.
_JSON_ESCAPES: Final = {number: f"\\u{number:04x}" for number in range(0x7F, 0xA0)}
_ESCAPES_IN_TRACES: Final = {key: text for key, text in _ESCAPES.items() if key != ord("\n")}


class TextFormatter(logging.Formatter):
    """`I1123 22:20:01.123456 cloudhub[1234] message`, in local time, as klog writes it.

    A traceback follows on indented lines, so that only a record has a letter in the first column.
    """

    def __init__(self, module: str) -> None:
        super().__init__()
        self._module = module

    def format(self, record: logging.LogRecord) -> str:
        seconds = time.localtime(record.created)
        micros = int(record.created % 1 * 1_000_000)
        letter = _LETTERS.get(record.levelno, "I")
        head = f"{letter}{time.strftime('%m%d %H:%M:%S', seconds)}.{micros:06d}"
        message = record.getMessage().translate(_ESCAPES)
        line = f"{head} {self._module}[{record.process}] {message}"
        trace = _trace(self, record).translate(_ESCAPES_IN_TRACES)
        return "\n    ".join([line, *trace.splitlines()])


class JsonFormatter(logging.Formatter):
    """A JSON object: ts (RFC 3339, UTC), level, module, pid, logger, message, and trace if any."""

    def __init__(self, module: str) -> None:
        super().__init__()
        self._module = module

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds")
        document = {
            "ts": moment.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "module": self._module,
            "pid": record.process,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if trace := _trace(self, record):
            document["trace"] = trace
        return json.dumps(document, ensure_ascii=False).translate(_JSON_ESCAPES)


def setup(
    module: str,
    verbosity: int = 0,
    format: str = "text",  # noqa: A002
    handler: logging.Handler | None = None,
) -> None:
    """Send this process's log records, as those of `module`, to stderr or to `handler`.

    `verbosity` 0 is info and above, 1 adds our own debug records, 2 those of libraries; `format` is
    "text" or "json". A later call replaces what an earlier one set.
    """
    handler = handler or logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(module) if format == "json" else TextFormatter(module))
    logging.basicConfig(handlers=[handler], force=True)
    logging.getLogger().setLevel(logging.DEBUG if verbosity >= 2 else logging.INFO)
    for name in OURS:
        logging.getLogger(name).setLevel(logging.DEBUG if verbosity else logging.NOTSET)
    logging.captureWarnings(capture=True)


def _trace(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    parts = []
    if record.exc_info:
        parts.append(formatter.formatException(record.exc_info))
    if record.stack_info:
        parts.append(formatter.formatStack(record.stack_info))
    return "\n".join(parts)
