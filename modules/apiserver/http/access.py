"""What a user may do: this server has no RBAC.

Members of system:masters may do everything. A service account may do what it may in a cluster
without a Role for it (the ClusterRoles system:discovery, system:basic-user and
system:service-account-issuer-discovery): read which resources there are, ask about itself, and
read the keys of tokens. All other users, such as edge nodes, may do nothing.
"""

from __future__ import annotations

from typing import Final

from modules.apiserver.http.routing import Target, flag
from modules.apiserver.meta.status import ApiError
from modules.apiserver.meta.users import ADMINISTRATORS, User
from modules.common.http_library import web

_REASON: Final = (
    f"this server has no RBAC, and only members of {ADMINISTRATORS} may do more than discovery "
    "and reviews of themselves"
)
_ABOUT_ONESELF: Final = frozenset({"SelfSubjectAccessReview", "SelfSubjectReview"})
_VERBS: Final = {"PUT": "update", "PATCH": "patch", "POST": "create"}
_SERVICE_ACCOUNTS: Final = "system:serviceaccounts"


def admit(user: User, request: web.Request) -> None:
    """Raise ApiError (403) for a user who may do nothing; the others may read documents."""
    if not (user.administrator or _SERVICE_ACCOUNTS in user.groups):
        raise ApiError(
            403,
            "Forbidden",
            f'forbidden: User "{user.name}" cannot {request.method.lower()} path '
            f'"{request.path}": only members of {ADMINISTRATORS} may use this server',
        )


def authorize(user: User, request: web.Request, target: Target) -> None:
    """Authorize the request of an admitted user for objects; raises ApiError (403)."""
    if user.administrator or target.resource.kind in _ABOUT_ONESELF:
        return
    resource = target.resource
    about = "/".join(filter(None, (resource.plural, target.subresource)))
    scope = f'in the namespace "{target.namespace}"' if target.namespace else "at the cluster scope"
    name = f' "{target.name}"' if target.name else ""
    shown = f"{resource.plural}.{resource.group}" if resource.group else resource.plural
    details = {"name": target.name, "group": resource.group, "kind": resource.plural}
    raise ApiError(
        403,
        "Forbidden",
        f'{shown}{name} is forbidden: User "{user.name}" cannot {_verb(request, target)} resource '
        f'"{about}" in API group "{resource.group}" {scope}: {_REASON}',
        {key: value for key, value in details.items() if value},
    )


def _verb(request: web.Request, target: Target) -> str:
    """Return the verb of a request (k8s.io/apiserver/pkg/endpoints/request)."""
    if request.method in _VERBS:
        return _VERBS[request.method]
    if request.method == "DELETE":
        return "delete" if target.name else "deletecollection"
    if target.name:
        return "get"
    return "watch" if flag(request.query, "watch") else "list"
