"""The Secrets of Go's cloudcore, and the default token, against the embedded API server."""

from __future__ import annotations

import base64
import hashlib
import shutil
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_private_key

from modules.cloudhub.config import CloudHubConfig
from modules.cloudhub.endpoint.tls import TlsFiles, tls_files
from modules.cloudhub.joining import adoption, upkeep
from modules.cloudhub.joining.adoption import ensure_cluster_authority
from modules.cloudhub.joining.joining import Nodes
from modules.cloudhub.joining.upkeep import Upkeep
from modules.common.kube import NAMESPACES, SECRETS, KubeClient
from modules.common.kube.transport import Request, Transport
from modules.common.kubeedge_secrets import NAMESPACE, authority_data, create_secret
from modules.common.pki import signing
from modules.common.pki.authority import fingerprint, load_authority, new_authority
from modules.common.pki.certificates import Pki, ensure_pki
from modules.common.pki.token_store import TokenStore
from modules.common.pki.tokens import verify_token
from supervisor.api import CannotStart, KubernetesSettings, Settings, TemporaryFailure
from tests.modules.test_rbac import Right, granted, right_of
from tests.support.apiserver import embedded_apiserver
from tests.support.pki import copy_pki
from tests.support.waiting import eventually

HOURS = 12


class Context:
    """What is used of a module's context."""

    def __init__(self) -> None:
        self.reported: list[Any] = []

    def report(self, **details: Any) -> None:
        self.reported.append(details["waiting_for"])


@pytest.fixture
async def settings(tmp_path: Path, pki: Pki) -> AsyncIterator[Settings]:
    async with embedded_apiserver(tmp_path, pki) as (kubeconfig, _):
        kubernetes = KubernetesSettings(kubeconfig=str(kubeconfig), qps=0)
        (tmp_path / "data").mkdir()
        yield Settings(tmp_path / "data", tmp_path, kubernetes)


@pytest.fixture
async def api(settings: Settings) -> AsyncIterator[KubeClient]:
    async with KubeClient.connect(settings) as client:
        yield client


@pytest.fixture
def own(settings: Settings, pki: Pki) -> Pki:
    copy_pki(pki, settings.data_dir)
    return Pki(settings.data_dir / "pki")


def keeping(api: KubeClient, own: Pki) -> Upkeep:
    tokens = TokenStore(own.directory.parent)
    return Upkeep(api, own.authority, TlsFiles.of(own), tokens, refresh_hours=HOURS)


async def data_of(api: KubeClient, name: str) -> dict[str, bytes]:
    found = await api.get(SECRETS, name, NAMESPACE)
    assert found["type"] == "Opaque"
    return {key: base64.b64decode(value) for key, value in found["data"].items()}


async def test_the_secrets_are_as_gos_cloudcore_has_them(api: KubeClient, own: Pki) -> None:
    await keeping(api, own).look()
    ca = await data_of(api, "casecret")
    assert ca.keys() == {"cadata", "cakeydata"}
    authority = load_authority(own.authority)
    assert x509.load_der_x509_certificate(ca["cadata"]) == authority.certificate
    # SEC 1, as x509.ParseECPrivateKey takes it: SEQUENCE { INTEGER 1, OCTET STRING (32) ...
    assert ca["cakeydata"][2:7] == bytes((0x02, 0x01, 0x01, 0x04, 0x20))
    server = await data_of(api, "cloudcoresecret")
    assert server.keys() == {"cloudcoredata", "cloudcorekeydata"}
    key = load_der_private_key(server["cloudcorekeydata"], None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    certificate = x509.load_der_x509_certificate(server["cloudcoredata"])
    assert certificate.public_key() == key.public_key()
    token = (await data_of(api, "tokensecret"))["tokendata"].decode()
    digest, _, web_token = token.partition(".")
    assert digest == hashlib.sha256(ca["cadata"]).hexdigest()
    left = verify_token(authority, web_token, time.time()).exp - time.time()
    assert 2 * HOURS * 3600 - 60 < left <= 2 * HOURS * 3600


async def test_the_namespace_is_made_if_it_is_missing(api: KubeClient, own: Pki) -> None:
    await api.delete(NAMESPACES, NAMESPACE)
    await eventually(lambda: api.get(NAMESPACES, NAMESPACE), lambda found: found is None)
    await keeping(api, own).look()
    assert await data_of(api, "casecret")


async def test_the_rights_of_deploy_are_those_that_are_used(
    api: KubeClient, own: Pki, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: set[Right] = set()
    send = Transport.send

    async def noting(transport: Transport, request: Request) -> Any:
        asked.add(right_of(request))
        return await send(transport, request)

    monkeypatch.setattr(Transport, "send", noting)
    kept = keeping(api, own)
    await kept.look()
    TokenStore(own.directory.parent).create(3 * HOURS * 3600, default=True)
    await kept.look()
    assert asked == granted("cloudcore.yaml", "cloudcore-joining", "Role")
    assert not await Nodes(api).exists("edge-1")
    assert asked - granted("cloudcore.yaml", "cloudcore-joining", "Role") <= granted(
        "cloudcore.yaml", "cloudcore"
    )


async def test_nothing_is_written_while_nothing_changes(api: KubeClient, own: Pki) -> None:
    kept = keeping(api, own)
    await kept.look()
    version = (await api.get(SECRETS, "tokensecret", NAMESPACE))["metadata"]["resourceVersion"]
    requests = sum(api.statistics.requests.values())
    await kept.look()
    assert sum(api.statistics.requests.values()) == requests
    again = await api.get(SECRETS, "tokensecret", NAMESPACE)
    assert again["metadata"]["resourceVersion"] == version


async def test_the_default_token_is_replaced_at_half_of_its_time(
    api: KubeClient, own: Pki, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = keeping(api, own)
    await kept.look()
    first = (await data_of(api, "tokensecret"))["tokendata"]
    now = time.time()
    monkeypatch.setattr(upkeep.time, "time", lambda: now + HOURS * 3600 + 60)
    await kept.look()
    second = (await data_of(api, "tokensecret"))["tokendata"]
    assert second != first
    store = TokenStore(own.directory.parent)
    assert [each.default for each in store.tokens()] == [False, True]
    for token in (first, second):  # the earlier one is good until it expires
        store.check(load_authority(own.authority), token.decode().partition(".")[2])


async def test_a_revoked_default_token_is_replaced(api: KubeClient, own: Pki) -> None:
    kept = keeping(api, own)
    await kept.look()
    first = (await data_of(api, "tokensecret"))["tokendata"]
    store = TokenStore(own.directory.parent)
    token = store.default()
    assert token
    store.revoke(token.id)
    await kept.look()
    assert (await data_of(api, "tokensecret"))["tokendata"] != first


async def test_a_renewal_that_failed_is_tried_again(
    api: KubeClient, own: Pki, caplog: pytest.LogCaptureFixture
) -> None:
    kept = keeping(api, own)
    tokens = own.directory.parent / "tokens.json"
    tokens.write_text("nonsense")
    await kept.look()
    await kept.look()
    assert len([each for each in caplog.records if "cannot keep" in each.message]) == 1
    tokens.unlink()
    await kept.look()
    assert (await data_of(api, "tokensecret"))["tokendata"]


async def test_a_deleted_secret_is_written_again(
    api: KubeClient, own: Pki, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = keeping(api, own)
    await kept.look()
    before = await data_of(api, "tokensecret")
    await api.delete(SECRETS, "tokensecret", NAMESPACE)
    kept._read_again = 0.0
    await kept.look()
    assert await data_of(api, "tokensecret") == before


async def test_another_ca_in_the_cluster_is_never_replaced(
    api: KubeClient, own: Pki, caplog: pytest.LogCaptureFixture
) -> None:
    theirs = authority_data(new_authority())
    await create_secret(api, "casecret", theirs)
    kept = keeping(api, own)
    await kept.look()
    await kept.look()
    assert await data_of(api, "casecret") == theirs
    assert len([each for each in caplog.records if "it has another CA" in each.message]) == 1
    assert await data_of(api, "tokensecret")  # the others are written


async def test_while_the_api_is_away_nothing_fails(own: Pki, settings: Settings) -> None:
    nowhere = KubernetesSettings(master="http://127.0.0.1:1")
    async with KubeClient.connect(Settings(settings.data_dir, settings.run_dir, nowhere)) as api:
        await keeping(api, own).look()
    assert TokenStore(settings.data_dir).default()


# The first start in a cluster


async def test_the_ca_of_the_cluster_is_used(api: KubeClient, settings: Settings) -> None:
    theirs = new_authority()
    await create_secret(api, "casecret", authority_data(theirs))
    context = Context()
    await ensure_cluster_authority(CloudHubConfig(), settings, context)  # type: ignore[arg-type]
    files = tls_files(CloudHubConfig(), settings)
    authority = load_authority(Pki(settings.data_dir / "pki").authority)
    assert authority.certificate == theirs.certificate
    for cert, _ in files.pairs:
        made = x509.load_pem_x509_certificate(cert.read_bytes())
        made.verify_directly_issued_by(theirs.certificate)
    assert context.reported == ["the Kubernetes API, for the CA", None]


async def test_a_cluster_without_one_gets_ours(api: KubeClient, settings: Settings) -> None:
    await ensure_cluster_authority(CloudHubConfig(), settings, Context())  # type: ignore[arg-type]
    authority = load_authority(Pki(settings.data_dir / "pki").authority)
    found = x509.load_der_x509_certificate((await data_of(api, "casecret"))["cadata"])
    assert fingerprint(found) == fingerprint(authority.certificate)
    # A second cloudcore with a data directory of its own uses the same.
    other = settings.data_dir.with_name("other")
    second = Settings(other, settings.run_dir, settings.kubernetes)
    await ensure_cluster_authority(CloudHubConfig(), second, Context())  # type: ignore[arg-type]
    assert (other / "pki" / "ca.crt").read_bytes() == (
        settings.data_dir / "pki" / "ca.crt"
    ).read_bytes()


async def test_files_of_the_data_directory_come_first(
    api: KubeClient, settings: Settings, own: Pki
) -> None:
    before = own.ca_cert.read_bytes()
    await create_secret(api, "casecret", authority_data(new_authority()))
    await ensure_cluster_authority(CloudHubConfig(), settings, Context())  # type: ignore[arg-type]
    assert own.ca_cert.read_bytes() == before


async def test_a_lost_ca_is_an_error_and_not_replaced_by_the_clusters(
    api: KubeClient, settings: Settings, own: Pki
) -> None:
    await create_secret(api, "casecret", authority_data(new_authority()))
    ensure_pki(own.directory, [])  # records the fingerprint
    own.ca_cert.unlink()
    await ensure_cluster_authority(CloudHubConfig(), settings, Context())  # type: ignore[arg-type]
    with pytest.raises(CannotStart, match=r"ca\.crt is missing"):
        tls_files(CloudHubConfig(), settings)


async def test_without_the_api_no_second_ca_is_made(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adoption, "_WAIT", 0.5)
    monkeypatch.setattr(adoption, "_PAUSE", 0.1)
    nowhere = KubernetesSettings(master="http://127.0.0.1:1")
    away = Settings(settings.data_dir, settings.run_dir, nowhere)
    with pytest.raises(TemporaryFailure, match="whether it has a CA"):
        await ensure_cluster_authority(CloudHubConfig(), away, Context())  # type: ignore[arg-type]
    assert not (settings.data_dir / "pki").exists()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ({"cakeydata": b"y"}, "has no key 'cadata'"),
        ({"cadata": b"x", "cakeydata": b"y"}, "cannot read the CA"),
        (
            authority_data(new_authority()) | {"cakeydata": signing.key_der(new_authority().key)},
            "not that of its certificate",
        ),
    ],
)
async def test_a_secret_that_is_no_ca_is_said(
    api: KubeClient, settings: Settings, data: dict[str, bytes], reason: str
) -> None:
    await create_secret(api, "casecret", data)
    with pytest.raises(CannotStart, match=reason):
        await ensure_cluster_authority(CloudHubConfig(), settings, Context())  # type: ignore[arg-type]


async def test_a_damaged_fingerprint_is_an_error(settings: Settings) -> None:
    (settings.data_dir / "pki.fingerprint").write_text("nonsense")
    with pytest.raises(CannotStart, match=r"pki\.fingerprint is damaged"):
        await ensure_cluster_authority(CloudHubConfig(), settings, Context())  # type: ignore[arg-type]


async def test_the_embedded_api_is_not_waited_for(tmp_path: Path) -> None:
    alone = Settings(tmp_path / "alone", tmp_path)
    context = Context()
    await ensure_cluster_authority(CloudHubConfig(), alone, context)  # type: ignore[arg-type]
    assert context.reported == []
    shutil.rmtree(tmp_path / "alone", ignore_errors=True)
