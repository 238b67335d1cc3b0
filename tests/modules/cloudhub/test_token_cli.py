"""`cloudcore token`: what it prints, and what it does not."""

from __future__ import annotations

import errno
import json
import os
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from modules.cloudhub.joining.cli import token as command
from modules.common.pki import host_names
from modules.common.pki.authority import load_authority, new_authority
from modules.common.pki.certificates import Pki
from modules.common.pki.token_store import TokenStore
from modules.common.pki.tokens import Claims, InvalidToken, make_token
from supervisor.cli.options import Globals
from tests.support.pki import copy_pki
from tests.support.running import Running


@pytest.fixture
def data(tmp_path: Path, pki: Pki) -> Path:
    copy_pki(pki, tmp_path)
    return tmp_path


def cli(data: Path, *arguments: str, sets: tuple[str, ...] = ()) -> Result:
    options = Globals()
    options.sets.extend(sets)
    return CliRunner().invoke(command, [*arguments, "--data-dir", str(data)], obj=options)


def accepted(data: Path, token: str) -> bool:
    authority = load_authority(Pki(data / "pki").authority)
    try:
        TokenStore(data).check(authority, token.strip().partition(".")[2])
    except InvalidToken:
        return False
    return True


def test_a_token_is_printed_alone_on_a_line(data: Path) -> None:
    result = cli(data, "create")
    assert result.exit_code == 0, result.output
    assert result.stdout.count("\n") == 1
    assert result.stdout.strip().count(".") == 3
    assert accepted(data, result.stdout)
    (token,) = TokenStore(data).tokens()
    assert abs(token.expires - time.time() - 86400) < 60


@pytest.mark.parametrize(("ttl", "seconds"), [("90s", 90), ("1d12h", 129_600), ("30m", 1800)])
def test_how_long_it_is_good(data: Path, ttl: str, seconds: int) -> None:
    assert cli(data, "create", "--ttl", ttl).exit_code == 0
    (token,) = TokenStore(data).tokens()
    assert token.expires - token.created == seconds


@pytest.mark.parametrize("ttl", ["0s", "10", "x", "-1h", "99999d", "1h 1m", ""])
def test_what_is_no_duration(data: Path, ttl: str) -> None:
    result = cli(data, "create", "--ttl", ttl)
    assert result.exit_code == 2
    assert "such as 24h" in result.output


def test_the_command_for_the_edge(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modules.cloudhub.joining.join_line.own_addresses", lambda: ["192.0.2.7"])
    printed = cli(data, "create", "--print-join-command").stdout.split()
    assert printed[:4] == [
        "keadm",
        "join",
        "--cloudcore-ipport=192.0.2.7:10000",
        "--kubeedge-version=1.23.1",
    ]
    assert printed[4].startswith("--token=")
    assert accepted(data, printed[4].removeprefix("--token="))
    sets = (
        'modules.cloudhub.names=["cloud.example"]',
        "modules.cloudhub.https_port=30002",
        "modules.cloudhub.port=30000",
    )
    arguments = ("create", "--print-join-command", "--kubeedge-version", "1.20.0")
    printed = cli(data, *arguments, sets=sets).stdout.split()
    assert printed[2:5] == [
        "--cloudcore-ipport=cloud.example:30000",
        "--certport=30002",
        "--kubeedge-version=1.20.0",
    ]


@pytest.mark.parametrize(
    ("sets", "reason"),
    [
        ("modules.cloudhub.https=false", "edges cannot join"),
        ("modules.cloudhub.https_port=0", "see `cloudcore status`"),
    ],
)
def test_no_command_where_none_would_work(data: Path, sets: str, reason: str) -> None:
    result = cli(data, "create", "--print-join-command", sets=(sets,))
    assert (result.exit_code, reason in result.output) == (1, True)
    assert not TokenStore(data).tokens()


def test_the_list_has_no_token(data: Path) -> None:
    assert "there are no tokens" in cli(data, "list").stderr
    text = cli(data, "create").stdout.strip()
    store = TokenStore(data)
    store.create(60, default=True)
    cli(data, "revoke", store.tokens()[0].id)
    listed = cli(data, "list")
    assert [line.split()[-1] for line in listed.stdout.splitlines()] == [
        "STATE",
        "revoked",
        "default",
    ]
    documents = json.loads(cli(data, "list", "-o", "json").stdout)
    assert [each["state"] for each in documents] == ["revoked", "default"]
    for part in text.split("."):
        assert part not in listed.stdout + str(documents)


def test_a_token_is_revoked_by_its_id_or_itself(data: Path) -> None:
    first, second = (cli(data, "create").stdout.strip() for _ in range(2))
    result = cli(data, "revoke", TokenStore(data).tokens()[0].id)
    assert result.exit_code == 0
    assert (accepted(data, first), accepted(data, second)) == (False, True)
    result = cli(data, "revoke", second)
    assert result.exit_code == 0
    assert second.split(".")[3] not in result.output
    assert not accepted(data, second)


def test_what_cannot_be_revoked_is_said(data: Path) -> None:
    authority = load_authority(Pki(data / "pki").authority)
    gos = make_token(authority, Claims(int(time.time()) + 60, ""))
    strangers = make_token(new_authority(), Claims(int(time.time()) + 60, "x"))
    for name, reason in (
        ("0123456789", "no token has the id 0123456789"),
        (gos, "this token has no id"),
        (strangers, "lets nobody join"),
    ):
        result = cli(data, "revoke", name)
        assert (result.exit_code, reason in result.output) == (1, True), result.output


def test_without_a_ca_none_is_made(tmp_path: Path) -> None:
    result = cli(tmp_path, "create")
    assert (result.exit_code, "there is no CA yet" in result.output) == (1, True)
    assert not (tmp_path / "pki").exists()


@pytest.mark.parametrize("damage", ["empty", "cut off", "with a password"])
@pytest.mark.parametrize("name", ["ca.crt", "ca.key"])
def test_a_damaged_ca_is_said(data: Path, name: str, damage: str) -> None:
    path = data / "pki" / name
    content = path.read_bytes()
    locked = load_pem_private_key((data / "pki" / "ca.key").read_bytes(), None).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
    )
    path.write_bytes({"empty": b"", "cut off": content[:99], "with a password": locked}[damage])
    result = cli(data, "create")
    assert (result.exit_code, f"cannot read {path}: it is no " in result.output) == (1, True)


@pytest.mark.parametrize(
    "content", ["", "[5]", '[{"id": "a", "created": 1, "expires": 100000000000000000}]']
)
def test_damaged_tokens_are_said(data: Path, content: str) -> None:
    path = data / "tokens.json"
    path.write_text(content)
    for words in (["create"], ["list"], ["revoke", "a"]):
        result = cli(data, *words)
        assert (result.exit_code, f"cannot read {path}: " in result.output) == (1, True)


def test_a_full_disk_is_said(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    result = cli(data, "create")
    text = f"Error: cannot use {data / 'tokens.json'}: No space left on device\n"
    assert (result.exit_code, result.output) == (1, text)


def test_a_ca_of_the_configuration_needs_its_key(data: Path) -> None:
    pki = Pki(data / "pki")
    sets = (
        f'modules.cloudhub.ca="{pki.ca_cert}"',
        f'modules.cloudhub.cert="{pki.server_cert}"',
        f'modules.cloudhub.key="{pki.server_key}"',
    )
    result = cli(data, "create", sets=sets)
    assert (result.exit_code, "set modules.cloudhub.ca_key" in result.output) == (1, True)
    result = cli(data, "create", sets=(*sets, f'modules.cloudhub.ca_key="{pki.ca_key}"'))
    assert accepted(data, result.stdout)


def test_this_host_is_named_by_an_address() -> None:
    assert all(each[0].isdigit() or ":" in each for each in host_names.own_addresses())


def test_the_command_for_the_edge_is_that_of_the_running_cloudcore(tmp_path: Path) -> None:
    """Without --config and --set; those that are given count more."""
    (tmp_path / "cloudcore.toml").write_text(
        'modules.enabled = ["cloudhub"]\nmodules.cloudhub.names = ["cloud.example"]\n'
        'modules.cloudhub.address = "127.0.0.1"\nmodules.cloudhub.port = 0'
    )
    with Running(tmp_path, "cloudhub") as running:
        running.ready("cloudhub")
        configured = running.cli("token", "create", "--print-join-command")
        assert "see `cloudcore status`" in configured.stderr  # port 0, as the file says
        names = 'modules.cloudhub.names=["other.example"]'
        given = running.cli("token", "create", "--set", names, "--print-join-command")
    assert "--cloudcore-ipport=other.example:10000" in given.stdout
