"""Routing: parses the path and query of a request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote

from modules.apiserver.catalog import Catalog, Resource
from modules.apiserver.meta.numbers import LARGEST, integer
from modules.apiserver.meta.selectors import Selector, parse_fields, parse_labels
from modules.apiserver.meta.status import bad_request, no_such_path, short


@dataclass(frozen=True)
class Target:
    """The target of a request: a collection (`name` is ""), an object, or a subresource."""

    resource: Resource
    namespace: str = ""
    name: str = ""
    subresource: str = ""


@dataclass(frozen=True)
class ListOptions:
    """The query of a list or watch (meta/v1 ListOptions)."""

    selector: Selector
    limit: int
    continue_token: str
    watch: bool
    revision: int | None
    bookmarks: bool
    initial_events: bool
    timeout_seconds: int | None


def segments_of(raw_path: str) -> list[str]:
    return [unquote(part) for part in raw_path.strip("/").split("/")]


def resolve(catalog: Catalog, segments: list[str]) -> Target:
    """Find what `/api/v1/…` or `/apis/GROUP/VERSION/…` means; raises ApiError (404)."""
    match segments:
        case ["api", version, *rest]:
            group = ""
        case ["apis", group, version, *rest]:
            pass
        case _:
            raise no_such_path()
    match rest:
        case ["namespaces", name, "status"]:
            return Target(catalog.find(group, version, "namespaces"), "", name, "status")
        case ["namespaces", namespace, plural, *rest] if namespace:
            resource = catalog.find(group, version, plural)
            if not resource.namespaced:
                raise no_such_path()
        case [plural, *rest]:
            namespace = ""
            resource = catalog.find(group, version, plural)
            if resource.namespaced and rest:
                raise no_such_path()
        case _:
            raise no_such_path()
    if len(rest) > 2 or "" in rest:
        raise no_such_path()
    name, subresource = (*rest, "", "")[:2]
    return Target(resource, namespace, name, subresource)


def list_options(target: Target, query: Mapping[str, str]) -> ListOptions:
    """Parse the query; raises ApiError (400)."""
    fields = parse_fields(query.get("fieldSelector", ""), target.resource.selectable_fields)
    return ListOptions(
        selector=Selector(parse_labels(query.get("labelSelector", "")), fields),
        limit=number(query, "limit") or 0,
        continue_token=query.get("continue", ""),
        watch=flag(query, "watch"),
        revision=revision(query),
        bookmarks=flag(query, "allowWatchBookmarks"),
        initial_events=flag(query, "sendInitialEvents"),
        timeout_seconds=number(query, "timeoutSeconds"),
    )


def revision(query: Mapping[str, str]) -> int | None:
    """Parse resourceVersion; None for "0" (any state), since this server is always current."""
    return number(query, "resourceVersion") or None


def flag(query: Mapping[str, str], name: str) -> bool:
    return query.get(name, "").lower() in ("1", "true")


def number(query: Mapping[str, str], name: str) -> int | None:
    text = query.get(name, "")
    if not text:
        return None
    value = integer(text)
    if value is None or value < 0:
        raise bad_request(f"{name} must be a whole number from 0 to {LARGEST}: {short(text)!r}")
    return value


def dry_run(query: Mapping[str, str]) -> bool:
    value = query.get("dryRun", "")
    if value not in ("", "All"):
        raise bad_request(f"dryRun can only be All, not {value!r}")
    return value == "All"
