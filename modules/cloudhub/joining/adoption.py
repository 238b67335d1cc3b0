"""The first start in a cluster: the CA is the one that the cluster has, or else a new one.

A second CA would lock out the edges that trust the first, so that the cluster is waited for. Once
the CA is in the data directory, nothing here is needed any more.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_der_private_key

from modules.cloudhub.config import CloudHubConfig
from modules.cloudhub.joining.secrets import (
    CA_DATA,
    CA_KEY_DATA,
    CA_SECRET,
    NAMESPACE,
    Data,
    create_secret,
    read_secret,
)
from modules.common.kube import Forbidden, KubeClient, KubeError
from modules.common.pki import signing
from modules.common.pki.authority import fingerprint, new_authority, remembered
from modules.common.pki.certificates import Pki, adopt_authority
from supervisor.api import CannotStart, ModuleContext, Settings, TemporaryFailure

log = logging.getLogger(__name__)

#: Seconds for which the API is waited for in one start of the module, within its start_timeout.
_WAIT: Final = 20.0
_PAUSE: Final = 1.0
_SECRET: Final = f"the secret {NAMESPACE}/{CA_SECRET}"


async def ensure_cluster_authority(
    config: CloudHubConfig, settings: Settings, context: ModuleContext
) -> None:
    """Have the cluster's CA in the data directory, if there is none yet and a cluster is named.

    Raises TemporaryFailure if the API does not answer, and CannotStart for a secret that is not a
    CA. With the embedded API, whose data are in the same directory, there is nothing to wait for.
    """
    pki = Pki(settings.data_dir / "pki")
    if config.ca or not settings.kubernetes.configured:
        return
    try:
        if pki.ca_cert.exists() or remembered(pki.authority.fingerprint):
            return
        context.report(waiting_for="the Kubernetes API, for the CA")
        async with KubeClient.connect(settings, user_agent="cloudcore-cloudhub") as api:
            authority = await _waited_for(api)
        adopt_authority(pki, authority)
    except ValueError as error:
        raise CannotStart(str(error)) from error
    context.report(waiting_for=None)


async def _waited_for(api: KubeClient) -> signing.Authority:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _WAIT
    while True:
        try:
            return await _shared(api)
        except KubeError as error:
            if loop.time() + _PAUSE > deadline:
                raise TemporaryFailure(
                    f"cannot ask the cluster whether it has a CA ({_SECRET}): {error}; {error.hint}"
                ) from error
            await asyncio.sleep(_PAUSE)


async def _shared(api: KubeClient) -> signing.Authority:
    """Return the CA of the cluster; put a new one there if it has none."""
    while True:
        if (data := await read_secret(api, CA_SECRET)) is not None:
            authority = authority_of(data)
            found = fingerprint(authority.certificate)
            log.info("using the CA of %s, SHA-256 fingerprint %s", _SECRET, found)
            return authority
        authority = new_authority()
        try:
            if await create_secret(api, CA_SECRET, authority_data(authority)):
                return authority
        except Forbidden as error:
            log.warning("cannot keep the CA in %s: %s; %s", _SECRET, error, error.hint)
            return authority


def authority_data(authority: signing.Authority) -> Data:
    """Return the values of casecret."""
    certificate = signing.certificate_der(authority.certificate)
    return {CA_DATA: certificate, CA_KEY_DATA: signing.key_der(authority.key)}


def authority_of(data: Data) -> signing.Authority:
    """Return the CA of casecret; raises CannotStart if it is none."""
    try:
        certificate = x509.load_der_x509_certificate(data[CA_DATA])
        key = load_der_private_key(data[CA_KEY_DATA], password=None)
    except KeyError as error:
        raise CannotStart(f"{_SECRET} has no key {error}; correct it, or delete it") from error
    except Exception as error:  # cryptography has no common base of its exceptions
        raise CannotStart(f"cannot read the CA in {_SECRET}: {error}") from error
    if not isinstance(key, signing.PrivateKey) or certificate.public_key() != key.public_key():
        raise CannotStart(f"the key in {_SECRET} is not that of its certificate")
    return signing.Authority(certificate, key)
