"""The exceptions of the Kubernetes client, one class for each case."""

from __future__ import annotations

from typing import Any

import msgspec


class KubeError(Exception):
    """The base class of all exceptions of the Kubernetes client.

    `cause` is the message without the failed request, for a cause that many requests share;
    `hint` says what to do.
    """

    hint: str = "trying again until it works"

    def __init__(self, cause: str, *, request: str = "") -> None:
        super().__init__(f"{request}: {cause}" if request else cause)
        self.cause = cause

    @property
    def outage(self) -> bool:
        """Whether the API server serves no request at present, whatever this one was."""
        return False

    @property
    def retriable(self) -> bool:
        """Whether a retry of the same request may succeed."""
        return self.outage


class ConfigurationError(KubeError):
    """The kubeconfig, or a certificate or token that it names, cannot be used."""

    hint = "correct it: it is read again automatically"

    @property
    def outage(self) -> bool:
        return True


class CredentialsUnavailable(KubeError):
    """An exec plugin or a token file returned no credentials; a retry may succeed."""

    @property
    def outage(self) -> bool:
        return True


class Unreachable(KubeError):
    """No response: refused, reset or timed out. The request may have been carried out."""

    hint = "trying again until it answers"

    @property
    def outage(self) -> bool:
        return True


class ApiError(KubeError):
    """The API server refused the request with a `metav1.Status`, or another body.

    `retry_after` is in seconds, None if the server gives no time.
    """

    def __init__(
        self,
        status: int,
        reason: str,
        message: str,
        *,
        request: str = "",
        details: dict[str, Any] | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(f"{status} {reason}: {message}", request=request)
        self.status = status
        self.reason = reason
        self.message = message
        self.details = details or {}
        self.retry_after = retry_after
        self.premature = False

    def call_premature(self) -> None:
        """Mark it as a possible effect of the server's start, which counts as part of an outage."""
        self.premature = True
        self.hint = "trying again, for it may have started just now"

    @property
    def outage(self) -> bool:
        return self.premature

    @property
    def is_of_server(self) -> bool:
        """Whether the server has failed (5xx), maybe in this request alone."""
        return self.status >= 500

    @property
    def retriable(self) -> bool:
        return self.outage or self.status == 429 or self.is_of_server


class BadRequest(ApiError):
    """400: the server cannot read the request."""


class Unauthorized(ApiError):
    """401: the credentials are refused, also after their renewal."""

    hint = "put valid credentials into the kubeconfig: it is read again automatically"

    @property
    def outage(self) -> bool:
        return True


class Forbidden(ApiError):
    """403: RBAC does not allow it."""

    hint = "grant the rights of deploy/rbac/cloudcore.yaml"


class NotFound(ApiError):
    """404: no such object, or no such resource (a CRD that is not installed)."""

    hint = "does the cluster have these resources?"


class Conflict(ApiError):
    """409: the object has changed since it was read; read it again and retry."""

    @property
    def retriable(self) -> bool:
        return True


class AlreadyExists(ApiError):
    """409 with reason AlreadyExists: there is an object of that name."""


class Gone(ApiError):
    """410: the resource version is too old for a watch or a next page; relist."""


class Invalid(ApiError):
    """422: a field of the object is not allowed."""


class TooLarge(Invalid):
    """The object is too large for the API server or its etcd; the status may be 500."""

    @property
    def retriable(self) -> bool:
        return self.outage


class TooManyRequests(ApiError):
    """429: the rate limit of the server; retry after `retry_after` seconds."""


_BY_STATUS: dict[int, type[ApiError]] = {
    400: BadRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    413: TooLarge,
    422: Invalid,
    429: TooManyRequests,
}

#: Messages of etcd and its client for an object that is too large. kube-apiserver passes them on
#: with 500, and recognizes them by these texts too (`isTooLargeError`).
_TOO_LARGE = ("etcdserver: request is too large", "trying to send message larger than max")

_BY_REASON: dict[str, type[ApiError]] = {
    "AlreadyExists": AlreadyExists,
    "Expired": Gone,
}


class _Status(msgspec.Struct):
    """The fields of metav1.Status that are used."""

    message: str = ""
    reason: str = ""
    code: int = 0
    details: dict[str, Any] | None = None


class _Details(msgspec.Struct):
    """The fields of metav1.StatusDetails that are used."""

    causes: list[dict[str, Any]] | None = None


def error_from_status(
    status: Any, *, request: str = "", http_status: int = 0, header: str | None = None
) -> ApiError:
    """Return the exception for a `metav1.Status` object; `header` is Retry-After."""
    try:
        found = msgspec.convert(status, _Status, strict=False)
        msgspec.convert(found.details or {}, _Details)
    except msgspec.ValidationError as error:
        found = _Status(message=f"a status that cannot be read: {error}")
    return _build(found, request, http_status, header)


def error_from_body(body: bytes, request: str, http_status: int, header: str | None) -> ApiError:
    """Return the exception for a refused request with any body (a proxy's page, an empty one)."""
    try:
        status = msgspec.json.decode(body, type=_Status)
        msgspec.convert(status.details or {}, _Details)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        status = _Status(message=body[:200].decode("utf-8", "replace").strip())
    return _build(status, request, http_status, header)


def _build(status: _Status, request: str, http_status: int, header: str | None) -> ApiError:
    code = http_status or status.code
    kind = _BY_REASON.get(status.reason) or _BY_STATUS.get(code, ApiError)
    if code >= 500 and any(text in status.message for text in _TOO_LARGE):
        kind = TooLarge
    return kind(
        code,
        status.reason or kind.__name__,
        status.message or "the server gave no message",
        request=request,
        details=status.details,
        retry_after=_seconds(header, status.details),
    )


def _seconds(header: str | None, details: dict[str, Any] | None) -> float | None:
    """Return the pause that the server asks for, in seconds; from the header or the details."""
    asked = header if header is not None else (details or {}).get("retryAfterSeconds")
    if asked is None:
        return None
    try:
        return max(0.0, float(asked))
    except (TypeError, ValueError):
        return None
