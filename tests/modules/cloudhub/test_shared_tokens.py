# ruff: noqa: F811 - fixtures are named as arguments
"""Tokens of several replicas: what is revoked at one lets nobody join at another."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from modules.cloudhub.joining.commands import revoke
from modules.cloudhub.joining.shared_tokens import NAME, SharedTokens
from modules.common.kube import CONFIGMAPS, KubeClient
from modules.common.pki.authority import load_authority, new_authority
from modules.common.pki.certificates import Pki
from modules.common.pki.token_store import Token, TokenStore
from modules.common.pki.tokens import InvalidToken
from tests.modules.cloudhub.door import NODE, nodes, open_door  # noqa: F401 - fixtures
from tests.support.apiserver import embedded_api
from tests.support.waiting import eventually, until

NAMESPACE = "default"


@pytest.fixture
async def api(tmp_path: Path, pki: Pki) -> AsyncIterator[KubeClient]:
    async with embedded_api(tmp_path, pki) as client:
        yield client


@asynccontextmanager
async def sharing(api: KubeClient, directory: Path) -> AsyncIterator[TokenStore]:
    """Run one replica's part, and wait until it knows what the others have revoked."""
    directory.mkdir(exist_ok=True)
    tokens = TokenStore(directory)
    shared = SharedTokens(api, NAMESPACE, tokens)
    running = asyncio.create_task(shared.run())
    try:
        await until(lambda: shared.known or running.done())
        yield tokens
    finally:
        running.cancel()
        await asyncio.wait([running])


async def recorded(api: KubeClient) -> list[Token]:
    found = await api.get(CONFIGMAPS, NAME, NAMESPACE)
    return msgspec.json.decode(found["data"]["tokens.json"], type=list[Token])


async def test_a_token_that_is_revoked_at_one_is_refused_at_all(
    api: KubeClient, tmp_path: Path, pki: Pki
) -> None:
    authority = load_authority(pki.authority)
    async with sharing(api, tmp_path / "a") as a, sharing(api, tmp_path / "b") as b:
        made = a.create(3600)
        text = made.text(authority).partition(".")[2]
        b.check(authority, text)
        words = [made.id, "--data-dir", str(tmp_path / "a")]
        done = await asyncio.to_thread(CliRunner().invoke, revoke, words)
        assert done.exit_code == 0, done.output
        await until(lambda: any(each.revoked for each in b.tokens()))
        with pytest.raises(InvalidToken, match="revoked"):
            b.check(authority, text)
        assert b.tokens() == a.tokens()
    # One that starts anew, with an empty directory, knows it before it takes a token.
    async with sharing(api, tmp_path / "c") as c:
        with pytest.raises(InvalidToken, match="revoked"):
            c.check(authority, text)


async def test_all_list_the_same_tokens_and_keep_one_default(
    api: KubeClient, tmp_path: Path
) -> None:
    async with sharing(api, tmp_path / "a") as a:
        first = a.create(3600, default=True)
        async with sharing(api, tmp_path / "b") as b:
            await until(lambda: b.default() == first)
            later = msgspec.structs.replace(first, id="later", created=first.created + 1)
            b.merge([later])
            await until(lambda: a.default() == later)
            assert [each.default for each in a.tokens()] == [False, True]
            a.create(3600)
            await until(lambda: len(b.tokens()) == 3)
            assert (
                a.tokens()
                == b.tokens()
                == await eventually(lambda: recorded(api), lambda found: len(found) == 3)
            )


async def test_what_was_revoked_while_the_other_was_away_is_known_when_it_is_back(
    api: KubeClient, tmp_path: Path
) -> None:
    async with sharing(api, tmp_path / "a") as a:
        made = a.create(3600)
        await eventually(
            lambda: recorded(api), lambda found: [each.id for each in found] == [made.id]
        )
    # Neither runs: each side changes for itself.
    TokenStore(tmp_path / "a").revoke(made.id)
    async with sharing(api, tmp_path / "b") as b:
        assert b.tokens() == [made]
        async with sharing(api, tmp_path / "a"):
            await until(lambda: b.tokens()[0].revoked)


async def test_a_record_that_somebody_has_damaged_or_deleted_is_written_anew(
    api: KubeClient, tmp_path: Path
) -> None:
    async with sharing(api, tmp_path / "a") as a:
        made = a.create(3600)
        a.revoke(made.id)
        for damaged in ({"tokens.json": "[{"}, {}, {"tokens.json": '[{"id": 5}]'}):
            await eventually(lambda: recorded(api), lambda found: found == a.tokens())
            found = await api.get(CONFIGMAPS, NAME, NAMESPACE)
            await api.replace(CONFIGMAPS, found | {"data": damaged}, NAMESPACE)

            async def read() -> Any:
                try:
                    return await recorded(api)
                except (KeyError, msgspec.MsgspecError):
                    return None

            await eventually(read, lambda found: found == a.tokens())
        await api.delete(CONFIGMAPS, NAME, NAMESPACE)
        await eventually(lambda: recorded(api), lambda found: found == a.tokens())
        assert a.tokens()[0].revoked


async def test_no_token_is_taken_before_it_is_known_which_are_revoked(
    open_door: Callable[..., Any],
) -> None:
    async with open_door() as door:
        door.routes.revocations_known = lambda: False
        joiner = door.joiner()
        with pytest.raises(AssertionError, match="which tokens are revoked is not known"):
            await joiner.join(NODE)
        door.routes.revocations_known = lambda: True
        await joiner.join(NODE)
        # A certificate is enough for another one.
        door.routes.revocations_known = lambda: False
        await joiner.renew(NODE)


async def test_a_change_while_the_record_is_merged_is_shared_too(
    api: KubeClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    merge = TokenStore.merge
    late: list[Token] = []

    def slow(store: TokenStore, others: Any) -> list[Token]:
        merged = merge(store, others)
        if others and not late:
            late.append(store.create(3600))  # as a command does, before the file is looked at
        return merged

    monkeypatch.setattr(TokenStore, "merge", slow)
    TokenStore(tmp_path).create(3600)
    async with sharing(api, tmp_path):
        await eventually(lambda: recorded(api), lambda found: found and len(found) == 2)


async def test_the_record_has_no_secret(api: KubeClient, tmp_path: Path) -> None:
    authority = new_authority()
    async with sharing(api, tmp_path / "a") as a:
        text = a.create(3600).text(authority)
        await eventually(lambda: recorded(api), bool)
        found = json.dumps(await api.get(CONFIGMAPS, NAME, NAMESPACE))
    assert not any(part in found for part in text.split(".") if len(part) > 10)
