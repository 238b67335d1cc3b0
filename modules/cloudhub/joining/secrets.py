"""The Secrets in which Go's cloudcore keeps its CA, its certificate and the join token.

All are in the namespace kubeedge, their values DER or text (servers/httpserver/pre_server.go);
`keadm gettoken` reads the last one.
"""

from __future__ import annotations

import base64
import binascii
from contextlib import suppress
from typing import Any, Final

from modules.common.kube import NAMESPACES, SECRETS, AlreadyExists, KubeClient, NotFound

NAMESPACE: Final = "kubeedge"

CA_SECRET: Final = "casecret"  # noqa: S105 - a name
CA_DATA: Final = "cadata"
CA_KEY_DATA: Final = "cakeydata"
SERVER_SECRET: Final = "cloudcoresecret"  # noqa: S105 - a name
SERVER_DATA: Final = "cloudcoredata"
SERVER_KEY_DATA: Final = "cloudcorekeydata"
TOKEN_SECRET: Final = "tokensecret"  # noqa: S105 - a name
TOKEN_DATA: Final = "tokendata"  # noqa: S105 - a name

Data = dict[str, bytes]


async def read_secret(api: KubeClient, name: str) -> Data | None:
    """Return the values of a Secret, None if there is none; raises KubeError and ValueError."""
    try:
        found = await api.get(SECRETS, name, NAMESPACE)
    except NotFound:
        return None
    return _decoded(found)


async def create_secret(api: KubeClient, name: str, data: Data) -> bool:
    """Create a Secret, and its namespace; False if the Secret exists. Raises KubeError."""
    metadata = {"name": name, "namespace": NAMESPACE}
    secret = {"metadata": metadata, "type": "Opaque", "data": _encoded(data)}
    try:
        try:
            await api.create(SECRETS, secret, NAMESPACE)
        except NotFound:
            with suppress(AlreadyExists):
                await api.create(NAMESPACES, {"metadata": {"name": NAMESPACE}})
            await api.create(SECRETS, secret, NAMESPACE)
    except AlreadyExists:
        return False
    return True


async def write_secret(api: KubeClient, name: str, data: Data) -> None:
    """Give a Secret these values; raises KubeError, Conflict if another one has just written it."""
    try:
        found = await api.get(SECRETS, name, NAMESPACE)
    except NotFound:
        await create_secret(api, name, data)
        return
    if found.get("data") != _encoded(data):
        await api.replace(SECRETS, found | {"data": _encoded(data)}, NAMESPACE)


def _encoded(data: Data) -> dict[str, str]:
    return {key: base64.b64encode(value).decode() for key, value in data.items()}


def _decoded(secret: dict[str, Any]) -> Data:
    try:
        return {key: base64.b64decode(value) for key, value in (secret.get("data") or {}).items()}
    except (binascii.Error, TypeError, AttributeError) as error:
        name = secret["metadata"]["name"]
        raise ValueError(f"cannot read the secret {NAMESPACE}/{name}: {error}") from error
