"""The rights that CloudHub needs in the API so that edges can join; deploy/rbac grants them."""

from __future__ import annotations

from typing import Final

from modules.common.kube.rights import Right, rights
from modules.common.kubeedge_secrets import NAMESPACE

RIGHTS: Final[list[Right]] = [
    *rights("", "get create update", "secrets", namespace=NAMESPACE),
    # keadm asks whether there is a Node of that name.
    *rights("", "get", "nodes"),
]
