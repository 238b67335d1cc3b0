"""Certificates that edges request for themselves: passed on, and serving ones are approved."""

from __future__ import annotations

import base64
from copy import deepcopy
from ipaddress import ip_address
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from modules.common.kube import (
    CERTIFICATESIGNINGREQUESTS,
    AlreadyExists,
    Conflict,
    KubeClient,
    NotFound,
    Resource,
)
from modules.common.log_limit import LINES
from modules.edgecontroller.upstream.certificate_rules import CLIENT, SERVING
from tests.support.waiting import eventually

from .cloud import Cloud
from .objects import NODE, Json
from .today import OTHER, fields, reason, responds

NAME = f"metaserver-csr-{NODE}"
RESOURCE = f"default/certificatesigningrequest/{NAME}"
KEY = ec.generate_private_key(ec.SECP256R1())
SERVER = ["digital signature", "key encipherment", "server auth"]


def pem(
    name: str = f"system:node:{NODE}",
    organization: str = "system:nodes",
    addresses: tuple[str, ...] = ("127.0.0.1", "169.254.30.10"),
    names: tuple[Any, ...] = (),
) -> bytes:
    attributes = [
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization),
        x509.NameAttribute(NameOID.COMMON_NAME, name),
    ]
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(attributes))
    alternative = [*(x509.IPAddress(ip_address(each)) for each in addresses), *names]
    if alternative:
        builder = builder.add_extension(x509.SubjectAlternativeName(alternative), critical=False)
    return builder.sign(KEY, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def request(
    data: bytes | None = None, *, signer: str = SERVING, usages: list[str] | None = None
) -> Json:
    return {
        "kind": "CertificateSigningRequest",
        "metadata": {"name": NAME, "creationTimestamp": None},
        "spec": {
            "request": base64.b64encode(pem() if data is None else data).decode(),
            "signerName": signer,
            "usages": SERVER if usages is None else usages,
            "username": "system:masters",
        },
        "status": {},
    }


class Signer:
    """The API server's certificate requests."""

    def __init__(self) -> None:
        self.requests: dict[str, Json] = {}
        self.approvals: list[str] = []
        self.conflicts = 0

    def create(self, obj: Json) -> Json:
        name = obj["metadata"]["name"]
        if name in self.requests:
            raise AlreadyExists(409, "AlreadyExists", name)
        metadata = {**obj["metadata"], "uid": "u", "resourceVersion": "1"}
        spec = {**obj["spec"], "username": "cloudcore", "groups": ["a"], "extra": {"id": ["b"]}}
        self.requests[name] = {"metadata": metadata, "spec": spec, "status": {}}
        return deepcopy(self.requests[name])

    def get(self, name: str) -> Json:
        if name not in self.requests:
            raise NotFound(404, "NotFound", name)
        return deepcopy(self.requests[name])

    def approve(self, obj: Json) -> Json:
        if self.conflicts:
            self.conflicts -= 1
            raise Conflict(409, "Conflict", "changed")
        name = obj["metadata"]["name"]
        self.requests[name] = obj
        self.approvals.append(name)
        return obj

    def approved(self) -> list[Json]:
        """Return the conditions of the only request."""
        (found,) = self.requests.values()
        conditions: list[Json] = found["status"].get("conditions", [])
        return conditions


@pytest.fixture
def signer(monkeypatch: pytest.MonkeyPatch) -> Signer:
    made = Signer()
    create, get, replace = KubeClient.create, KubeClient.get, KubeClient.replace

    async def new_create(
        client: KubeClient, resource: Resource, obj: Json, *args: Any, **options: Any
    ) -> Json:
        if resource is CERTIFICATESIGNINGREQUESTS:
            return made.create(obj)
        return await create(client, resource, obj, *args, **options)

    async def new_get(client: KubeClient, resource: Resource, name: str, *args: Any) -> Json:
        if resource is CERTIFICATESIGNINGREQUESTS:
            return made.get(name)
        return await get(client, resource, name, *args)

    async def new_replace(
        client: KubeClient, resource: Resource, obj: Json, *args: Any, **options: Any
    ) -> Json:
        if resource is CERTIFICATESIGNINGREQUESTS:
            assert options == {"subresource": "approval"}
            return made.approve(obj)
        return await replace(client, resource, obj, *args, **options)

    monkeypatch.setattr(KubeClient, "create", new_create)
    monkeypatch.setattr(KubeClient, "get", new_get)
    monkeypatch.setattr(KubeClient, "replace", new_replace)
    return made


async def test_a_serving_certificate_is_requested_and_approved(
    today: Cloud, signer: Signer
) -> None:
    sent = request()
    answer = await today.call("insert", RESOURCE, sent)
    assert fields(answer) == responds(RESOURCE)
    assert answer.resource_version == ""
    assert answer.content["Err"] is None
    assert answer.content["Object"]["metadata"]["uid"] == "u"
    spec = signer.requests[NAME]["spec"]
    of_others = {"username": "cloudcore", "groups": ["a"], "extra": {"id": ["b"]}}
    mine = {key: sent["spec"][key] for key in ("request", "signerName", "usages")}
    assert spec == mine | of_others
    (condition,) = signer.approved()
    assert (condition["type"], condition["status"]) == ("Approved", "True")
    assert condition["reason"] == "AutoApproved"
    found = await today.call("query", RESOURCE)
    assert (fields(found), found.resource_version) == (responds(RESOURCE), "1")
    assert found.content == signer.requests[NAME]


async def test_a_serving_certificate_is_signed(today: Cloud) -> None:
    """By the embedded API server, for the key and the addresses of the edge."""
    created = await today.call("insert", RESOURCE, request())
    uid = created.content["Object"]["metadata"]["uid"]
    found = await eventually(
        lambda: today.call("query", RESOURCE),
        lambda answer: bool(answer.content["status"].get("certificate")),
    )
    assert found.content["metadata"]["uid"] == uid
    chain = base64.b64decode(found.content["status"]["certificate"])
    certificate = x509.load_pem_x509_certificates(chain)[0]
    assert certificate.public_key() == KEY.public_key()
    assert certificate.subject == x509.load_pem_x509_csr(pem()).subject


async def test_the_same_request_again_is_approved_if_it_was_not(
    today: Cloud, signer: Signer
) -> None:
    content = request()
    signer.create(content)
    for _ in range(2):
        answer = await today.call("insert", RESOURCE, content)
        assert reason(answer) == (409, "AlreadyExists")
    assert signer.approvals == [NAME]


async def test_another_request_of_that_name_is_not_approved(today: Cloud, signer: Signer) -> None:
    """It may be of somebody who has the name of the node in it, and a key of his own."""
    signer.create(request(pem(addresses=("127.0.0.1",))))
    answer = await today.call("insert", RESOURCE, request())
    assert reason(answer) == (409, "AlreadyExists")
    assert signer.approvals == []


async def test_an_approval_survives_a_conflict(today: Cloud, signer: Signer) -> None:
    signer.conflicts = 2
    answer = await today.call("insert", RESOURCE, request())
    assert answer.content["Err"] is None
    assert signer.approvals == [NAME]


async def test_a_client_certificate_is_requested_and_left_to_the_cluster(
    today: Cloud, signer: Signer
) -> None:
    usages = ["digital signature", "client auth"]
    content = request(pem(addresses=()), signer=CLIENT, usages=usages)
    answer = await today.call("insert", RESOURCE, content)
    assert answer.content["Err"] is None
    assert signer.approvals == []


@pytest.mark.parametrize(
    ("data", "foreign"),
    [
        (pem(addresses=("127.0.0.1", "10.0.0.1")), "10.0.0.1"),
        (pem(names=(x509.DNSName("kubernetes.default.svc"),)), "kubernetes.default.svc"),
    ],
    ids=["address", "name"],
)
async def test_what_may_be_of_others_is_left_to_the_operator(
    today: Cloud, signer: Signer, caplog: pytest.LogCaptureFixture, data: bytes, foreign: str
) -> None:
    answer = await today.call("insert", RESOURCE, request(data))
    assert answer.content["Err"] is None
    assert signer.approvals == []
    (line,) = [text for text in caplog.messages if "not approved" in text]
    assert foreign in line


async def test_requests_that_nobody_approves_do_not_fill_the_log(
    today: Cloud, signer: Signer, caplog: pytest.LogCaptureFixture
) -> None:
    """A node may make as many as it likes."""
    data = request(pem(addresses=("10.0.0.1",)))
    for number in range(LINES + 5):
        answer = await today.call("insert", f"{RESOURCE}-{number}", data)
        assert answer.content["Err"] is None
    assert len([text for text in caplog.messages if "not approved" in text]) == LINES


NOT_ITS_OWN = {
    "another node": request(pem(f"system:node:{OTHER}")),
    "no node": request(pem("admin")),
    "another organization": request(pem(organization="system:masters")),
    "another signer": request(signer="kubernetes.io/kube-apiserver-client"),
    "another usage": request(usages=["digital signature", "client auth"]),
    "more usages": request(usages=[*SERVER, "client auth"]),
    "no usages": request(usages=[]),
    "no address": request(pem(addresses=())),
    "an e-mail address": request(pem(names=(x509.RFC822Name("a@example.com"),))),
    "client with an address": request(signer=CLIENT, usages=["digital signature", "client auth"]),
}


@pytest.mark.parametrize("what", NOT_ITS_OWN)
async def test_a_node_requests_no_other_certificates(
    today: Cloud, signer: Signer, what: str
) -> None:
    answer = await today.call("insert", RESOURCE, NOT_ITS_OWN[what])
    assert reason(answer) == (403, "Forbidden")
    assert signer.requests == {}


def with_another_signature(data: bytes) -> bytes:
    """Return a request with the last byte of its signature changed."""
    der = bytearray(x509.load_pem_x509_csr(data).public_bytes(serialization.Encoding.DER))
    der[-1] ^= 1
    body = base64.encodebytes(bytes(der))
    kind = b"CERTIFICATE REQUEST-----\n"
    return b"-----BEGIN " + kind + body + b"-----END " + kind


@pytest.mark.parametrize("data", [b"", b"x", pem()[:-60], with_another_signature(pem())])
async def test_what_is_no_request_has_an_answer(today: Cloud, signer: Signer, data: bytes) -> None:
    answer = await today.call("insert", RESOURCE, request(data))
    assert reason(answer) == (400, "BadRequest")
    assert signer.requests == {}


async def test_a_node_reads_its_own_requests_alone(today: Cloud, signer: Signer) -> None:
    theirs = request(pem(f"system:node:{OTHER}"))
    signer.requests = {
        "theirs": theirs,
        "broken": {"metadata": {"name": "broken"}, "spec": {"request": "5"}},
    }
    for name in ("theirs", "broken", "none"):
        answer = await today.call("query", f"default/certificatesigningrequest/{name}")
        assert answer.operation == "error"
        assert "is forbidden" in answer.content
