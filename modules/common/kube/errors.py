"""What can go wrong between cloudcore and the Kubernetes API, each case a type of its own."""

from __future__ import annotations

from typing import Any

import msgspec


class KubeError(Exception):
    """Base of every error the Kubernetes client raises.

    `cause` is the text without the request that failed, for what has made many fail; `hint` says
    what to do about it.
    """

    hint: str = "trying again until it works"

    def __init__(self, cause: str, *, request: str = "") -> None:
        super().__init__(f"{request}: {cause}" if request else cause)
        self.cause = cause

    @property
    def outage(self) -> bool:
        """Whether it says nothing of the request: for now none would be served."""
        return False

    @property
    def retriable(self) -> bool:
        """Whether the same attempt may succeed later."""
        return self.outage


class ConfigurationError(KubeError):
    """The kubeconfig, or a certificate or token that it names, cannot be used."""

    hint = "put it right: it is read again by itself"

    @property
    def outage(self) -> bool:
        return True


class CredentialsUnavailable(KubeError):
    """An exec plugin or a token file gave no credentials this time."""

    @property
    def outage(self) -> bool:
        return True


class Unreachable(KubeError):
    """No answer came: refused, reset, timed out. Whether the request took effect is unknown."""

    hint = "trying again until it answers"

    @property
    def outage(self) -> bool:
        return True


class ApiError(KubeError):
    """The API server refused the request: `metav1.Status`, or what could be read of one.

    `retry_after` is in seconds, None where the server names no time.
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
        """Note that it may be for no other reason than that the server has just started."""
        self.premature = True
        self.hint = "trying again, for it may have started just now"

    @property
    def outage(self) -> bool:
        return self.premature

    @property
    def retriable(self) -> bool:
        return self.outage or self.status == 429 or self.status >= 500


class BadRequest(ApiError):
    """400: the server cannot read the request."""


class Unauthorized(ApiError):
    """401: the credentials are not accepted, renewed ones neither."""

    hint = "put valid credentials into the kubeconfig: it is read again by itself"

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
    """409: the object has changed since it was read; read it again and decide anew."""

    @property
    def retriable(self) -> bool:
        return True


class AlreadyExists(ApiError):
    """409 with reason AlreadyExists: an object of that name is there."""


class Gone(ApiError):
    """410: the resource version is too old to watch or to page on from; list again."""


class Invalid(ApiError):
    """422: a field of the object is not allowed."""


class TooLarge(Invalid):
    """The object is larger than the API server or its etcd stores, whatever the status is (500)."""

    @property
    def retriable(self) -> bool:
        return self.outage


class TooManyRequests(ApiError):
    """429: the server asks for a pause of `retry_after` seconds."""


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

#: How etcd, and its client, refuse the size of an object; kube-apiserver passes it on with 500 and
#: knows it by these texts itself (`isTooLargeError`).
_TOO_LARGE = ("etcdserver: request is too large", "trying to send message larger than max")

_BY_REASON: dict[str, type[ApiError]] = {
    "AlreadyExists": AlreadyExists,
    "Expired": Gone,
}


class _Status(msgspec.Struct):
    """The part of metav1.Status that an error is made of."""

    message: str = ""
    reason: str = ""
    code: int = 0
    details: dict[str, Any] | None = None


class _Details(msgspec.Struct):
    """The part of its details that is read anywhere."""

    causes: list[dict[str, Any]] | None = None


def error_from_status(
    status: Any, *, request: str = "", http_status: int = 0, header: str | None = None
) -> ApiError:
    """Make the error that a `metav1.Status` object means; `header` is Retry-After."""
    try:
        found = msgspec.convert(status, _Status, strict=False)
        msgspec.convert(found.details or {}, _Details)
    except msgspec.ValidationError as error:
        found = _Status(message=f"a status that cannot be read: {error}")
    return _build(found, request, http_status, header)


def error_from_body(body: bytes, request: str, http_status: int, header: str | None) -> ApiError:
    """Make the error of a refused request, whatever the body is (a proxy's page, nothing)."""
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
    """Read the pause asked for; Kubernetes sends whole seconds, in the header and the details."""
    asked = header if header is not None else (details or {}).get("retryAfterSeconds")
    if asked is None:
        return None
    try:
        return max(0.0, float(asked))
    except (TypeError, ValueError):
        return None
