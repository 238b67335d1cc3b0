"""The HTTPS server: authorization, routing to documents and handlers, error responses."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import socket
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from modules.apiserver.authentication.authenticator import authenticate
from modules.apiserver.authentication.jwt import ensure_key
from modules.apiserver.authentication.service_accounts import ServiceAccountTokens
from modules.apiserver.catalog import Catalog
from modules.apiserver.http import access, discovery, openapi, openid, routing
from modules.apiserver.http.handlers import Handlers
from modules.apiserver.http.responses import error_response, json_response
from modules.apiserver.http.served_certificate import ServedCertificate
from modules.apiserver.kinds.builtin import BUILTIN
from modules.apiserver.kubeconfig import write_kubeconfig
from modules.apiserver.meta.objects import MOST_BYTES, Json
from modules.apiserver.meta.status import ApiError, bad_request, cannot_store, no_such_path
from modules.apiserver.registry import event_expiry, request_expiry
from modules.apiserver.registry.bootstrap import open_cluster
from modules.apiserver.registry.cascade import Cascade
from modules.apiserver.registry.certificate_signer import CertificateSigner
from modules.apiserver.storage.store import Store
from modules.common.clock_jumps import ClockJumps
from modules.common.host_port import host_port
from modules.common.http_library import web
from modules.common.pki.authority import load_authority
from modules.common.pki.certificates import ensure_pki
from supervisor.api import TemporaryFailure

log = logging.getLogger(__name__)

SHUTDOWN_SECONDS = 2.0
#: Lines for unusable objects in the status report.
MOST_TOLD = 20
CHECKPOINT_SECONDS = 1.0
EVENTS_SECONDS = 30.0
REQUESTS_SECONDS = 600.0
#: The file of the key that signs tokens of service accounts, in the directory of the PKI.
TOKEN_KEY = "service-accounts.key"  # noqa: S105 - a name
_HEALTH = ("healthz", "livez", "readyz")


class Server:
    """The embedded API server, independent of the module's process."""

    def __init__(self, data_dir: Path, names: Sequence[str] = ()) -> None:
        """Open the store and the PKI in `data_dir`.

        Raises StoreError, OSError, TemporaryFailure, and ValueError for a damaged PEM file.
        """
        self._data_dir = data_dir
        self.url = ""
        self.pki = ensure_pki(data_dir / "pki", names)
        self.store = Store(data_dir / "apiserver.db")
        self.registry = open_cluster(self.store, Catalog(BUILTIN), self.pki.ca_cert.read_text())
        self._tokens = ServiceAccountTokens(
            self.registry, ensure_key(self.pki.directory / TOKEN_KEY)
        )
        self._handlers = Handlers(self.registry, self._tokens)
        self._certificate = ServedCertificate(self.pki, names)
        self._runner: web.AppRunner | None = None
        self._upkeep: asyncio.Task[None] | None = None

    async def start(self, listening: socket.socket) -> None:
        """Serve on a listening socket, then write the kubeconfig and set `url`."""
        application = web.Application(client_max_size=MOST_BYTES)
        application.router.add_route("*", "/{path:.*}", self._answer)
        # Otherwise a watch that waits for a change would not notice a disconnect of its client.
        self._runner = web.AppRunner(
            application,
            access_log=None,
            handler_cancellation=True,
            shutdown_timeout=SHUTDOWN_SECONDS,
        )
        await self._runner.setup()
        await web.SockSite(
            self._runner, listening, ssl_context=self._certificate.context, backlog=1024
        ).start()
        self._upkeep = asyncio.create_task(self._keep_up(), name="upkeep")
        self.url = url_of(listening)
        self._write_kubeconfig()

    def _write_kubeconfig(self) -> None:
        write_kubeconfig(self._data_dir / "kubeconfig", self.url, self.pki)

    async def stop(self) -> None:
        """End the watches cleanly, then the connections, then close the store.

        Whose watch has ended connects again at once, and waits for the next process.
        """
        if self._runner is not None:
            for site in self._runner.sites:
                await site.stop()
        self._handlers.stop_watches()
        if self._upkeep is not None:
            self._upkeep.cancel()
            # `failed` raises its exception, if it had one.
            await asyncio.gather(self._upkeep, return_exceptions=True)
        if self._runner is not None:
            await self._runner.cleanup()
        self.store.close()

    @property
    def watches(self) -> int:
        """The number of open watches."""
        return len(self._handlers.watches)

    @property
    def aside(self) -> list[str]:
        """The objects of the store that are set aside, and why."""
        return self.store.aside.lines(MOST_TOLD)

    async def failed(self) -> None:
        """Wait for the background tasks, and raise the exception that ended one of them."""
        assert self._upkeep is not None
        await asyncio.shield(self._upkeep)

    async def _keep_up(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._remove_old_events())
            group.create_task(self._remove_old_requests())
            group.create_task(self._checkpoint())
            group.create_task(self._certificate.renew())
            group.create_task(self._certificate.follow(self._write_kubeconfig))
            group.create_task(Cascade(self.registry).run())
            group.create_task(self.registry.namespace_objects.run())
            group.create_task(
                CertificateSigner(self.registry, lambda: load_authority(self.pki.authority)).run()
            )

    async def _remove_old_events(self) -> None:
        clock = ClockJumps()
        while True:
            if clock.settled(event_expiry.LIFETIME):
                with contextlib.suppress(TemporaryFailure):  # the store has logged it
                    await event_expiry.remove_old(self.registry)
            await asyncio.sleep(EVENTS_SECONDS)

    async def _remove_old_requests(self) -> None:
        clock = ClockJumps()
        while True:
            if clock.settled(request_expiry.DECIDED_SECONDS):
                with contextlib.suppress(TemporaryFailure):  # the store has logged it
                    await request_expiry.remove_old(self.registry)
            await asyncio.sleep(REQUESTS_SECONDS)

    async def _checkpoint(self) -> None:
        while True:
            await asyncio.sleep(CHECKPOINT_SECONDS)
            if self.store.trouble.reason:
                with contextlib.suppress(TemporaryFailure):  # not over yet
                    self.store.probe()
            if self.store.wants_checkpoint():
                await asyncio.to_thread(self.store.checkpoint)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        response = await self._serve(request)
        if request.content.exception() is not None:
            # The rest of the body cannot be read, and the next request cannot be found behind it:
            # aiohttp would try, and log its failure as an error.
            request.content.feed_eof()
            response.force_close()
        return response

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        try:
            return await self._route(request)
        except ApiError as error:
            return error_response(error)
        except web.HTTPRequestEntityTooLarge:
            return error_response(
                ApiError(
                    413,
                    "RequestEntityTooLarge",
                    f"the body of the request is larger than {MOST_BYTES} bytes",
                )
            )
        except web.RequestPayloadError as error:  # damaged, or shorter than announced
            return error_response(bad_request(f"cannot read the body of the request: {error}"))
        except ConnectionError as error:
            log.debug("client of %s %r disconnected: %s", request.method, request.path, error)
            return error_response(bad_request("the client has disconnected"))
        except TemporaryFailure as error:
            return error_response(cannot_store(error))
        except sqlite3.Error as error:
            log.error("cannot write to %s: %s", self.store.path, error)
            return error_response(ApiError(500, "InternalError", f"cannot store: {error}"))
        except Exception as error:
            # %r: the client chooses the path, which may contain line breaks.
            log.exception("%s %r failed", request.method, request.path)
            text = f"Internal error occurred: {type(error).__name__}"
            return error_response(ApiError(500, "InternalError", text))

    async def _route(self, request: web.Request) -> web.StreamResponse:
        segments = routing.segments_of(request.rel_url.raw_path)
        if segments[0] in _HEALTH:
            return _health(request, segments[0], self.store.trouble.reason)
        if segments == ["version"]:
            return json_response(discovery.version())
        user = authenticate(request, self._tokens)
        access.admit(user, request)
        if segments == ["openapi", "v2"]:
            media_type, content = await openapi.v2(request.headers.get("Accept", ""))
            return web.Response(body=content, headers={"Content-Type": media_type})
        if response := openid.document(segments, self._tokens, self.url):
            return response
        found = self._document(segments)
        if found is not None:
            return json_response(found)
        refuse_impersonation(request)
        target = routing.resolve(self.registry.catalog, segments)
        access.authorize(user, request, target)
        return await self._handlers.handle(request, target, user)

    def _document(self, segments: list[str]) -> Json | None:
        catalog = self.registry.catalog
        match segments:
            case [""]:
                return {"paths": ["/api", "/apis", "/healthz", "/openapi/v3", "/version"]}
            case ["api"]:
                return discovery.core_versions()
            case ["apis"]:
                return discovery.groups(catalog)
            case ["apis", group]:
                return discovery.group(catalog, group)
            case ["api", version]:
                return discovery.resources(catalog, "", version)
            case ["apis", group, version]:
                return discovery.resources(catalog, group, version)
            case ["openapi", "v3"]:
                return openapi.v3_index(catalog)
            case ["openapi", "v3", *path]:
                return openapi.v3_document(catalog, "/".join(path))
            case ["api" | "apis", *_]:
                return None
        raise no_such_path()


def refuse_impersonation(request: web.Request) -> None:
    """Raise ApiError (403) for a request that impersonates another user.

    It must not be carried out with the rights of the administrator. Discovery is answered: it is
    the same for every user, and kubectl would not show the reason.
    """
    if any(name.lower().startswith("impersonate-") for name in request.headers):
        raise ApiError(
            403,
            "Forbidden",
            "forbidden: impersonation is not supported by this server, which would answer for the "
            "administrator instead: leave out --as, --as-group and --as-uid (the headers "
            "Impersonate-*)",
        )


def url_of(listening: socket.socket) -> str:
    """Return the URL of a listening socket for clients on this machine."""
    host, port = listening.getsockname()[:2]
    address = ipaddress.ip_address(host)
    if address.is_unspecified:
        host = "127.0.0.1" if address.version == 4 else "::1"
    return f"https://{host_port(host, port)}"


def _health(request: web.Request, name: str, trouble: str) -> web.Response:
    """Answer a health check: ok even if the disk is full, since reads are served."""
    if "verbose" in request.query:
        store = f"[-]store: {trouble}" if trouble else "[+]store ok"
        return web.Response(text=f"[+]ping ok\n{store}\n{name} check passed\n")
    return web.Response(text="ok")
