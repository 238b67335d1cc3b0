"""Join tokens: the form of Go's cloudcore, what is refused, and what is remembered of them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import multiprocessing
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modules.common.pki import signing
from modules.common.pki.authority import new_authority
from modules.common.pki.token_store import TokenStore
from modules.common.pki.tokens import Claims, InvalidToken, make_token, verify_token

EC = new_authority()
_rsa_key = signing.new_rsa_key()
RSA = signing.Authority(signing.authority_certificate(_rsa_key, "cloudcore-ca"), _rsa_key)
NOW = 1_700_000_000


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signed(header: bytes, payload: bytes, key: bytes | None = None) -> str:
    """Return a web token as golang-jwt signs it."""
    text = f"{encoded(header)}.{encoded(payload)}"
    key = signing.key_der(EC.key) if key is None else key
    return f"{text}.{encoded(hmac.new(key, text.encode(), hashlib.sha256).digest())}"


HS256 = b'{"alg":"HS256","typ":"JWT"}'


@pytest.mark.parametrize("authority", [EC, RSA], ids=["ECDSA", "RSA"])
def test_a_token_has_four_parts_of_which_an_edge_shows_three(authority: signing.Authority) -> None:
    token = make_token(authority, Claims(NOW + 60, "id"))
    digest, header, payload, _ = token.split(".")
    certificate = signing.certificate_der(authority.certificate)
    assert digest == hashlib.sha256(certificate).hexdigest()
    assert json.loads(base64.urlsafe_b64decode(header + "==")) == {"alg": "HS256", "typ": "JWT"}
    payload += "=" * (-len(payload) % 4)
    assert json.loads(base64.urlsafe_b64decode(payload)) == {"exp": NOW + 60, "jti": "id"}
    claims = verify_token(authority, token.partition(".")[2], NOW)
    assert claims == Claims(NOW + 60, "id")


def test_a_token_of_gos_cloudcore_is_accepted() -> None:
    """It has the expiry alone."""
    assert verify_token(EC, signed(HS256, b'{"exp":%d}' % (NOW + 1)), NOW) == Claims(NOW + 1)


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        ("", "not a token"),
        ("a.b", "not a token"),
        ("a.b.c.d", "not a token"),
        ("a" * 2000 + ".b.c", "not a token"),
        ("!.!.!", "not a JSON web token"),
        (signed(b"[]", b'{"exp":9999999999}'), "not a JSON web token"),
        (signed(b'{"alg":"none"}', b'{"exp":9999999999}'), "algorithm"),
        (signed(b'{"alg":"none"}', b'{"exp":9999999999}').rpartition(".")[0] + ".", "algorithm"),
        (signed(b'{"alg":"HS512"}', b'{"exp":9999999999}'), "algorithm"),
        (signed(b'{"alg":"hs256"}', b'{"exp":9999999999}'), "algorithm"),
        (signed(HS256, b'{"exp":9999999999}', b""), "not made by"),
        (signed(HS256, b'{"exp":9999999999}', signing.key_der(RSA.key)), "not made by"),
        (signed(HS256, b"{}"), "no expiry"),
        (signed(HS256, b'{"exp":null}'), "no expiry"),
        (signed(HS256, b'{"exp":"9999999999"}'), "no expiry"),
        (signed(HS256, b"nonsense"), "no expiry"),
        (signed(HS256, b'{"exp":%d}' % NOW), "expired"),
    ],
    ids=lambda each: "token" if "." in each else None,  # they differ in each worker
)
def test_what_lets_nobody_join(token: str, reason: str) -> None:
    with pytest.raises(InvalidToken, match=reason) as refused:
        verify_token(EC, token, NOW)
    assert not token or token not in str(refused.value)


@given(st.data())
def test_no_changed_character_is_accepted(data: st.DataObject) -> None:
    token = make_token(EC, Claims(NOW + 60, "id")).partition(".")[2]
    at = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.characters(codec="ascii").filter(lambda each: each != token[at]))
    changed = token[:at] + other + token[at + 1 :]
    if at == len(token) - 1 and other.isalnum():
        return  # the last character of 256 bits has two that say nothing
    with pytest.raises(InvalidToken):
        verify_token(EC, changed, NOW)


# What is remembered


class Clock:
    def __init__(self) -> None:
        self.now = float(NOW)

    def __call__(self) -> float:
        return self.now


def web_token(store: TokenStore, ttl: float = 60) -> str:
    return store.create(ttl).text(EC).partition(".")[2]


def test_tokens_are_recorded_without_their_secret(tmp_path: Path) -> None:
    store = TokenStore(tmp_path, Clock())
    token = web_token(store)
    written = store.path.read_text()
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600
    for part in token.split("."):
        assert part not in written
    assert store.check(EC, token).jti == store.tokens()[0].id


def test_a_revoked_token_stays_revoked(tmp_path: Path) -> None:
    store = TokenStore(tmp_path, Clock())
    revoked, good = web_token(store), web_token(store)
    store.revoke(store.tokens()[0].id)
    for each in (store, TokenStore(tmp_path, Clock())):
        with pytest.raises(InvalidToken, match="revoked"):
            each.check(EC, revoked)
        each.check(EC, good)


def test_what_has_expired_is_not_good_and_few_of_it_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modules.common.pki.token_store._SPENT", 2)
    clock = Clock()
    store = TokenStore(tmp_path, clock)
    token = web_token(store)
    revoked = store.revoke(store.tokens()[0].id)
    for _ in range(5):
        clock.now += 61
        web_token(store)
    assert len(store.tokens()) == 1
    kept = [each["id"] for each in json.loads(store.path.read_text())]
    assert len(kept) == 3
    assert revoked.id in kept
    with pytest.raises(InvalidToken, match="expired"):
        store.check(EC, token)


def test_a_clock_that_was_ahead_makes_no_revoked_token_good_again(tmp_path: Path) -> None:
    clock = Clock()
    store = TokenStore(tmp_path, clock)
    revoked, good = web_token(store), web_token(store)
    store.revoke(store.tokens()[0].id)
    clock.now += 2 * 86_400
    default = store.create(86_400, default=True)  # as is done within ten seconds
    store.revoke(store.tokens()[0].id)
    store.merge([])
    clock.now -= 2 * 86_400
    with pytest.raises(InvalidToken, match="revoked"):
        store.check(EC, revoked)
    store.check(EC, good)
    assert [each.id for each in store.tokens()][-1] == default.id
    assert len(store.tokens()) == 3


def test_stores_whose_clocks_disagree_agree_on_what_they_keep(tmp_path: Path) -> None:
    ahead, right = Clock(), Clock()
    ahead.now += 2 * 86_400
    stores = [TokenStore(tmp_path / "a", ahead), TokenStore(tmp_path / "b", right)]
    for store in stores:
        store.path.parent.mkdir()
        store.create(60, default=True)
    first = stores[0].merge([])
    both = stores[1].merge(first)
    assert stores[0].merge(both) == both  # otherwise each would write it over again
    assert stores[1].merge(both) == both


def test_the_default_token_is_the_last_good_one(tmp_path: Path) -> None:
    clock = Clock()
    store = TokenStore(tmp_path, clock)
    assert store.default() is None
    store.create(600)
    first = store.create(60, default=True)
    assert store.default() == first
    second = store.create(60, default=True)
    assert store.default() == second
    store.revoke(second.id)
    assert store.default() is None


def test_unknown_ids_and_damage_are_said(tmp_path: Path) -> None:
    store = TokenStore(tmp_path, Clock())
    token = web_token(store)
    with pytest.raises(KeyError):
        store.revoke("none")
    store.path.write_text('[{"id": 1}]')
    with pytest.raises(ValueError, match=r"cannot read .*tokens\.json"):
        store.check(EC, token)  # what is revoked is not known


def test_tokens_have_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modules.common.pki.token_store._MOST", 3)
    store = TokenStore(tmp_path, Clock())
    for _ in range(3):
        store.create(60)
    with pytest.raises(ValueError, match="3 are good already"):
        store.create(60)


def _create(directory: str) -> None:
    for _ in range(10):
        TokenStore(Path(directory), Clock()).create(60)


def test_processes_lose_no_token_of_each_other(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_create, args=(str(tmp_path),)) for _ in range(3)]
    for each in processes:
        each.start()
    for each in processes:
        each.join(50)
    assert len(TokenStore(tmp_path, Clock()).tokens()) == 30
