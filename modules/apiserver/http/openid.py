"""OpenID Connect discovery: how others verify the tokens of service accounts.

As in kube-apiserver (pkg/serviceaccount/openidmetadata.go).
"""

from __future__ import annotations

from typing import Final

from modules.apiserver.authentication.jwt import ALGORITHM
from modules.apiserver.authentication.service_accounts import ISSUER, ServiceAccountTokens
from modules.apiserver.meta.objects import encode
from modules.common.http_library import web

_CONFIGURATION: Final = [".well-known", "openid-configuration"]
_KEYS: Final = ["openid", "v1", "jwks"]
_CACHED: Final = {"Cache-Control": "public, max-age=3600"}


def document(segments: list[str], tokens: ServiceAccountTokens, url: str) -> web.Response | None:
    """Return the document at a path; None if it is none of these. `url` is that of the server."""
    if segments == _CONFIGURATION:
        configuration = {
            "issuer": ISSUER,
            "jwks_uri": f"{url}/{'/'.join(_KEYS)}",
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": [ALGORITHM],
        }
        return web.Response(
            body=encode(configuration), content_type="application/json", headers=_CACHED
        )
    if segments == _KEYS:
        return web.Response(
            body=encode(tokens.jwks()), content_type="application/jwk-set+json", headers=_CACHED
        )
    return None
