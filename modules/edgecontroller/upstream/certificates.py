"""Certificates of edge nodes: requests that the cluster signs (certificates.k8s.io).

An edge's metaServer needs a serving certificate. cloudcore approves the requests for one, as
KubeEdge's approver does (cloud/pkg/csrapprovercontroller), but only of the node that asks, and only
for addresses on its own machine: with another a node could pretend to be the API server.
"""

from __future__ import annotations

import base64
import logging
from typing import Final

import msgspec
from cryptography import x509

from ipc import Message
from modules.common.kube import (
    CERTIFICATESIGNINGREQUESTS,
    AlreadyExists,
    KubeClient,
    NotFound,
    Object,
    Reason,
)
from modules.common.log_limit import LogLimit
from modules.common.message_resource import ObjectResource
from modules.edgecontroller.objects import part_of, usable
from modules.edgecontroller.upstream import certificate_rules
from modules.edgecontroller.upstream.authorization import Denied
from modules.edgecontroller.upstream.calls import ask
from modules.edgecontroller.upstream.content import listed, read_certificate_request
from modules.edgecontroller.upstream.message_queue import retry_briefly

_APPROVED: Final = {
    "type": "Approved",
    "status": "True",
    "reason": Reason.AUTO_APPROVED,
    "message": "Auto approving MetaServer serving certificate.",
}

log = logging.getLogger(__name__)


class CertificateRequester:
    """Passes on a node's requests for certificates for itself, and approves the serving ones."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client
        self._log = LogLimit(log)

    async def request(self, question: Message, about: ObjectResource) -> Object:
        """Create a request, and approve it if it can be approved.

        If the same request exists already, an answer was lost, and perhaps the approval.
        """
        spec = read_certificate_request(question).spec
        csr = certificate_rules.read(spec.request)
        certificate_rules.check(csr, about.node, spec.signer_name, set(spec.usages))
        made = {"metadata": {"name": about.name}, "spec": msgspec.to_builtins(spec)}
        try:
            created = await ask(
                lambda: self._client.create(CERTIFICATESIGNINGREQUESTS, made), self._client.health
            )
        except AlreadyExists:
            present = await self._get(about.name)
            if _asks_for(present) == spec.request:
                await self._approve(about, csr, spec.signer_name)
            raise
        await self._approve(about, csr, spec.signer_name)
        return created

    async def get(self, _: Message, about: ObjectResource) -> Object:
        """Return a node's request for itself; raises Denied for any other, and if there is none."""
        try:
            found = await self._get(about.name)
        except NotFound:
            found = {}
        if not certificate_rules.is_request_of(_asks_for(found), about.node):
            raise Denied(f"it is no certificate request of node {about.node}")
        return found

    async def _get(self, name: str) -> Object:
        found = await ask(
            lambda: self._client.get(CERTIFICATESIGNINGREQUESTS, name), self._client.health
        )
        return usable(CERTIFICATESIGNINGREQUESTS, found)

    async def _approve(
        self, about: ObjectResource, csr: x509.CertificateSigningRequest, signer: str
    ) -> None:
        if signer != certificate_rules.SERVING:
            return
        if foreign := certificate_rules.foreign_addresses(csr, about.node):
            text = (
                f"certificate request {about.name}: not approved, since {listed(foreign)} may be "
                f"of others than node {about.node}; see `kubectl certificate approve`"
            )
            self._log.put(about.node, logging.WARNING, text)
            return

        async def attempt() -> None:
            present = await self._get(about.name)
            status = present.get("status") or {}
            if not status.get("conditions"):
                approved = {**present, "status": {**status, "conditions": [_APPROVED]}}
                await self._client.replace(
                    CERTIFICATESIGNINGREQUESTS, approved, subresource="approval"
                )
                text = f"certificate request {about.name}: approved"
                self._log.put(about.node, logging.INFO, text)

        await retry_briefly(attempt, self._client.health)


def _asks_for(request: Object) -> bytes:
    """Return the PEM in a CertificateSigningRequest; empty if there is none."""
    try:
        return base64.b64decode(part_of(request, "spec").get("request") or "")
    except ValueError:
        return b""
