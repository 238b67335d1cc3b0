"""The messages between modules and with edges: the table of requests, and message_table.py."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any, Final, cast

import modules
from docs.generate.markdown import code, prose, table
from docs.generate.message_table import BOTH, DOWN, INSIDE, TODAY, UP, V1_1, Entry
from ipc import Message
from modules.common.message_resource import BadResource, split
from modules.edgecontroller import messages
from modules.edgecontroller.upstream import rows
from modules.edgecontroller.upstream.certificates import CertificateRequester
from modules.edgecontroller.upstream.events import EventWriter
from modules.edgecontroller.upstream.leases import LeaseKeeper
from modules.edgecontroller.upstream.nodes import NodeWriter
from modules.edgecontroller.upstream.pods import PodWriter
from modules.edgecontroller.upstream.queries import ASKED_FOR, QueryAnswerer
from modules.edgecontroller.upstream.tokens import TokenIssuer

_ROOT: Final = Path(modules.__path__[0]).parent

#: The requests that edges of 1.1 make; those of today make all but the reports of statuses.
_OF_V1_1: Final = frozenset(
    {
        (messages.NODE_STATUS, messages.INSERT),
        (messages.NODE_STATUS, messages.UPDATE),
        (messages.NODE, messages.UPDATE),
        (messages.POD_STATUS, messages.UPDATE),
        *((type_, messages.QUERY) for type_ in ASKED_FOR),
    }
)
_OF_V1_1_ALONE: Final = (messages.NODE_STATUS, messages.SERVICE, messages.ENDPOINTS)


class _Calls:
    """Stands for Calls: says how a request is answered, and by which function."""

    def answered(self, call: Any) -> Any:
        return "result", call

    def unanswered(self, call: Any) -> Any:
        return "none", call

    def answered_or_retried(self, call: Any) -> Any:
        return "result; to 1.1 no failure", call

    def acknowledged(self, call: Any) -> Any:
        return "`OK`; to 1.1 none", call


def up() -> str:
    """Return a table of what edges send."""
    heads = ("operation, resource", "group", "edges", "taken by, and answered with", "meaning")
    rows_ = (
        (_lines(each.operation, each.resource), _codes(each.group), each.edges, each.takes,
         each.meaning)
        for each in UP
    )  # fmt: skip
    return table(heads, rows_)


def requests_table() -> str:
    """Return a table of the requests of edges."""
    heads = ("operation, resource", "edges", "answer", "what is done", "in")
    rows_ = (
        (
            _lines(operation, *(each.resource for each in same)), edges, takes, prose(meaning),
            code(file.partition(":")[0].rpartition("/")[2]),
        )
        for (operation, edges, (file,), takes, meaning), same in groupby(requests(), _without_names)
    )  # fmt: skip
    return table(heads, rows_)


def down() -> str:
    """Return a table of what edges are sent."""
    return _built_table(DOWN, edges=True)


def inside() -> str:
    """Return a table of what stays inside of cloudcore."""
    return _built_table(INSIDE, edges=False)


def entries() -> list[Entry]:
    """Return the entries of all messages."""
    return [*DOWN, *UP, *requests(), *INSIDE]


def find(message: Message) -> list[Entry]:
    """Return the entries of a message, as it is in a channel or on an edge's wire."""
    try:
        _, resource = split(message.resource)
    except BadResource:
        resource = message.resource
    return [each for each in entries() if _fits(each, message, resource)]


@cache
def requests() -> tuple[Entry, ...]:
    """Return an entry for each row of the table of requests; `built` is what handles it."""
    handlers = rows.Handlers(
        cast("Any", _Calls()),
        *cast("Any", (NodeWriter, PodWriter, LeaseKeeper, TokenIssuer)),
        *cast("Any", (CertificateRequester, EventWriter, QueryAnswerer)),
    )
    return tuple(_request(key, row) for key, row in rows.rows(handlers).items())


def _request(key: tuple[str, str], row: rows.Row) -> Entry:
    found: Any = row.handle
    answer, handle = found if isinstance(found, tuple) else ("`OK`", found)
    type_, operation = key
    resource = f"k8s/{type_}" if type_ == messages.AUTHORITY else f"NS/{type_}/NAME"
    if type_ == messages.POD_STATUS:
        resource = f"{resource}, NS/{type_}"
    edges = BOTH if key in _OF_V1_1 else TODAY
    if type_ in _OF_V1_1_ALONE:
        edges = V1_1
    source = "edged, metaManager"
    file = Path(inspect.getfile(handle)).relative_to(_ROOT)
    meaning = (inspect.getdoc(handle) or "").partition("\n")[0].rstrip(".")
    place = f"{file}:{handle.__qualname__}"
    return Entry(source, "meta, resource", operation, resource, edges, (place,), answer, meaning)


def _built_table(found: Iterable[Entry], *, edges: bool) -> str:
    columns = ("operation, resource", "source, group", "edges", "taken by, and answered with")
    heads = (*columns, "meaning, and what builds it")
    lines = [
        (
            _lines(each.operation, each.resource if edges else ""),
            _lines(each.source, "" if each.group == "GROUP" else each.group),
            each.edges, each.takes, f"{each.meaning} ({', '.join(_files(each))})",
        )
        for each in found
    ]  # fmt: skip
    if edges:
        return table(heads, lines)
    return table(
        [head for head in heads if head != "edges"], [(*line[:2], *line[3:]) for line in lines]
    )


def _without_names(each: Entry) -> tuple[str, str, tuple[str, ...], str, str]:
    return each.operation, each.edges, each.built, each.takes, each.meaning


def _lines(*names: str) -> str:
    """Return names as code, a line for each argument."""
    return "<br>".join(filter(None, map(_codes, names))) or "empty"


def _files(each: Entry) -> Iterator[str]:
    yield from dict.fromkeys(code(_short(place.partition(":")[0])) for place in each.built)


def _short(place: str) -> str:
    return place.removeprefix("modules/")


def _codes(names: str) -> str:
    return ", ".join(code(name) for name in names.split(", ") if name)


def _fits(each: Entry, message: Message, resource: str) -> bool:
    given = (message.source, message.group, message.operation)
    wanted = (each.source, each.group, each.operation)
    return all(
        name in names.split(", ") or names in ("", "GROUP")
        for name, names in zip(given, wanted, strict=True)
    ) and any(pattern.fullmatch(resource) for pattern in _patterns(each.resource))


@cache
def _patterns(resources: str) -> tuple[re.Pattern[str], ...]:
    """Return a pattern for each resource; the last part of one may contain slashes."""
    return tuple(
        re.compile(re.sub(r"\b[A-Z]+\b", lambda _: r"[^/]+(?:/.*)?", re.escape(each)))
        for each in resources.split(", ")
    )
