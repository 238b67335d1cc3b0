"""Rules of CertificateSigningRequests (pkg/apis/certificates, pkg/registry/certificates).

Nobody can change what was requested. The decision is made through the subresource `approval`, and
the certificate is set through `status`.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any, Final

from cryptography import x509

from modules.apiserver.meta import field_types
from modules.apiserver.meta.names import SUBDOMAIN_RULE
from modules.apiserver.meta.objects import Json, dig
from modules.apiserver.meta.status import (
    Cause,
    forbidden,
    forbidden_field,
    invalid,
    invalid_value,
    not_supported,
    required,
)
from modules.apiserver.meta.users import ADMINISTRATORS, User
from modules.common.dns_names import is_subdomain
from modules.common.pki.requests import read_request
from modules.common.times import format_now

APPROVED: Final = "Approved"
DENIED: Final = "Denied"
FAILED: Final = "Failed"
DECISIONS: Final = (APPROVED, DENIED)
USAGES: Final = (
    "any", "cert sign", "client auth", "code signing", "content commitment", "crl sign",
    "data encipherment", "decipher only", "digital signature", "email protection",
    "encipher only", "ipsec end system", "ipsec tunnel", "ipsec user", "key agreement",
    "key encipherment", "microsoft sgc", "netscape sgc", "ocsp signing", "s/mime", "server auth",
    "signing", "timestamping",
)  # fmt: skip
_SHORTEST_SECONDS: Final = 600
_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_SIGNER_FORM: Final = (
    "must be a fully qualified domain and path of the form 'example.com/signer-name'"
)
_CLIENT_SIGNER: Final = "kubernetes.io/kube-apiserver-client"
_PEM_REQUEST: Final = b"-----BEGIN CERTIFICATE REQUEST-----"
_SHAPE: Final = {
    "spec": {
        "request": "string",
        "signerName": "string",
        "expirationSeconds": "integer",
        "usages": field_types.List("string"),
    },
    "status": {
        "certificate": "string",
        "conditions": field_types.List(
            {"type": "string", "status": "string", "reason": "string", "message": "string"}
        ),
    },
}


def requested_by(request: Json, user: User) -> None:
    """Record who requests; raises ApiError (403) for an administrator's certificate."""
    spec = request.get("spec")
    if not isinstance(spec, dict):
        return
    for field in ("username", "uid", "groups", "extra"):
        spec.pop(field, None)
    spec |= user.info()
    if spec.get("signerName") == _CLIENT_SIGNER and _is_for_administrators(spec):
        name = str(request["metadata"].get("name", ""))
        raise forbidden(
            "certificatesigningrequests",
            "certificates.k8s.io",
            name,
            f"use of {_CLIENT_SIGNER} signer with {ADMINISTRATORS} group is not allowed",
        )


def parse(text: Any) -> x509.CertificateSigningRequest:
    """Return the PKCS #10 request of `spec.request`; raises ValueError, which says why not."""
    try:
        pem = base64.b64decode(text or "", validate=True)
    except (binascii.Error, TypeError, ValueError) as error:
        raise ValueError("must be base64") from error
    if _PEM_REQUEST not in pem:
        raise ValueError("PEM block type must be CERTIFICATE REQUEST")
    return read_request(pem)


def validate(request: Json) -> list[Cause]:
    wrong = list(field_types.faults(request, _SHAPE))
    if wrong:
        return wrong
    spec = request.get("spec") or {}
    causes = []
    try:
        parse(spec.get("request"))
    except ValueError as error:
        causes.append(invalid_value("spec.request", spec.get("request"), str(error)))
    causes += _usage_faults(spec.get("usages") or [])
    causes += _signer_faults(spec.get("signerName") or "")
    seconds = spec.get("expirationSeconds")
    if seconds is not None and seconds < _SHORTEST_SECONDS:
        text = "may not specify a duration less than 600 seconds (10 minutes)"
        causes.append(invalid_value("spec.expirationSeconds", seconds, text))
    causes += _condition_faults(_conditions(request))
    return causes + _certificate_faults(dig(request, "status", "certificate"))


def merge(new: Json, old: Json, subresource: str) -> Json:
    """Return what an update stores: nothing may change what was requested.

    The object's own path changes metadata alone, `approval` conditions, and `status` the
    certificate and conditions other than the decision.
    """
    before = old.get("status")
    merged = {**new, "spec": old.get("spec"), "status": {**(before or {})}}
    if subresource:
        conditions = dig(new, "status", "conditions") or []
        if subresource == "status":
            decided = [item for item in _conditions(old) if _type(item) in DECISIONS]
            _check_undecided(old, conditions, decided)
            others = [item for item in conditions if _type(item) not in DECISIONS]
            merged["status"] = dict(new.get("status") or {})
            conditions = [*decided, *others]
        merged["status"]["conditions"] = conditions
        _set_times(conditions, _conditions(old))
        if not conditions:
            del merged["status"]["conditions"]
    if not merged["status"]:
        del merged["status"]
    return merged


def _check_undecided(request: Json, conditions: list[Json], decided: list[Json]) -> None:
    """Raise ApiError (422) if a decision is added that was not made through `approval`."""
    new = {_type(item) for item in conditions} - {_type(item) for item in decided}
    faults = [
        forbidden_field("status.conditions", f'updates may not add a condition of type "{type_}"')
        for type_ in DECISIONS
        if type_ in new
    ]
    if faults:
        name = request["metadata"]["name"]
        raise invalid("CertificateSigningRequest", "certificates.k8s.io", name, faults)


def validate_update(new: Json, old: Json) -> list[Cause]:
    """Refuse to take back a decision, and to change a certificate."""
    before, after = ({_type(item) for item in _conditions(obj)} for obj in (old, new))
    causes = [
        forbidden_field(
            "status.conditions", f'updates may not remove a condition of type "{type_}"'
        )
        for type_ in (APPROVED, DENIED, FAILED)
        if type_ in before - after
    ]
    had = dig(old, "status", "certificate")
    if had and dig(new, "status", "certificate") != had:
        text = "updates may not modify existing certificate content"
        causes.append(forbidden_field("status.certificate", text))
    return causes


def _is_for_administrators(spec: Json) -> bool:
    try:
        csr = parse(spec.get("request"))
    except ValueError:
        return False  # refused by validate
    names = csr.subject.get_attributes_for_oid(x509.NameOID.ORGANIZATION_NAME)
    return any(name.value == ADMINISTRATORS for name in names)


def _usage_faults(usages: list[str]) -> list[Cause]:
    if not usages:
        return [required("spec.usages")]
    causes = []
    for index, usage in enumerate(usages):
        field = f"spec.usages[{index}]"
        if usage not in USAGES:
            causes.append(not_supported(field, usage, list(USAGES)))
        if usage in usages[:index][-len(USAGES) :]:
            causes.append(Cause("FieldValueDuplicate", field, usage, ""))
    return causes


def _signer_faults(name: str) -> list[Cause]:
    field = "spec.signerName"
    if not name:
        return [required(field)]
    domain, slash, path = name.partition("/")
    if not slash or "/" in path:
        return [invalid_value(field, name, _SIGNER_FORM)]
    if name == "kubernetes.io/legacy-unknown":
        text = "the legacy signerName is not allowed via this API version"
        return [invalid_value(field, name, text)]
    causes = []
    if len(domain) > 253 or not all(map(_LABEL.fullmatch, domain.split("."))):
        causes.append(invalid_value(field, domain, f"domain: {SUBDOMAIN_RULE}"))
    if "." not in domain:
        text = "should be a domain with at least two segments separated by dots"
        causes.append(invalid_value(field, domain, text))
    if not is_subdomain(path):
        causes.append(invalid_value(field, path, f"path: {SUBDOMAIN_RULE}"))
    return causes


def _condition_faults(conditions: list[Json]) -> list[Cause]:
    causes = []
    seen: set[str] = set()
    for index, condition in enumerate(conditions):
        field, type_ = f"status.conditions[{index}]", _type(condition)
        status = condition.get("status")
        allowed = ["True"] if type_ in (*DECISIONS, FAILED) else ["True", "False", "Unknown"]
        if not type_:
            causes.append(required(f"{field}.type"))
        if not status:
            causes.append(required(f"{field}.status"))
        elif status not in allowed:
            causes.append(not_supported(f"{field}.status", status, allowed))
        if type_ in seen:
            causes.append(Cause("FieldValueDuplicate", f"{field}.type", type_, ""))
        seen.add(type_)
        if type_ in DECISIONS and seen.issuperset(DECISIONS):
            text = "Approved and Denied conditions are mutually exclusive"
            causes.append(invalid_value(f"{field}.type", type_, text))
    return causes


def _certificate_faults(text: str | None) -> list[Cause]:
    if not text:
        return []
    try:
        x509.load_pem_x509_certificates(base64.b64decode(text, validate=True))
    except Exception as error:  # of any class, as in read_request
        return [invalid_value("status.certificate", "<certificate data>", str(error))]
    return []


def _set_times(conditions: list[Json], before: list[Json]) -> None:
    known = {_type(item): item for item in before}
    now = format_now()
    for condition in conditions:
        old = known.get(_type(condition), {})
        if not condition.get("lastUpdateTime"):
            condition["lastUpdateTime"] = now
        if not condition.get("lastTransitionTime"):
            same = old.get("status") == condition.get("status")
            kept = old.get("lastTransitionTime") if same else None
            condition["lastTransitionTime"] = kept or now


def _conditions(request: Json) -> list[Json]:
    return dig(request, "status", "conditions") or []


def _type(condition: Json) -> str:
    return condition.get("type") or ""
