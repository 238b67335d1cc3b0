"""The certificate that the server shows: renewed before it expires, and used without a restart."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Callable, Sequence
from typing import Final

from modules.common.failure_log import FailureLog
from modules.common.file_versions import FileVersion, file_versions
from modules.common.pki import renewal
from modules.common.pki.certificates import Pki, ensure_pki, unchanged

log = logging.getLogger(__name__)

#: Seconds between two looks at the files, which other modules renew as well.
_LOOK: Final = 5.0


class ServedCertificate:
    """The server's TLS context, whose certificate follows the files of a PKI."""

    def __init__(self, pki: Pki, names: Sequence[str]) -> None:
        self._pki = pki
        self._names = names
        self._failures = FailureLog(log, logging.ERROR)
        self._renewed = asyncio.Event()
        with unchanged(pki):  # CloudHub, which starts at the same time, has other names
            self._versions = self._read_versions()
            self.context = _context(pki)

    async def renew(self) -> None:
        """Renew the certificates of server and administrator when they are due, until cancelled."""
        while True:
            await renewal.due()
            try:
                # In a thread, as generating a key takes a while.
                await asyncio.to_thread(ensure_pki, self._pki.directory, self._names)
            except (OSError, ValueError) as error:
                text = f"cannot renew the certificates: {error}; the old ones stay in use"
                self._failures.failed("renew", str(error), text)
            else:
                self._failures.worked("renew", "the certificates are kept again")
                self._renewed.set()

    async def follow(self, changed: Callable[[], None]) -> None:
        """Use certificates that have changed for new connections, and call `changed`."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK):
                    await self._renewed.wait()
            self._renewed.clear()
            versions = self._read_versions()
            if versions == self._versions:
                continue
            try:
                _context(self._pki)  # certificate and key may be replaced one by one
                self.context.load_cert_chain(self._pki.server_cert, self._pki.server_key)
                changed()
            except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
                text = f"changed certificates are not used yet: {error}"
                self._failures.failed("follow", str(error), text)
                continue
            self._versions = versions
            self._failures.worked("follow")
            log.info("certificates have changed: new connections use %s", self._pki.server_cert)

    def _read_versions(self) -> tuple[FileVersion, ...]:
        pki = self._pki
        return file_versions((pki.server_cert, pki.server_key, pki.admin_cert, pki.admin_key))


def _context(pki: Pki) -> ssl.SSLContext:
    """Make a context that requests a client certificate; `authenticate` reads it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(pki.server_cert, pki.server_key)
    context.load_verify_locations(pki.ca_cert)
    context.verify_mode = ssl.CERT_OPTIONAL
    return context
