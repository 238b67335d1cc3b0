"""metav1.Status: the error and success responses of a Kubernetes API server.

Codes, reasons and texts follow k8s.io/apimachinery/pkg/api/errors: clients branch on the reason,
and people search for the text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from modules.apiserver.meta.objects import encode
from supervisor.api import DiskFull, TemporaryFailure

MOST_CAUSES: Final = 100
# Characters of a client's text or value that are repeated in a response.
_MOST_SHOWN: Final = 512


class ApiError(Exception):
    """A request that cannot be served: a metav1.Status and its HTTP code."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        details: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details

    def status(self) -> dict[str, Any]:
        """Return the metav1.Status object."""
        status: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code,
        }
        if self.details:
            status["details"] = self.details
        return status


def success(details: dict[str, Any]) -> dict[str, Any]:
    """Return the Status that is the response to a finished deletion."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": details,
    }


def not_found(plural: str, group: str, name: str) -> ApiError:
    return ApiError(
        404,
        "NotFound",
        f'{qualified(plural, group)} "{name}" not found',
        _details(plural, group, name),
    )


def no_such_path() -> ApiError:
    return ApiError(404, "NotFound", "the server could not find the requested resource")


def already_exists(plural: str, group: str, name: str) -> ApiError:
    return ApiError(
        409,
        "AlreadyExists",
        f'{qualified(plural, group)} "{name}" already exists',
        _details(plural, group, name),
    )


def conflict(plural: str, group: str, name: str, why: str) -> ApiError:
    return ApiError(
        409,
        "Conflict",
        f'Operation cannot be fulfilled on {qualified(plural, group)} "{name}": {why}',
        _details(plural, group, name),
    )


def modified(plural: str, group: str, name: str) -> ApiError:
    """409: the object's resourceVersion is not the one in the request."""
    return conflict(
        plural,
        group,
        name,
        "the object has been modified; please apply your changes to the latest version and "
        "try again",
    )


def forbidden(plural: str, group: str, name: str, why: str) -> ApiError:
    return ApiError(
        403,
        "Forbidden",
        f'{qualified(plural, group)} "{name}" is forbidden: {why}',
        _details(plural, group, name),
    )


def bad_request(message: str) -> ApiError:
    return ApiError(400, "BadRequest", message)


def method_not_allowed() -> ApiError:
    return ApiError(
        405, "MethodNotAllowed", "the server does not allow this method on the requested resource"
    )


def not_acceptable(offered: Sequence[str]) -> ApiError:
    return ApiError(
        406,
        "NotAcceptable",
        "only the following media types are accepted: " + ", ".join(offered),
    )


def unsupported_media_type(message: str) -> ApiError:
    return ApiError(415, "UnsupportedMediaType", message)


def unauthorized(why: str) -> ApiError:
    return ApiError(401, "Unauthorized", f"Unauthorized: {why}")


def expired(message: str) -> ApiError:
    """410 Gone: the client has to relist."""
    return ApiError(410, "Expired", message)


def too_old(requested: int, oldest: int) -> ApiError:
    return expired(f"too old resource version: {requested} ({oldest})")


def not_given_out(requested: int, current: int) -> ApiError:
    return expired(
        f"resource version {requested} is not one of this store (the current one is {current}): "
        "its file may have been put back from a copy; list again"
    )


def cannot_store(failure: TemporaryFailure) -> ApiError:
    """507 for a full disk, 503 for a failing one: nothing was changed, reads are still served."""
    if isinstance(failure, DiskFull):
        return ApiError(507, "InsufficientStorage", f"cannot store: {failure}")
    return ApiError(503, "ServiceUnavailable", f"cannot store: {failure}")


def too_large(requested: int, current: int) -> ApiError:
    """504, as from kube-apiserver (apiserver/pkg/storage/errors.go): client-go relists.

    Sent without the header Retry-After, with which client-go would retry the same request ten times
    first: the version was lost with a replaced database, and waiting does not bring it back.
    """
    text = "Too large resource version"
    return ApiError(
        504,
        "Timeout",
        f"Timeout: {text}: {requested}, current: {current}",
        {
            "causes": [{"reason": "ResourceVersionTooLarge", "message": text}],
            "retryAfterSeconds": 1,
        },
    )


def invalid(kind: str, group: str, name: str, causes: Sequence[Cause]) -> ApiError:
    """422: each cause names a field, its value and what is wrong with it.

    Lists up to MOST_CAUSES of them, so that the response is not much larger than the request.
    """
    texts = [cause.text() for cause in causes[:MOST_CAUSES]]
    if len(causes) > MOST_CAUSES:
        texts.append(f"and {len(causes) - MOST_CAUSES} more")
    message = texts[0] if len(texts) == 1 else "[" + ", ".join(texts) + "]"
    return ApiError(
        422,
        "Invalid",
        f'{qualified(kind, group)} "{name}" is invalid: {message}',
        {
            **_details(kind, group, name),
            "causes": [
                {"reason": cause.reason, "message": cause.detail_text(), "field": cause.field}
                for cause in causes[:MOST_CAUSES]
            ],
        },
    )


class Cause:
    """One invalid field, formatted as by k8s.io/apimachinery/pkg/util/validation/field."""

    def __init__(self, reason: str, field: str, value: Any, detail: str) -> None:
        self.reason = reason
        self.field = field
        self.value = value
        self.detail = detail

    def text(self) -> str:
        return f"{self.field}: {self.detail_text()}"

    def detail_text(self) -> str:
        match self.reason:
            case "FieldValueRequired":
                return f"Required value{_suffix(self.detail)}"
            case "FieldValueForbidden":
                return f"Forbidden{_suffix(self.detail)}"
            case "FieldValueDuplicate":
                return f"Duplicate value: {_quoted(self.value)}"
            case "FieldValueNotSupported":
                return f"Unsupported value: {_quoted(self.value)}{_suffix(self.detail)}"
            case _:
                return f"Invalid value: {_quoted(self.value)}{_suffix(self.detail)}"


def required(field: str, detail: str = "") -> Cause:
    return Cause("FieldValueRequired", field, None, detail)


def invalid_value(field: str, value: Any, detail: str) -> Cause:
    return Cause("FieldValueInvalid", field, value, detail)


def forbidden_field(field: str, detail: str) -> Cause:
    return Cause("FieldValueForbidden", field, None, detail)


def not_supported(field: str, value: Any, allowed: list[str]) -> Cause:
    names = ", ".join(f'"{name}"' for name in allowed)
    return Cause("FieldValueNotSupported", field, value, f"supported values: {names}")


def qualified(name: str, group: str) -> str:
    return f"{name}.{group}" if group else name


def _details(kind: str, group: str, name: str) -> dict[str, Any]:
    details = {"name": name, "group": group, "kind": kind}
    return {key: value for key, value in details.items() if value}


def short(text: str) -> str:
    """Return a text of a client, truncated to a length that fits into a response."""
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."


def _quoted(value: Any) -> str:
    if isinstance(value, str):
        return f'"{short(value)}"'
    return short(encode(value).decode())


def _suffix(detail: str) -> str:
    return f": {detail}" if detail else ""
