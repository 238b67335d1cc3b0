"""Tokens of the service accounts of pods (TokenRequest of authentication.k8s.io)."""

from __future__ import annotations

import msgspec

from ipc import Message
from modules.common.kube import KubeClient, Object
from modules.common.message_resource import ObjectResource
from modules.edgecontroller.upstream.authorization import Rights
from modules.edgecontroller.upstream.calls import ask
from modules.edgecontroller.upstream.content import read_token_request


class TokenIssuer:
    """Has tokens issued for pods of the asking node; tokens are not logged."""

    def __init__(self, client: KubeClient, rights: Rights) -> None:
        self._client = client
        self._rights = rights

    async def issue(self, question: Message, about: ObjectResource) -> Object:
        """Return a TokenRequest with its token.

        An edge stores it under its spec, and looks for it by the spec of its question (KeyFunc in
        metamanager/client/serviceaccount.go). The audiences are therefore those of the question,
        where the API server has put its own for none.
        """
        spec = read_token_request(question).spec
        await self._rights.check_token(about, spec)
        asked = msgspec.to_builtins(spec)
        issued = await ask(
            lambda: self._client.create_token(about.name, about.namespace, asked),
            self._client.health,
        )
        issued.get("spec", {})["audiences"] = asked["audiences"]
        return issued
