"""The rights that CloudHub needs in the API as one of several replicas."""

from __future__ import annotations

from typing import Final

from modules.common.kube.rights import Right, rights
from modules.common.kubeedge_secrets import NAMESPACE

RIGHTS: Final[list[Right]] = [
    *rights(
        "coordination.k8s.io",
        "get list watch create update delete",
        "leases",
        namespace=NAMESPACE,
    ),
    # The tokens that all have made, and which are revoked (joining/shared_tokens.py).
    *rights("", "list watch create update", "configmaps", namespace=NAMESPACE),
]
