"""The record of tokens that several replicas share: a ConfigMap, beside the file of each.

Commands write the file of the replica at which they are typed (token_store.py). Here the files and
the ConfigMap become the union of all: a token is revoked everywhere once it is revoked anywhere.
There is nothing secret in it, as a token is made anew from its id with the key of the CA.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Final

import msgspec

from modules.common.failure_log import FailureLog
from modules.common.kube import (
    CONFIGMAPS,
    AlreadyExists,
    Conflict,
    KubeClient,
    KubeError,
    NotFound,
    Object,
    Reflector,
    WatchEvent,
)
from modules.common.pki.token_store import Token, TokenStore

NAME: Final = "cloudcore-tokens"
_DATA: Final = "tokens.json"
#: Seconds between two looks at the file, which commands change.
_LOOK: Final = 1.0

log = logging.getLogger(__name__)


class SharedTokens:
    """Keeps this replica's tokens and the ConfigMap equal."""

    def __init__(self, api: KubeClient, namespace: str, tokens: TokenStore) -> None:
        self._api = api
        self._namespace = namespace
        self._tokens = tokens
        self._changed = asyncio.Event()
        self._done: tuple[object, str] | None = None
        self._failures = FailureLog(log, logging.ERROR)
        self.known = False
        """whether the revocations of all replicas are in the file"""
        self._reflector = Reflector(
            api,
            CONFIGMAPS,
            self._seen,
            namespace=namespace,
            field_selector=f"metadata.name={NAME}",
        )

    async def run(self) -> None:
        """Keep them equal until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._reflector.run())
            tasks.create_task(self._keep())

    async def _keep(self) -> None:
        await self._reflector.synced()
        while True:
            self._changed.clear()
            await self._reconcile()
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK):
                    await self._changed.wait()

    def _seen(self, _: WatchEvent) -> None:
        self._changed.set()

    async def _reconcile(self) -> None:
        """Do what has become necessary since the last look."""
        found = self._reflector.get(NAME, self._namespace)
        version = found["metadata"]["resourceVersion"] if found else ""
        try:
            # Of before the merge: what a command writes meanwhile is seen at the next look.
            seen = self._tokens.stamp(), version
            if self._done == seen:
                return
            theirs = self._read(found)
            ours = await asyncio.to_thread(self._tokens.merge, theirs or [])
            self.known = True
            if ours != theirs:
                await self._write(found, ours)
                return  # the watch tells the new version
            self._done = seen
        except (Conflict, AlreadyExists, NotFound):
            return  # somebody else was faster, which the watch tells
        except (KubeError, OSError, ValueError) as error:
            if isinstance(error, KubeError) and error.outage:
                return  # the client itself logs when one begins and ends
            hint = f"; {error.hint}" if isinstance(error, KubeError) else ""
            text = f"cannot share the tokens with other replicas: {error}{hint}"
            self._failures.failed("", str(error), text)
        else:
            self._failures.worked("", "tokens are shared with other replicas again")

    def _read(self, found: Object | None) -> list[Token] | None:
        """Return what the ConfigMap says; None if it has to be written anew."""
        if found is None:
            return None
        try:
            return msgspec.json.decode((found.get("data") or {})[_DATA], type=list[Token])
        except (KeyError, TypeError, msgspec.MsgspecError) as error:
            what = CONFIGMAPS.describe(self._namespace, NAME)
            log.warning("%s cannot be read and is written anew: %s", what, error)
            return None

    async def _write(self, found: Object | None, tokens: list[Token]) -> None:
        data = {_DATA: msgspec.json.format(msgspec.json.encode(tokens)).decode()}
        if found is None:
            made = {"metadata": {"name": NAME}, "data": data}
            await self._api.create(CONFIGMAPS, made, self._namespace)
        else:
            await self._api.replace(CONFIGMAPS, found | {"data": data}, self._namespace)
