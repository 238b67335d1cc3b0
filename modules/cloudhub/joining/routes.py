"""The routes of cloud/pkg/cloudhub/servers/httpserver/server.go, each with what it demands."""

from __future__ import annotations

import asyncio
import logging
import math
import re
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Final
from urllib.parse import unquote

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from modules.cloudhub.joining import enrollment
from modules.cloudhub.joining.callers import Callers
from modules.cloudhub.joining.exchange import Answer, Exchange, RequestRefused
from modules.cloudhub.metrics import JOIN_REQUESTS, JOINED, WRONG_TOKENS
from modules.common.failure_log import FailureLog
from modules.common.pki import signing
from modules.common.pki.authority import AuthorityFiles, load_authority
from modules.common.pki.certificates import Pki, record_node
from modules.common.pki.token_store import TokenStore
from modules.common.pki.tokens import InvalidToken

log = logging.getLogger(__name__)

#: Wrong tokens of one address: per second, and at once. An edge with an old token, which systemd
#: starts again and again, stays far below.
_TOKENS: Final = (1.0, 20)
#: Questions for Nodes of one address: per second, and at once.
_QUESTIONS: Final = (10.0, 50)
#: Bytes of a report about a task (constants.MaxRespBodyLength of Go, three times).
_MAX_REPORT: Final = 3 * 1024 * 1024
_DER: Final = "application/octet-stream"

_NODE: Final = re.compile(r"/node/([^/]+)")
_TASK: Final = re.compile(r"/task/[^/]+/name/[^/]+/node/([^/]+)/status")

NodeExists = Callable[[str], Awaitable[bool]]
"""Whether the API has a Node; raises TimeoutError or KubeError if it does not say."""


class _Report(msgspec.Struct):
    """NodeUpgradeJobResponse, as far as it is read."""

    node: str = msgspec.field(default="", name="NodeName")


class Routes:
    """Answers requests; what is refused is counted, and logged once a minute for each address."""

    def __init__(
        self,
        ca: AuthorityFiles | Path,
        tokens: TokenStore,
        node_exists: NodeExists,
        lifetime: timedelta,
        pki: Pki | None = None,
    ) -> None:
        """`ca` is the certificate alone where there is no key to sign with.

        Copies of signed certificates are kept in `pki`.
        """
        self.revocations_known: Callable[[], bool] = lambda: True
        """whether the file of tokens has what was revoked at other replicas"""
        self._ca = ca
        self._tokens = tokens
        self._node_exists = node_exists
        self._lifetime = lifetime
        self._pki = pki
        self._wrong_tokens = Callers(*_TOKENS)
        self._questions = Callers(*_QUESTIONS)
        self._failures = FailureLog(log, logging.ERROR)

    async def answer(self, exchange: Exchange) -> Answer:
        """Return the answer to a request; a failure of our own is logged, and answered with 500."""
        route, answer = self._route(exchange)
        try:
            answered = await answer
        except RequestRefused as refused:
            answered = self.refusal(exchange.address, refused)
        except Exception:
            log.exception("%s %s: cannot answer a request", exchange.method, exchange.path)
            answered = Answer(
                b"internal error: see cloudcore's log\n", HTTPStatus.INTERNAL_SERVER_ERROR
            )
        JOIN_REQUESTS.labels(route, str(answered.status.value)).inc()
        return answered

    def refusal(self, address: str, refused: RequestRefused) -> Answer:
        """Return the answer that refuses, and log why."""
        self._wrong_tokens.refused(address, str(refused))
        return Answer(f"{refused}\n".encode(), refused.status, headers=refused.headers)

    def handshake_failed(self, address: str, reason: str) -> None:
        """Count and log a connection that sends no request."""
        JOIN_REQUESTS.labels("tls", "-").inc()
        self._wrong_tokens.refused(address, reason)

    def _route(self, exchange: Exchange) -> tuple[str, Awaitable[Answer]]:
        """Return the route's name in metrics, and its answer."""
        match exchange.method, exchange.path:
            case "GET", "/ca.crt":
                return "ca", self._authority()
            case "GET", "/edge.crt":
                return "edge", self._enroll(exchange)
            case "GET", path if found := _NODE.fullmatch(path):
                return "node", self._node(exchange, unquote(found[1]))
            case "POST", "/nodeupgrade":
                return "nodeupgrade", self._upgraded(exchange)
            case "POST", path if found := _TASK.fullmatch(path):
                return "task", self._task_reported(exchange, unquote(found[1]))
        return "other", self._unknown(exchange)

    async def _authority(self) -> Answer:
        """GET /ca.crt: the CA's certificate; the edge compares it with its token."""
        path = self._ca if isinstance(self._ca, Path) else self._ca.cert
        with self._own_file("certificate"):
            certificate = await asyncio.to_thread(signing.load_certificate, path)
        return Answer(certificate.public_bytes(Encoding.DER), content_type=_DER)

    async def _enroll(self, exchange: Exchange) -> Answer:
        """GET /edge.crt: a certificate for a token, or another one for the present one."""
        if isinstance(self._ca, Path):
            raise RequestRefused(
                HTTPStatus.NOT_IMPLEMENTED,
                "this cloudcore signs nothing: it has no key of the CA (modules.cloudhub.ca_key)",
            )
        node = exchange.header("NodeName")
        with self._own_file("authority"):
            authority = await asyncio.to_thread(load_authority, self._ca)
        by = await self._authenticate(exchange, authority, node)
        enrollment.check_node(node)
        enrollment.check_usages(exchange.header("ExtKeyUsages"))
        request = await exchange.read_body(enrollment.MAX_REQUEST)
        certificate = await asyncio.to_thread(self._sign, authority, node, request)
        JOINED.labels(by.partition(" ")[0]).inc()
        log.info(
            "node %s: certificate issued to %s by %s, valid until %s",
            *(node, exchange.address, by, f"{certificate.not_valid_after_utc:%Y-%m-%d}"),
        )
        return Answer(signing.certificate_der(certificate), content_type=_DER)

    def _sign(self, authority: signing.Authority, node: str, request: bytes) -> x509.Certificate:
        certificate = enrollment.enroll(authority, node, request, self._lifetime)
        if self._pki:
            try:
                record_node(self._pki, node, certificate)
            except OSError as error:  # the edge is not to suffer from a full disk
                text = f"node {node}: cannot keep a copy of its certificate: {error}"
                self._failures.failed("record", str(error.strerror), text)
        return certificate

    @contextmanager
    def _own_file(self, key: str) -> Iterator[None]:
        """Answer 503, and log once, if a file of the CA or of the tokens cannot be used."""
        try:
            yield
        except (OSError, ValueError) as error:
            self._failures.failed(key, str(error), f"edges cannot join: {error}")
            raise RequestRefused(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "the CA or the tokens cannot be read: see cloudcore's log",
                Retry_After="60",
            ) from error
        self._failures.worked(key, "edges can join again")

    async def _authenticate(
        self, exchange: Exchange, authority: signing.Authority, node: str
    ) -> str:
        """Return what lets the client have a certificate for the node; raises RequestRefused."""
        shown = exchange.node
        if shown and shown == node:
            return "certificate"
        scheme, _, token = exchange.header("Authorization").partition(" ")
        if scheme.lower() == "bearer":
            return await self._check_token(exchange.address, authority, token.strip())
        if exchange.certificate:
            whose = f"node {shown!r}" if shown else "no node"
            raise RequestRefused(
                HTTPStatus.FORBIDDEN,
                f"the certificate shown is of {whose}, and asks for node {node!r}",
            )
        raise RequestRefused(
            HTTPStatus.UNAUTHORIZED,
            "there is no token: show one as Authorization: Bearer TOKEN (`cloudcore token create`)",
            WWW_Authenticate="Bearer",
        )

    async def _check_token(self, address: str, authority: signing.Authority, token: str) -> str:
        if wait := self._wrong_tokens.wait(address):
            raise RequestRefused(
                HTTPStatus.TOO_MANY_REQUESTS,
                "too many wrong tokens from this address",
                Retry_After=str(math.ceil(wait)),
            )
        if not self.revocations_known():
            raise RequestRefused(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "which tokens are revoked is not known until the Kubernetes API answers; try again",
                Retry_After="5",
            )
        try:
            with self._own_file("tokens"):
                claims = await asyncio.to_thread(self._tokens.check, authority, token)
        except InvalidToken as error:
            self._wrong_tokens.take(address)
            WRONG_TOKENS.inc()
            raise RequestRefused(
                HTTPStatus.UNAUTHORIZED,
                f"the token is not accepted: {error}",
                WWW_Authenticate="Bearer",
            ) from error
        return f"token {claims.jti or 'without an id'}"

    async def _node(self, exchange: Exchange, name: str) -> Answer:
        """GET /node/NAME: keadm from 1.20 on joins only if there is no such Node."""
        if wait := self._questions.wait(exchange.address):
            raise RequestRefused(
                HTTPStatus.TOO_MANY_REQUESTS,
                "too many questions from this address",
                Retry_After=str(math.ceil(wait)),
            )
        self._questions.take(exchange.address)
        enrollment.check_node(name)
        if await self._node_exists(name):
            return Answer(b"Node founded")  # in Go's words
        return Answer(b"Node not found", HTTPStatus.NOT_FOUND)

    async def _upgraded(self, exchange: Exchange) -> Answer:
        """POST /nodeupgrade: an edge up to 1.15 reports the end of its upgrade."""
        shown = self._require_node(exchange)
        body = await exchange.read_body(_MAX_REPORT)
        try:
            report = msgspec.json.decode(body, type=_Report)
        except (msgspec.MsgspecError, ValueError) as error:
            raise RequestRefused(
                HTTPStatus.BAD_REQUEST, f"the body is not a report of an upgrade: {error}"
            ) from error
        self._require_same(shown, report.node)
        raise _no_tasks()

    async def _task_reported(self, exchange: Exchange, node: str) -> Answer:
        """POST /task/TYPE/name/ID/node/NODE/status: an edge reports the state of a task."""
        self._require_same(self._require_node(exchange), node)
        raise _no_tasks()

    @staticmethod
    def _require_node(exchange: Exchange) -> str:
        if node := exchange.node:
            return node
        raise RequestRefused(
            HTTPStatus.UNAUTHORIZED, "show the node's certificate: only the node itself may report"
        )

    @staticmethod
    def _require_same(shown: str, node: str) -> None:
        if shown != node:
            raise RequestRefused(
                HTTPStatus.FORBIDDEN,
                f"a certificate of node {shown!r} does not speak for node {node!r}",
            )

    async def _unknown(self, exchange: Exchange) -> Answer:
        known = exchange.path in _METHODS
        if known or _NODE.fullmatch(exchange.path) or _TASK.fullmatch(exchange.path):
            allowed = _METHODS.get(exchange.path) or (
                "GET" if _NODE.fullmatch(exchange.path) else "POST"
            )
            raise RequestRefused(
                HTTPStatus.METHOD_NOT_ALLOWED,
                f"method {exchange.method} not allowed for this path (allowed: {allowed})",
                Allow=allowed,
            )
        raise RequestRefused(
            HTTPStatus.NOT_FOUND,
            "no such path; there are /ca.crt, /edge.crt, /node/NAME, /nodeupgrade and "
            "/task/TYPE/name/ID/node/NODE/status",
        )


_METHODS: Final = {"/ca.crt": "GET", "/edge.crt": "GET", "/nodeupgrade": "POST"}


def _no_tasks() -> RequestRefused:
    return RequestRefused(
        HTTPStatus.NOT_IMPLEMENTED,
        "this cloudcore manages no node tasks (upgrade, image prepull): the report is not kept",
    )
