"""What is looked after in the background: the default token, and the Secrets of Go's cloudcore.

Whatever fails is tried again; edges join meanwhile with what there is.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Final

from modules.cloudhub.endpoint.tls import TlsFiles
from modules.common.failure_log import FailureLog
from modules.common.kube import KubeClient, KubeError
from modules.common.kubeedge_secrets import (
    CA_DATA,
    CA_SECRET,
    NAMESPACE,
    SERVER_DATA,
    SERVER_KEY_DATA,
    SERVER_SECRET,
    TOKEN_DATA,
    TOKEN_SECRET,
    Data,
    authority_data,
    create_secret,
    read_secret,
    write_secret,
)
from modules.common.pki import signing
from modules.common.pki.authority import AuthorityFiles, load_authority
from modules.common.pki.token_store import Token, TokenStore

log = logging.getLogger(__name__)

#: Seconds between two looks at token and certificates, and between the attempts to write Secrets.
LOOK: Final = 10.0
#: Seconds after which the Secrets are read again, since somebody may have changed or deleted one.
_READ_AGAIN: Final = 600.0
_HOUR: Final = 3600.0


class Upkeep:
    """Keeps a default token and the Secrets; `run` runs until it is cancelled."""

    def __init__(
        self,
        api: KubeClient,
        authority: AuthorityFiles,
        server: TlsFiles,
        tokens: TokenStore,
        *,
        refresh_hours: int,
    ) -> None:
        self._api = api
        self._authority = authority
        self._server = server
        self._tokens = tokens
        self._refresh = refresh_hours * _HOUR
        self._written: dict[str, Data] = {}
        self._read_again = 0.0
        self._failures = FailureLog(log, logging.ERROR)

    async def run(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(LOOK)

    async def look(self) -> None:
        """Do once what is due."""
        try:
            wanted = await asyncio.to_thread(self._wanted)
        except (OSError, ValueError) as error:
            text = f"cannot keep the join token: {error}; trying again every {LOOK:.0f} s"
            self._failures.failed("token", str(error), text)
            return
        self._failures.worked("token", "the join token is kept again")
        now = time.monotonic()
        if now >= self._read_again:
            self._written.clear()
            self._read_again = now + _READ_AGAIN
        for name, data in wanted.items():
            if self._written.get(name) != data:
                await self._publish(name, data)

    def _wanted(self) -> dict[str, Data]:
        """Return what the Secrets should have; the default token is renewed if it is due."""
        authority = load_authority(self._authority)
        certificate, key = signing.load(self._server.cert, self._server.key)
        server = {
            SERVER_DATA: signing.certificate_der(certificate),
            SERVER_KEY_DATA: signing.key_der(key),
        }
        token = self._default_token().text(authority)
        return {
            CA_SECRET: authority_data(authority),
            SERVER_SECRET: server,
            TOKEN_SECRET: {TOKEN_DATA: token.encode()},
        }

    def _default_token(self) -> Token:
        """Return the token that is kept: one that is good for `refresh_hours` at least."""
        token = self._tokens.default()
        if token is None or token.expires - time.time() < self._refresh:
            token = self._tokens.create(2 * self._refresh, default=True)
            log.info("made the default join token %s", token.id)
        return token

    async def _publish(self, name: str, data: Data) -> None:
        what = f"the secret {NAMESPACE}/{name}"
        try:
            if name == CA_SECRET:
                await self._publish_authority(data)
            else:
                await write_secret(self._api, name, data)
        except (KubeError, ValueError) as error:
            if isinstance(error, KubeError) and error.outage:
                return  # the client itself logs when one begins and ends
            hint = f"; {error.hint}" if isinstance(error, KubeError) else ""
            self._failures.failed(name, str(error), f"cannot write {what}: {error}{hint}")
            return
        self._failures.worked(name, f"{what} is written again")
        self._written[name] = data

    async def _publish_authority(self, data: Data) -> None:
        """Create casecret; one with another CA is never replaced. Raises ValueError for such."""
        if await create_secret(self._api, CA_SECRET, data):
            return
        found = await read_secret(self._api, CA_SECRET) or {}
        if found.get(CA_DATA) != data[CA_DATA]:
            raise ValueError(
                "it has another CA than this cloudcore, whose edges trust the one in "
                f"{self._authority.cert}; delete the secret, or stop cloudcore and put the right "
                "CA into its data directory"
            )
