"""Tokens of service accounts: what they say, who accepts them, and what they allow."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from hypothesis import given
from hypothesis import strategies as st

from modules.apiserver.authentication.jwt import BadToken, TokenKey, ensure_key
from modules.apiserver.authentication.service_accounts import ISSUER
from modules.apiserver.http.server import Server
from modules.common.pki.signing import new_key
from tests.modules.apiserver.api import Api, tls
from tests.modules.apiserver.samples import pod
from tests.support.kubectl import Kubectl

DEFAULT = "/api/v1/namespaces/default"
TOKEN = f"{DEFAULT}/serviceaccounts/default/token"
REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews"
ACCOUNT = "system:serviceaccount:default:default"
KEY = TokenKey(new_key())


async def request_token(api: Api, path: str = TOKEN, **spec: Any) -> Any:
    body = {"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "spec": spec}
    return await api.call("POST", path, body, expect=201)


def part(token: str, number: int) -> Any:
    text = token.split(".")[number]
    return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))


def forged(token: str, **changes: Any) -> str:
    """Return a token with other claims, and the signature that it had."""
    header, _, signature = token.split(".")
    claims = json.dumps({**part(token, 1), **changes}).encode()
    return f"{header}.{base64.urlsafe_b64encode(claims).rstrip(b'=').decode()}.{signature}"


async def status_of(api: Api, token: str, *audiences: str) -> Any:
    spec = {"token": token, "audiences": list(audiences)}
    return (await api.call("POST", REVIEWS, {"spec": spec}, expect=201))["status"]


@pytest.fixture
async def bearer(server: Server) -> AsyncIterator[Api]:
    """A client without a certificate; its token is set by the test."""
    connector = aiohttp.TCPConnector(ssl=tls(server.pki, certificate=""))
    async with aiohttp.ClientSession(connector=connector) as session:
        yield Api(server, session)


def use(bearer: Api, token: str) -> None:
    bearer.session.headers["Authorization"] = f"Bearer {token}"


async def test_a_token_for_a_pod_of_a_node_as_kubelets_request_it(api: Api) -> None:
    node = await api.create("/api/v1/nodes", metadata={"name": "edge-1"})
    made = await api.call("POST", f"{DEFAULT}/pods", pod("web", node="edge-1"), expect=201)
    account = await api.call("GET", f"{DEFAULT}/serviceaccounts/default")
    reference = {
        "kind": "Pod", "apiVersion": "v1", "name": "web", "uid": made["metadata"]["uid"],
    }  # fmt: skip
    before = int(time.time())
    issued = await request_token(
        api, audiences=None, expirationSeconds=3607, boundObjectRef=reference
    )
    assert issued["kind"] == "TokenRequest"
    assert issued["metadata"]["name"] == "default"
    assert issued["spec"] == {
        "audiences": [ISSUER], "expirationSeconds": 3607, "boundObjectRef": reference,
    }  # fmt: skip
    token = issued["status"]["token"]
    assert part(token, 0)["alg"] == "ES256"
    claims = part(token, 1)
    now = claims["iat"]
    assert before <= now <= time.time()
    assert issued["status"]["expirationTimestamp"] == time.strftime(
        "%Y-%m-%dT%H:%M:%SZ", time.gmtime(now + 3607)
    )
    jti = claims.pop("jti")
    assert claims == {
        "aud": [ISSUER], "exp": now + 3607, "iat": now, "iss": ISSUER, "nbf": now, "sub": ACCOUNT,
        "kubernetes.io": {
            "namespace": "default",
            "node": {"name": "edge-1", "uid": node["metadata"]["uid"]},
            "pod": {"name": "web", "uid": made["metadata"]["uid"]},
            "serviceaccount": {"name": "default", "uid": account["metadata"]["uid"]},
        },
    }  # fmt: skip
    status = await status_of(api, token)
    assert status == {
        "authenticated": True,
        "audiences": [ISSUER],
        "user": {
            "username": ACCOUNT,
            "uid": account["metadata"]["uid"],
            "groups": [
                "system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated",
            ],
            "extra": {
                "authentication.kubernetes.io/credential-id": [f"JTI={jti}"],
                "authentication.kubernetes.io/pod-name": ["web"],
                "authentication.kubernetes.io/pod-uid": [made["metadata"]["uid"]],
                "authentication.kubernetes.io/node-name": ["edge-1"],
                "authentication.kubernetes.io/node-uid": [node["metadata"]["uid"]],
            },
        },
    }  # fmt: skip
    await api.call("DELETE", f"{DEFAULT}/pods/web?gracePeriodSeconds=0")
    status = await status_of(api, token)
    assert status["error"] == "invalid bearer token: service account token has been invalidated"
    assert "authenticated" not in status


async def test_anybody_can_verify_a_token_with_the_published_key(api: Api) -> None:
    async with api.session.get(f"{api.server.url}/.well-known/openid-configuration") as response:
        configuration = await response.json()
    assert configuration["issuer"] == ISSUER
    async with api.session.get(configuration["jwks_uri"]) as response:
        assert response.content_type == "application/jwk-set+json"
        (jwk,) = (await response.json(content_type=None))["keys"]
    token = (await request_token(api))["status"]["token"]
    assert part(token, 0) == {"alg": "ES256", "kid": jwk["kid"]}

    def number(text: str) -> int:
        return int.from_bytes(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))

    key = ec.EllipticCurvePublicNumbers(
        number(jwk["x"]), number(jwk["y"]), ec.SECP256R1()
    ).public_key()
    signed, _, signature = token.rpartition(".")
    raw = base64.urlsafe_b64decode(signature + "==")
    r, s = int.from_bytes(raw[:32]), int.from_bytes(raw[32:])
    key.verify(encode_dss_signature(r, s), signed.encode(), ec.ECDSA(hashes.SHA256()))


@pytest.mark.parametrize(
    ("request_", "code", "text"),
    [
        ({"spec": {"expirationSeconds": 599}}, 422, "less than 10 minutes"),
        ({"spec": {"expirationSeconds": 2**32 + 1}}, 422, "larger than 2^32 seconds"),
        ({"spec": {"expirationSeconds": "3600"}}, 400, "must be an integer"),
        ({"spec": {"audiences": "a"}}, 400, "must be a list"),
        ({"metadata": {"name": "x"}}, 422, "must match the service account name if specified"),
        ({"kind": "Pod"}, 400, "must be a TokenRequest"),
        ({"spec": {"boundObjectRef": {"kind": "Pod", "name": "a"}}}, 404, 'pods "a" not found'),
        ({"spec": {"boundObjectRef": {"kind": "Pod"}}}, 400, "name is required"),
        (
            {"spec": {"boundObjectRef": {"kind": "Service", "apiVersion": "v1", "name": "a"}}},
            400, "cannot bind token to object of type v1, Kind=Service",
        ),
        (
            {"spec": {"boundObjectRef": {"kind": "Pod", "name": "web", "uid": "x"}}},
            409, "the UID in the bound object reference (x) does not match the UID in record",
        ),
        (
            {"spec": {"boundObjectRef": {"kind": "Pod", "name": "other"}}},
            400, 'cannot bind token for serviceaccount "default" to pod running with different',
        ),
        ([], 400, "must be a TokenRequest"),
    ],
)  # fmt: skip
async def test_requests_that_are_refused(api: Api, request_: Any, code: int, text: str) -> None:
    await api.create(f"{DEFAULT}/serviceaccounts", metadata={"name": "bot"})
    await api.call("POST", f"{DEFAULT}/pods", pod("web"), expect=201)
    other = pod("other", serviceAccountName="bot")
    await api.call("POST", f"{DEFAULT}/pods", other, expect=201)
    status = await api.call("POST", TOKEN, request_, expect=code)
    assert text in status["message"]


async def test_a_token_is_good_for_its_audiences(api: Api, bearer: Api) -> None:
    token = (await request_token(api, audiences=["vault", "x"]))["status"]["token"]
    status = await status_of(api, token)
    assert (
        f'token audiences ["vault" "x"] is invalid for the target audiences ["{ISSUER}"]'
        in (status["error"])
    )
    assert (await status_of(api, token, "y", "vault"))["audiences"] == ["vault"]
    use(bearer, token)
    await bearer.call("GET", "/api", expect=401)


async def test_a_service_account_may_ask_about_itself_and_no_more(api: Api, bearer: Api) -> None:
    token = (await request_token(api))["status"]["token"]
    await bearer.call("GET", "/api", expect=401)
    use(bearer, token)
    assert (await bearer.call("GET", "/api/v1"))["kind"] == "APIResourceList"
    await bearer.call("GET", "/openid/v1/jwks")
    reviewed = await bearer.create("/apis/authentication.k8s.io/v1/selfsubjectreviews")
    assert reviewed["status"]["userInfo"]["username"] == ACCOUNT
    asked = {"resourceAttributes": {"verb": "list", "resource": "pods"}}
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    assert not (await bearer.create(path, spec=asked))["status"]["allowed"]
    for method, url, said in (
        ("GET", f"{DEFAULT}/pods", 'cannot list resource "pods" in API group "" in the namespace'),
        ("GET", "/api/v1/nodes/x", 'cannot get resource "nodes" in API group "" at the cluster'),
        ("GET", f"{DEFAULT}/secrets?watch=1", 'cannot watch resource "secrets"'),
        ("POST", TOKEN, 'cannot create resource "serviceaccounts/token"'),
        ("DELETE", "/api/v1/nodes", 'cannot deletecollection resource "nodes"'),
        ("POST", REVIEWS, 'cannot create resource "tokenreviews" in API group "authentication'),
    ):
        status = await bearer.call(method, url, {}, expect=403)
        assert f'User "{ACCOUNT}" {said}' in status["message"]
        assert "no RBAC" in status["message"]


@pytest.mark.parametrize(
    "change",
    [
        lambda token: token[:-3],
        lambda token: token + ".x",
        lambda token: "x",
        lambda token: "",
        lambda token: forged(token, sub="system:serviceaccount:kube-system:default"),
        lambda token: forged(token, exp=2**40),
        lambda token: "eyJhbGciOiJub25lIn0." + token.split(".")[1] + ".",
        lambda token: KEY.sign(part(token, 1)),
    ],
)
async def test_other_tokens_are_refused_and_not_repeated(
    api: Api, bearer: Api, change: Any
) -> None:
    token = change((await request_token(api))["status"]["token"])
    use(bearer, token)
    status = await bearer.call("GET", "/api", expect=401)
    assert status["reason"] == "Unauthorized"
    assert len(token) < 2 or token not in status["message"]
    if token:
        assert "error" in await status_of(api, token)


async def test_a_token_ends(api: Api) -> None:
    tokens = api.server._tokens
    issued = tokens.issue("default", "default", {"spec": {"expirationSeconds": 600}})
    token = issued["status"]["token"]
    now = time.time()
    tokens._clock = lambda: now + 659
    assert tokens.user_of(token)
    tokens._clock = lambda: now + 662
    with pytest.raises(BadToken, match="expired"):
        tokens.user_of(token)
    tokens._clock = lambda: now - 63
    with pytest.raises(BadToken, match="not valid yet"):
        tokens.user_of(token)


async def test_a_token_of_an_account_that_was_made_again_is_refused(api: Api) -> None:
    path = f"{DEFAULT}/serviceaccounts"
    await api.create(path, metadata={"name": "bot"})
    token = (await request_token(api, f"{path}/bot/token"))["status"]["token"]
    assert (await status_of(api, token))["authenticated"]
    await api.call("DELETE", f"{path}/bot")
    assert "invalidated" in (await status_of(api, token))["error"]
    await api.create(path, metadata={"name": "bot"})
    assert "invalidated" in (await status_of(api, token))["error"]


async def test_kubectl_makes_tokens_and_knows_who_it_is(kubectl: Kubectl, api: Api) -> None:
    token = (await kubectl("create", "token", "default", "--duration=10m")).strip()
    assert (await status_of(api, token))["authenticated"]
    assert "kubernetes-admin" in await kubectl("auth", "whoami")
    assert "default" in await kubectl("get", "serviceaccounts")


@given(st.binary(max_size=80) | st.text(max_size=80).map(str.encode))
def test_any_bytes_are_no_token(data: bytes) -> None:
    with pytest.raises(BadToken):
        KEY.read(data.decode("latin-1"))


def test_the_key_is_private_and_made_once(tmp_path: Path) -> None:
    path = tmp_path / "a.key"
    token = ensure_key(path).sign({"a": 1})
    assert path.stat().st_mode & 0o777 == 0o600
    assert ensure_key(path).read(token) == {"a": 1}
    path.write_text("damaged")
    with pytest.raises(ValueError, match="restore it, or remove it"):
        ensure_key(path)
