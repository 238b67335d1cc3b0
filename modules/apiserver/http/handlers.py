"""Handlers of the REST verbs: they call the registry and make HTTP responses."""

from __future__ import annotations

import asyncio
import logging
import random

from modules.apiserver import patch
from modules.apiserver.authentication.service_accounts import ServiceAccountTokens
from modules.apiserver.http import routing
from modules.apiserver.http.paging import Pages
from modules.apiserver.http.requests import body, decoded, delete_options
from modules.apiserver.http.responses import (
    JSON,
    json_response,
    list_metadata,
    list_response,
    object_response,
    wants_table,
)
from modules.apiserver.http.reviews import review
from modules.apiserver.http.routing import ListOptions, Target
from modules.apiserver.http.watch import PlainLines, TableLines, Watch
from modules.apiserver.kinds.mergekeys import COMMON
from modules.apiserver.meta.objects import Json, dig
from modules.apiserver.meta.status import (
    bad_request,
    method_not_allowed,
    no_such_path,
    success,
    too_large,
)
from modules.apiserver.meta.users import User
from modules.apiserver.registry.registry import Registry
from modules.apiserver.turns import Turn
from modules.common.http_library import web

# A watch without timeoutSeconds ends after 1 to 2 times this (min-request-timeout).
WATCH_SECONDS = 1800
# A timer cannot wait for every number of seconds that a query may have.
MOST_WATCH_SECONDS = 365 * 24 * 3600

log = logging.getLogger(__name__)


class Handlers:
    """The handlers of all resources; one object for the life of the server."""

    def __init__(self, registry: Registry, tokens: ServiceAccountTokens) -> None:
        self.registry = registry
        self._tokens = tokens
        self.watches: set[Watch] = set()
        self._pages = Pages()

    async def handle(self, request: web.Request, target: Target, user: User) -> web.StreamResponse:
        """Serve `request` of an authorized user; raises ApiError."""
        if target.resource.virtual:
            return await self._review(request, target, user)
        match target.resource.storage, target.subresource:
            case "pods", "binding":
                return await self._bind(request, target)
            case "serviceaccounts", "token":
                return await self._issue_token(request, target)
        match request.method, bool(target.name):
            case "GET" | "HEAD", True:
                return self._get(request, target)
            case "GET" | "HEAD", False:
                return await self._list(request, target)
            case "POST", False:
                return await self._create(request, target, user)
            case "PUT", True:
                return await self._update(request, target)
            case "PATCH", True:
                patch.check(request.content_type, custom=target.resource.custom)
                return await self._patch(request, target)
            case "DELETE", True:
                return await self._delete(request, target)
            case "DELETE", False:
                return await self._delete_collection(request, target)
        raise method_not_allowed()

    def stop_watches(self) -> None:
        for watch in self.watches:
            watch.stop()

    def _get(self, request: web.Request, target: Target) -> web.Response:
        if target.subresource and not target.resource.has_part(target.subresource):
            raise no_such_path()
        self._check_revision(routing.revision(request.query))
        entry = self.registry.get(target.resource, target.namespace, target.name)
        return object_response(request, target.resource, entry)

    async def _list(self, request: web.Request, target: Target) -> web.StreamResponse:
        options = routing.list_options(target, request.query)
        if options.watch and not options.initial_events:
            return await self._watch(request, target, options)
        self._check_revision(options.revision)
        if options.watch:
            return await self._watch(request, target, options)
        asked = (target.resource.storage, target.namespace, options.selector)
        if options.continue_token:
            page = self._pages.next(options.continue_token, options.limit, asked)
        else:
            revision = self.registry.store.revision  # that of the list, which takes several turns
            entries = await self.registry.list(target.resource, target.namespace, options.selector)
            page = self._pages.first(entries, revision, options.limit, asked)
        metadata = list_metadata(page, options)
        return await list_response(request, target.resource, page.entries, metadata)

    def _check_revision(self, revision: int | None) -> None:
        """Raise ApiError (504) if this store has not reached the requested revision."""
        current = self.registry.store.revision
        if revision is not None and revision > current:
            raise too_large(revision, current)

    async def _watch(
        self, request: web.Request, target: Target, options: ListOptions
    ) -> web.StreamResponse:
        lines: PlainLines | TableLines = PlainLines(target.resource)
        if wants_table(request):
            lines = TableLines(target.resource, request.query.get("includeObject", "Metadata"))
        watch = Watch(
            self.registry.store,
            target.resource,
            target.namespace,
            options.selector,
            lines,
            None if options.initial_events else options.revision,
            bookmarks=options.bookmarks,
            mark_initial_end=options.initial_events and options.bookmarks,
        )
        # The jitter keeps clients that connected at once from reconnecting at once.
        seconds = options.timeout_seconds or WATCH_SECONDS * random.uniform(1, 2)  # noqa: S311
        response = web.StreamResponse(headers={"Content-Type": JSON, "Cache-Control": "no-cache"})
        self.watches.add(watch)
        try:
            await _stream(request, response, watch, min(seconds, MOST_WATCH_SECONDS))
        except ConnectionError as error:  # the usual end of a watch
            log.debug("client of a watch of %s disconnected: %s", target.resource.plural, error)
        finally:
            self.watches.discard(watch)
        return response

    async def _create(self, request: web.Request, target: Target, user: User) -> web.Response:
        if target.resource.namespaced and not target.namespace:
            raise method_not_allowed()
        entry = self.registry.create(
            target.resource,
            target.namespace,
            await body(request),
            user=user,
            dry_run=routing.dry_run(request.query),
        )
        return object_response(request, target.resource, entry, status=201)

    async def _update(self, request: web.Request, target: Target) -> web.Response:
        entry = self.registry.update(
            target.resource,
            target.namespace,
            target.name,
            await body(request),
            subresource=target.subresource,
            dry_run=routing.dry_run(request.query),
        )
        return object_response(request, target.resource, entry)

    async def _patch(self, request: web.Request, target: Target) -> web.Response:
        resource = target.resource
        content = decoded(await request.read())

        def change(obj: Json) -> Json:
            return patch.apply(
                request.content_type,
                obj,
                content,
                custom=resource.custom,
                merge_keys={**COMMON, **resource.merge_keys},
            )

        entry = self.registry.modify(
            resource,
            target.namespace,
            target.name,
            change,
            subresource=target.subresource,
            dry_run=routing.dry_run(request.query),
        )
        return object_response(request, resource, entry)

    async def _delete(self, request: web.Request, target: Target) -> web.Response:
        if target.subresource:
            raise method_not_allowed()
        options = await delete_options(request)
        resource = target.resource
        deleted = self.registry.delete(resource, target.namespace, target.name, options)
        if not deleted.gone or resource.storage == "pods":
            return object_response(request, resource, deleted.entry)
        uid = deleted.entry.decode()["metadata"]["uid"]
        details = {"name": target.name, "group": resource.group, "kind": resource.plural}
        known = {key: value for key, value in details.items() if value}
        return json_response(success({**known, "uid": uid}))

    async def _delete_collection(self, request: web.Request, target: Target) -> web.StreamResponse:
        if target.resource.namespaced and not target.namespace:
            raise method_not_allowed()
        selector = routing.list_options(target, request.query).selector
        options = await delete_options(request)
        resource = target.resource
        entries = await self.registry.list(resource, target.namespace, selector)
        present = self.registry.store.collection(resource.storage).entries
        deleted = []
        turn = Turn()
        for entry in entries:
            if entry.key in present:  # not deleted by another request
                deleted.append(self.registry.delete(resource, *entry.key, options).entry)
            if turn.is_over:
                await turn.next()
        metadata = {"resourceVersion": str(self.registry.store.revision)}
        return await list_response(request, resource, deleted, metadata)

    async def _bind(self, request: web.Request, target: Target) -> web.Response:
        if request.method != "POST":
            raise method_not_allowed()
        content = await body(request)
        node = dig(content, "target", "name")
        if not isinstance(node, str) or not node:
            raise bad_request("a Binding must name the node in target.name")
        self.registry.bind(
            target.namespace, target.name, node, dry_run=routing.dry_run(request.query)
        )
        return json_response({**success({}), "code": 201}, status=201)

    async def _issue_token(self, request: web.Request, target: Target) -> web.Response:
        if request.method != "POST":
            raise method_not_allowed()
        issued = self._tokens.issue(
            target.namespace,
            target.name,
            await body(request),
            dry_run=routing.dry_run(request.query),
        )
        return json_response(issued, status=201)

    async def _review(self, request: web.Request, target: Target, user: User) -> web.Response:
        if request.method != "POST" or target.name:
            raise method_not_allowed()
        answer = review(target.resource, await body(request), user, self._tokens)
        return json_response(answer, status=201)


async def _stream(
    request: web.Request, response: web.StreamResponse, watch: Watch, seconds: float
) -> None:
    """Write the events of a watch for `seconds`; raises ConnectionError on a disconnect."""
    await response.prepare(request)
    try:
        async with asyncio.timeout(seconds):
            await watch.run(response.write)
    except TimeoutError:
        pass
    await response.write_eof()
