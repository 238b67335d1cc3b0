"""The Secrets in which Go's cloudcore keeps its CA, its certificate and the join token.

All are in the namespace kubeedge, their values DER or text (servers/httpserver/pre_server.go);
`keadm gettoken` reads the last one.
"""

from __future__ import annotations

import base64
import binascii
from contextlib import suppress
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_der_private_key

from modules.common.kube import NAMESPACES, SECRETS, AlreadyExists, KubeClient, NotFound
from modules.common.pki import signing

NAMESPACE: Final = "kubeedge"

CA_SECRET: Final = "casecret"  # noqa: S105 - a name
CA_DATA: Final = "cadata"
CA_KEY_DATA: Final = "cakeydata"
SERVER_SECRET: Final = "cloudcoresecret"  # noqa: S105 - a name
SERVER_DATA: Final = "cloudcoredata"
SERVER_KEY_DATA: Final = "cloudcorekeydata"
TOKEN_SECRET: Final = "tokensecret"  # noqa: S105 - a name
TOKEN_DATA: Final = "tokendata"  # noqa: S105 - a name

#: The CA's Secret, as messages name it.
CA_NAME: Final = f"the secret {NAMESPACE}/{CA_SECRET}"

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


def authority_data(authority: signing.Authority) -> Data:
    """Return the values of casecret."""
    certificate = signing.certificate_der(authority.certificate)
    return {CA_DATA: certificate, CA_KEY_DATA: signing.key_der(authority.key)}


def authority_of(data: Data) -> signing.Authority:
    """Return the CA of casecret; raises ValueError if it is none."""
    try:
        certificate = x509.load_der_x509_certificate(data[CA_DATA])
        key = load_der_private_key(data[CA_KEY_DATA], password=None)
    except KeyError as error:
        raise ValueError(f"{CA_NAME} has no key {error}; correct it, or delete it") from error
    except Exception as error:  # cryptography has no common base of its exceptions
        raise ValueError(f"cannot read the CA in {CA_NAME}: {error}") from error
    if not isinstance(key, signing.PrivateKey) or certificate.public_key() != key.public_key():
        raise ValueError(f"the key in {CA_NAME} is not that of its certificate")
    return signing.Authority(certificate, key)


def _encoded(data: Data) -> dict[str, str]:
    return {key: base64.b64encode(value).decode() for key, value in data.items()}


def _decoded(secret: dict[str, Any]) -> Data:
    try:
        return {key: base64.b64decode(value) for key, value in (secret.get("data") or {}).items()}
    except (binascii.Error, TypeError, AttributeError) as error:
        name = secret["metadata"]["name"]
        raise ValueError(f"cannot read the secret {NAMESPACE}/{name}: {error}") from error
