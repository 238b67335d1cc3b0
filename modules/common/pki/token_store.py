"""The tokens that this cloudcore has made, without their secret part, and which are revoked.

One file of the data directory, `tokens.json`. A token is made again from its id and its expiry and
the key of the CA, so that none is stored. A token that is not in the file, of Go's cloudcore with
the same CA, is as good as its signature.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated, Final

import msgspec

from ipc.files import locked, replace_file
from modules.common.pki import signing
from modules.common.pki.tokens import Claims, InvalidToken, make_token, verify_token

FILE: Final = "tokens.json"
#: Tokens that are recorded at most, so that no file grows without bound.
_MOST: Final = 1000
#: Tokens that have expired which are recorded still, at most.
_SPENT: Final = 200

#: A second since the epoch, up to the year 9999.
_Second = Annotated[int, msgspec.Meta(ge=0, lt=253_402_300_800)]


class Token(msgspec.Struct, frozen=True):
    """One token; times are in seconds since the epoch."""

    id: str
    created: _Second
    expires: _Second
    revoked: bool = False
    default: bool = False
    """whether it is the one that cloudcore itself keeps and renews"""

    @property
    def state(self) -> str:
        """Whether edges can join with it: good, revoked, or default, which is good."""
        return "revoked" if self.revoked else "default" if self.default else "good"

    def text(self, authority: signing.Authority) -> str:
        """Return the token that an operator hands to an edge."""
        return make_token(authority, Claims(self.expires, self.id))


class TokenStore:
    """The tokens of one data directory, for several processes at a time."""

    def __init__(self, data_dir: Path, now: Callable[[], float] = time.time) -> None:
        self.path = data_dir / FILE
        self._now = now

    def tokens(self) -> list[Token]:
        """Return those that have not expired, the oldest first.

        Raises OSError, and ValueError if the file is damaged.
        """
        now = self._now()
        return [token for token in self._read() if token.expires > now]

    def create(self, ttl: float, *, default: bool = False) -> Token:
        """Record a new token that is good for `ttl` seconds.

        A new default token takes the place of the earlier one, which stays good until it expires.
        Raises OSError; ValueError if the file is damaged, or has no room.
        """
        with self._locked():
            tokens = self.tokens()
            if len(tokens) >= _MOST:
                raise ValueError(
                    f"cannot make a token: {len(tokens)} are good already; wait until some have "
                    f"expired"
                )
            now = int(self._now())
            made = Token(secrets.token_hex(5), now, now + int(ttl), default=default)
            if default:
                tokens = [msgspec.structs.replace(token, default=False) for token in tokens]
            self._write([*self._spent(self._read()), *tokens, made])
        return made

    def default(self) -> Token | None:
        """Return the token that cloudcore keeps, if it is good; raises as `tokens` does."""
        kept = [token for token in self.tokens() if token.default and not token.revoked]
        return kept[-1] if kept else None

    def revoke(self, token_id: str) -> Token:
        """Revoke a token; raises KeyError if none has this id, and as `create` does."""
        with self._locked():
            tokens = {token.id: token for token in self.tokens()}
            revoked = msgspec.structs.replace(tokens[token_id], revoked=True)
            tokens[token_id] = revoked
            self._write([*self._spent(self._read()), *tokens.values()])
        return revoked

    def merge(self, others: Iterable[Token]) -> list[Token]:
        """Take over the tokens of another store, and return all that is kept, the oldest first.

        One is revoked if it is in either, and of two default tokens the newer one is the default.
        Those that have expired are among them: the clock of the other store may be right. Raises
        as `create` does.
        """
        now = self._now()
        with self._locked():
            ours = self._read()
            merged = {token.id: token for token in ours}
            for token in others:
                known = merged.get(token.id, token)
                revoked = known.revoked or token.revoked
                merged[token.id] = msgspec.structs.replace(known, revoked=revoked)
            good = [token for token in merged.values() if token.expires > now]
            kept = [*good, *self._spent(merged.values())]
            tokens = sorted(kept, key=lambda token: (token.created, token.id))
            defaults = [token for token in tokens if token.default]
            tokens = [
                msgspec.structs.replace(token, default=token is defaults[-1])
                if token.default
                else token
                for token in tokens
            ]
            if tokens != ours:
                self._write(tokens)
        return tokens

    def stamp(self) -> object:
        """Return what differs when the file has changed."""
        try:
            status = self.path.stat()
        except FileNotFoundError:
            return None
        return status.st_mtime_ns, status.st_ino, status.st_size

    def check(self, authority: signing.Authority, token: str) -> Claims:
        """Return the claims of a web token that lets its holder join.

        Raises InvalidToken, and as `tokens` does if the file cannot be read.
        """
        claims = verify_token(authority, token, self._now())
        if any(each.revoked and each.id == claims.jti for each in self.tokens()):
            raise InvalidToken("it has been revoked")
        return claims

    def _spent(self, tokens: Iterable[Token]) -> list[Token]:
        """Return the tokens that are kept although they have expired, revoked ones above all.

        A clock that was ahead and is right again makes them good once more.
        """
        now = self._now()
        spent = [token for token in tokens if token.expires <= now]
        spent.sort(key=lambda token: (token.revoked, token.expires))
        return spent[-_SPENT:]

    def _read(self) -> list[Token]:
        try:
            return msgspec.json.decode(self.path.read_bytes(), type=list[Token])
        except FileNotFoundError:
            return []
        except msgspec.MsgspecError as error:
            raise ValueError(
                f"cannot read {self.path}: {error}; restore it, or remove it: then no token is "
                "revoked any more"
            ) from error

    def _write(self, tokens: list[Token]) -> None:
        replace_file(self.path, msgspec.json.format(msgspec.json.encode(tokens)) + b"\n")

    def _locked(self) -> AbstractContextManager[None]:
        return locked(self.path.with_name(f".{FILE}.lock"))
