"""The bodies of responses of an API server: an object, a page of a list, its version."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from modules.common.kube.errors import Unreachable
from modules.common.kube.transport import Request
from modules.common.kube.watching import Object

Decoded = TypeVar("Decoded")


class Page(NamedTuple):
    """One page of a list, or a whole list; a watch starts from its `resource_version`.

    The items are not validated: a reflector sets aside those that are not objects.
    """

    items: list[Any]
    resource_version: str


class _ListMeta(msgspec.Struct):
    resource_version: str = msgspec.field(default="", name="resourceVersion")
    token: str = msgspec.field(default="", name="continue")


class _List(msgspec.Struct):
    metadata: _ListMeta
    items: list[Any] | None = None


class ServerVersion(msgspec.Struct, frozen=True):
    """What an API server says of its version."""

    text: str = msgspec.field(default="", name="gitVersion")
    """such as v1.32.1"""

    @property
    def number(self) -> tuple[int, ...]:
        """Major and minor version; empty if the text says none, as that of a build without one."""
        found = re.match(r"v?([1-9]\d*)\.(\d+)", self.text)
        return (int(found[1]), int(found[2])) if found else ()


decode_version: Final = msgspec.json.Decoder(ServerVersion).decode
decode_list: Final = msgspec.json.Decoder(_List).decode
decode_object: Final = msgspec.json.Decoder(Object).decode


def decode(decoder: Callable[[bytes], Decoded], body: bytes, request: Request) -> Decoded:
    """Decode the body of a response; raises Unreachable if it is something else."""
    try:
        return decoder(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Unreachable(
            f"the answer is not Kubernetes JSON: {error}", request=request.what
        ) from error
