"""CertificateSigningRequests: created, approved, signed, and what is refused."""

from __future__ import annotations

import base64
import json
from datetime import datetime, timedelta
from ipaddress import ip_address
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import NameOID

from modules.apiserver.registry.certificate_signer import CLIENT, SERVING
from modules.apiserver.registry.request_expiry import DECIDED_SECONDS, PENDING_SECONDS, remove_old
from modules.common.pki.signing import issued_by
from tests.modules.apiserver.api import Api
from tests.support.kubectl import Kubectl
from tests.support.waiting import until

PATH = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
KEY = ec.generate_private_key(ec.SECP256R1())
SERVER = ["digital signature", "key encipherment", "server auth"]
ADDRESSES = (x509.IPAddress(ip_address("127.0.0.1")), x509.DNSName("edge-1"))


def pem(
    name: str = "system:node:edge-1",
    organization: str = "system:nodes",
    names: tuple[Any, ...] = ADDRESSES,
    key: Any = KEY,
) -> str:
    attributes = [
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization),
        x509.NameAttribute(NameOID.COMMON_NAME, name),
    ]
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(attributes))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    signed = builder.sign(key, algorithm).public_bytes(serialization.Encoding.PEM)
    return base64.b64encode(signed).decode()


def request(**spec: Any) -> dict[str, Any]:
    return {
        "kind": "CertificateSigningRequest",
        "apiVersion": "certificates.k8s.io/v1",
        "metadata": {"name": "csr"},
        "spec": {"request": pem(), "signerName": SERVING, "usages": SERVER, **spec},
    }


def condition(type_: str, **fields: Any) -> dict[str, Any]:
    return {"type": type_, "status": "True", "reason": "R", "message": "m", **fields}


async def approve(api: Api, obj: dict[str, Any]) -> Any:
    obj["status"] = {"conditions": [condition("Approved")]}
    return await api.call("PUT", f"{PATH}/csr/approval", obj)


async def concluded(api: Api) -> Any:
    """Return the request when it is signed or has failed."""
    entries = api.server.store.collection("certificatesigningrequests.certificates.k8s.io").entries

    def status() -> Any:
        return entries["", "csr"].decode().get("status", {})

    await until(lambda: "certificate" in status() or len(status()["conditions"]) > 1)
    return await api.call("GET", f"{PATH}/csr")


async def test_approved_requests_of_edges_are_signed(api: Api) -> None:
    created = await api.call("POST", PATH, request(expirationSeconds=3600), expect=201)
    assert created["spec"]["username"] == "kubernetes-admin"
    assert created["spec"]["groups"] == ["system:masters", "system:authenticated"]
    assert "status" not in created
    approved = await approve(api, created)
    (decision,) = approved["status"]["conditions"]
    assert decision["lastUpdateTime"] == decision["lastTransitionTime"]
    signed = await concluded(api)
    certificate = x509.load_pem_x509_certificate(base64.b64decode(signed["status"]["certificate"]))
    authority = x509.load_pem_x509_certificate(api.server.pki.ca_cert.read_bytes())
    assert issued_by(certificate, authority)
    assert certificate.subject.rfc4514_string() == "CN=system:node:edge-1,O=system:nodes"
    assert certificate.public_key() == KEY.public_key()
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert list(names) == list(ADDRESSES)
    (usage,) = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert usage == x509.ExtendedKeyUsageOID.SERVER_AUTH
    life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    assert timedelta(hours=1) <= life <= timedelta(hours=3)


async def test_kubectl_approves_and_denies(kubectl: Kubectl, api: Api) -> None:
    client = request(
        signerName=CLIENT, request=pem(names=()), usages=["digital signature", "client auth"]
    )
    await api.call("POST", PATH, client, expect=201)
    header, row = (await kubectl("get", "csr")).splitlines()
    assert header.split() == [
        "NAME", "AGE", "SIGNERNAME", "REQUESTOR", "REQUESTEDDURATION", "CONDITION",
    ]  # fmt: skip
    assert row.split()[2:] == [CLIENT, "kubernetes-admin", "<none>", "Pending"]
    assert "approved" in await kubectl("certificate", "approve", "csr")
    await concluded(api)
    assert "Approved,Issued" in await kubectl("get", "csr", "csr")
    assert "Requesting User:    kubernetes-admin" in await kubectl("describe", "csr", "csr")
    await kubectl("delete", "csr", "csr")
    await api.call("POST", PATH, client, expect=201)
    assert "denied" in await kubectl("certificate", "deny", "csr")
    assert "Denied" in await kubectl("get", "csr", "csr")
    assert (
        "certificate" not in json.loads(await kubectl("get", "csr", "csr", "-o", "json"))["status"]
    )


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({"request": pem(organization="people")}, "organization is not system:nodes"),
        ({"request": pem("somebody")}, "common name does not begin with system:node:"),
        ({"request": pem(names=())}, "DNS or IP subjectAltName is required"),
        ({"request": pem(names=(x509.RFC822Name("a@b.c"),))}, "only DNS and IP"),
        ({"usages": ["client auth", "digital signature"]}, "usages did not match"),
        ({"signerName": CLIENT}, "subjectAltNames are not allowed"),
        ({"request": pem(key=ed25519.Ed25519PrivateKey.generate())}, "neither an ECDSA nor"),
    ],
)
async def test_what_no_kubelet_may_have_fails(api: Api, spec: Any, why: str) -> None:
    await approve(api, await api.call("POST", PATH, request(**spec), expect=201))
    status = (await concluded(api))["status"]
    assert "certificate" not in status
    assert [item["type"] for item in status["conditions"]] == ["Approved", "Failed"]
    assert status["conditions"][1]["reason"] == "SignerValidationFailure"
    assert why in status["conditions"][1]["message"]


async def test_other_signers_are_left_to_others(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    obj = request(signerName="example.com/mine")
    created = await api.call("POST", PATH, obj, expect=201)
    approved = await approve(api, created)
    await until(lambda: "approved, but this server signs for" in caplog.text)
    assert (await api.call("GET", f"{PATH}/csr")) == approved
    certificate = base64.b64encode(api.server.pki.ca_cert.read_bytes()).decode()
    approved["status"] = {"certificate": certificate}
    await api.call("PUT", f"{PATH}/csr/status", approved)
    status = (await api.call("GET", f"{PATH}/csr"))["status"]
    assert status["certificate"] == certificate
    assert [item["type"] for item in status["conditions"]] == ["Approved"]
    other = {"status": {"certificate": certificate[:-4]}}
    await api.patch(f"{PATH}/csr/status", other, expect=422)


@pytest.mark.parametrize(
    ("spec", "code", "text"),
    [
        ({"request": "!"}, 422, "spec.request: Invalid value"),
        ({"request": base64.b64encode(b"x").decode()}, 422, "type must be CERTIFICATE REQUEST"),
        ({"request": pem()[:-400] + "AAAA"}, 422, "spec.request"),
        ({"usages": []}, 422, "spec.usages: Required value"),
        ({"usages": ["sleep"]}, 422, 'spec.usages[0]: Unsupported value: "sleep"'),
        ({"usages": ["any", "any"]}, 422, 'spec.usages[1]: Duplicate value: "any"'),
        ({"signerName": ""}, 422, "spec.signerName: Required value"),
        ({"signerName": "mine"}, 422, "fully qualified domain and path"),
        ({"signerName": "kubernetes.io/legacy-unknown"}, 422, "legacy signerName is not allowed"),
        ({"signerName": "nodots/a"}, 422, "at least two segments"),
        ({"expirationSeconds": 599}, 422, "less than 600 seconds"),
        ({"expirationSeconds": "x"}, 422, "must be an integer"),
        (
            {
                "signerName": "kubernetes.io/kube-apiserver-client",
                "request": pem(organization="system:masters"),
            },
            403, "with system:masters group is not allowed",
        ),
    ],
)  # fmt: skip
async def test_what_cannot_be_requested(api: Api, spec: Any, code: int, text: str) -> None:
    status = await api.call("POST", PATH, request(**spec), expect=code)
    assert text in status["message"]


async def test_what_was_requested_and_decided_stays(api: Api) -> None:
    created = await api.call("POST", PATH, request(), expect=201)
    changed = await api.patch(
        f"{PATH}/csr", {"spec": {"usages": ["any"]}, "metadata": {"labels": {"a": "b"}}}
    )
    assert changed["spec"] == created["spec"]
    assert changed["metadata"]["labels"] == {"a": "b"}
    path = f"{PATH}/csr/status"
    sneaked = {"status": {"conditions": [condition("Approved")]}}
    status = await api.patch(path, sneaked, expect=422)
    assert 'updates may not add a condition of type "Approved"' in status["message"]
    for wrong, text in (
        ([condition("Approved"), condition("Denied")], "mutually exclusive"),
        ([condition("Approved", status="False")], "Unsupported value"),
        ([condition("")], "type: Required value"),
    ):
        body = {"status": {"conditions": wrong}}
        status = await api.patch(f"{PATH}/csr/approval", body, expect=422)
        assert text in status["message"]
    await api.patch(f"{PATH}/csr/approval", {"status": {"conditions": [condition("Denied")]}})
    status = await api.patch(f"{PATH}/csr/approval", {"status": {"conditions": []}}, expect=422)
    assert 'may not remove a condition of type "Denied"' in status["message"]


async def test_old_requests_are_removed(api: Api) -> None:
    created = await api.call("POST", PATH, request(), expect=201)
    now = datetime.fromisoformat(created["metadata"]["creationTimestamp"]).timestamp()
    registry = api.server.registry
    assert await remove_old(registry, now + PENDING_SECONDS - 60) == 0
    assert await remove_old(registry, now + PENDING_SECONDS + 60) == 1
    await approve(api, await api.call("POST", PATH, request(), expect=201))
    await concluded(api)
    assert await remove_old(registry, now + DECIDED_SECONDS - 60) == 0
    assert await remove_old(registry, now + DECIDED_SECONDS + 60) == 1
    await api.call("POST", PATH, request(), expect=201)
