"""Certificates and when they expire, and the tokens with which edges join."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from modules.common.pki.certificates import Pki
from modules.common.pki.listing import list_certificates
from modules.common.pki.token_store import TokenStore
from modules.dashboard.admin import Admin, AdminRefused, AdminUnavailable
from modules.dashboard.sources.edges import hub_sockets


class Access:
    """The certificates and tokens in the data directory; reading them is done in a thread."""

    def __init__(self, run_dir: Path, data_dir: Path) -> None:
        self._run_dir = run_dir
        self._pki = Pki(data_dir / "pki")
        self._tokens = TokenStore(data_dir)

    async def certificates(self) -> list[dict[str, Any]]:
        """Return cloudcore's own certificates and those that it has issued by hand.

        Raises OSError, and ValueError for a file that is not a certificate.
        """
        listed = await asyncio.to_thread(lambda: list(list_certificates(self._pki)))
        return [
            {
                "name": each.name,
                "kind": each.kind,
                "subject": each.subject,
                "names": each.names,
                "issued": each.issued.timestamp(),
                "expires": each.expires.timestamp(),
                "state": each.state,
            }
            for each in listed
        ]

    async def tokens(self) -> list[dict[str, Any]]:
        """Return the tokens that have not expired, without what lets an edge join."""
        tokens = await asyncio.to_thread(self._tokens.tokens)
        return [
            {
                "id": token.id,
                "created": token.created,
                "expires": token.expires,
                "state": token.state,
            }
            for token in tokens
        ]

    async def revoke(self, token_id: str) -> None:
        """Revoke a token; raises AdminRefused if there is none with this id."""
        try:
            await asyncio.to_thread(self._tokens.revoke, token_id)
        except KeyError as error:
            raise AdminRefused(404, f"no token has the id {token_id}") from error

    async def join_line(self) -> dict[str, Any]:
        """Have CloudHub make a token, and return the line for a new edge; raises as Admin does."""
        for path in hub_sockets(self._run_dir):
            async with Admin(path) as hub:
                try:
                    made: dict[str, Any] = await hub.send("POST", "/join")
                except AdminUnavailable:
                    continue
                return made
        raise AdminUnavailable("no process of cloudhub answers")
