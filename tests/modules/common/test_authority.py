"""The CA: made once, missed when it is gone, and made anew only when somebody says so."""

from __future__ import annotations

import shutil
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography import x509

from modules.cloudhub.config import CloudHubConfig
from modules.cloudhub.endpoint.tls import tls_files
from modules.common.pki import authority
from modules.common.pki.authority import fingerprint, remembered
from modules.common.pki.certificates import Pki, ensure_pki, issue_node
from modules.common.pki.cli import certs as command
from supervisor.api import CannotStart, Settings


def cli(*arguments: str) -> Result:
    return CliRunner().invoke(command, arguments)


def ca_of(pki: Pki) -> str:
    return fingerprint(x509.load_pem_x509_certificate(pki.ca_cert.read_bytes()))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory with a CA."""
    ensure_pki(tmp_path / "data" / "pki", [])
    return tmp_path / "data"


@pytest.fixture
def pki(data: Path) -> Pki:
    return Pki(data / "pki")


def test_the_fingerprint_is_remembered_outside(pki: Pki, data: Path) -> None:
    assert pki.authority.fingerprint == data / "pki.fingerprint"
    assert remembered(data / "pki.fingerprint") == ca_of(pki)
    before = (data / "pki.fingerprint").stat()
    ensure_pki(pki.directory, [])
    assert (data / "pki.fingerprint").stat().st_mtime_ns == before.st_mtime_ns


def test_a_ca_of_an_earlier_version_is_remembered_from_then_on(pki: Pki) -> None:
    pki.authority.fingerprint.unlink()
    ensure_pki(pki.directory, [])
    assert remembered(pki.authority.fingerprint) == ca_of(pki)


def test_a_lost_ca_is_an_error_that_says_what_to_restore(pki: Pki, data: Path) -> None:
    old = ca_of(pki)
    shutil.rmtree(pki.directory)
    for attempt in (
        lambda: ensure_pki(pki.directory, []),
        lambda: issue_node(pki.directory, "edge-1"),
    ):
        with pytest.raises(ValueError, match=rf"ca\.crt is missing.*{old}.*restore .*--new-ca"):
            attempt()
    with pytest.raises(CannotStart, match=r"ca\.crt is missing"):
        tls_files(CloudHubConfig(), Settings(data, data))
    assert not pki.ca_cert.exists()
    assert not pki.ca_key.exists()


@pytest.mark.parametrize("name", ["ca.crt", "ca.key"])
def test_half_of_a_ca_is_an_error_too_and_the_rest_stays(pki: Pki, name: str) -> None:
    (pki.directory / name).unlink()
    rest = {path.name: path.read_bytes() for path in pki.directory.glob("ca.*")}
    with pytest.raises(ValueError, match=rf"{name} is missing.*restore"):
        ensure_pki(pki.directory, [])
    assert {path.name: path.read_bytes() for path in pki.directory.glob("ca.*")} == rest


def test_another_ca_in_its_place_is_an_error(pki: Pki, tmp_path: Path) -> None:
    other = ensure_pki(tmp_path / "other" / "pki", [])
    for name in ("ca.crt", "ca.key"):
        shutil.copy(other.directory / name, pki.directory / name)
    with pytest.raises(ValueError, match=rf"is not the CA that edges trust.*{ca_of(other)}"):
        ensure_pki(pki.directory, [])
    done = cli("init", "--new-ca", "--data-dir", str(tmp_path / "data"))
    assert done.exit_code == 0, done.output
    assert "another CA from now on" in done.output
    ensure_pki(pki.directory, [])


def test_a_new_one_is_made_by_a_command_that_says_what_it_means(pki: Pki, data: Path) -> None:
    old = ca_of(pki)
    shutil.rmtree(pki.directory)
    refused = cli("init", "--data-dir", str(data))
    assert refused.exit_code == 1
    assert "ca.crt is missing" in refused.output
    done = cli("init", "--new-ca", "--data-dir", str(data))
    assert done.exit_code == 0, done.output
    assert ca_of(pki) != old
    assert f"fingerprint {ca_of(pki)}" in done.output
    assert "cloudcore certs issue NODE --out DIR" in done.output
    ensure_pki(pki.directory, [])
    again = cli("init", "--new-ca", "--data-dir", str(data))
    assert "nothing has changed" in again.output


def test_a_kill_while_the_first_ca_is_made_is_no_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each file's writing may be the last that is done."""
    write = authority.replace_file
    for step in (1, 2, 3):
        written: list[Path] = []

        def killed(path: Path, *arguments: object, step: int = step) -> None:
            if len(written) == step:  # noqa: B023
                raise KeyboardInterrupt
            written.append(path)  # noqa: B023
            write(path, *arguments)  # type: ignore[arg-type]

        directory = tmp_path / str(step) / "pki"
        monkeypatch.setattr(authority, "replace_file", killed)
        if step < 3:
            with pytest.raises(KeyboardInterrupt):
                ensure_pki(directory, [])
        monkeypatch.setattr(authority, "replace_file", write)
        ensure_pki(directory, [])


def test_a_damaged_memory_is_named(pki: Pki) -> None:
    pki.authority.fingerprint.write_text("nonsense")
    with pytest.raises(ValueError, match=r"pki\.fingerprint is damaged"):
        ensure_pki(pki.directory, [])


def test_a_directory_that_others_may_write_to_is_refused(pki: Pki, data: Path) -> None:
    assert stat.S_IMODE(data.stat().st_mode) == 0o700
    for directory in (data, pki.directory):
        directory.chmod(0o770)
        with pytest.raises(ValueError, match=rf"{directory}: other users can write to it"):
            ensure_pki(pki.directory, [])
        refused = cli("issue", "edge-1", "--out", str(data / "out"), "--data-dir", str(data))
        assert "other users can write to it" in refused.output
        directory.chmod(0o700)
