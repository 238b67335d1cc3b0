"""The first start in a cluster: the CA is the one that the cluster has, or else a new one.

A second CA would lock out the edges that trust the first, so the module waits until the cluster has
answered. Once the CA is in the data directory, nothing here is needed any more.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from modules.cloudhub.config import CloudHubConfig
from modules.common.kube import Forbidden, KubeClient, KubeError
from modules.common.kubeedge_secrets import (
    CA_NAME,
    CA_SECRET,
    authority_data,
    authority_of,
    create_secret,
    read_secret,
)
from modules.common.pki import signing
from modules.common.pki.authority import fingerprint, new_authority, remembered
from modules.common.pki.certificates import Pki, adopt_authority
from supervisor.api import CannotStart, ModuleContext, Settings, TemporaryFailure

log = logging.getLogger(__name__)

#: Timeout of the API in one start of the module, in seconds: less than its start_timeout.
_WAIT: Final = 20.0
_PAUSE: Final = 1.0


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
                    f"cannot ask the cluster whether it has a CA ({CA_NAME}): {error}; {error.hint}"
                ) from error
            await asyncio.sleep(_PAUSE)


async def _shared(api: KubeClient) -> signing.Authority:
    """Return the CA of the cluster; put a new one there if it has none."""
    while True:
        if (data := await read_secret(api, CA_SECRET)) is not None:
            authority = authority_of(data)
            found = fingerprint(authority.certificate)
            log.info("using the CA of %s, SHA-256 fingerprint %s", CA_NAME, found)
            return authority
        authority = new_authority()
        try:
            if await create_secret(api, CA_SECRET, authority_data(authority)):
                return authority
        except Forbidden as error:
            log.warning("cannot keep the CA in %s: %s; %s", CA_NAME, error, error.hint)
            return authority
