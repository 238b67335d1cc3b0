"""The messages between the controller and the edge, as cloud/pkg/edgecontroller sends them."""

from __future__ import annotations

from typing import Any, Final

from ipc import Message

SOURCE: Final = "edgecontroller"
GROUP: Final = "resource"
CLOUDHUB: Final = "cloudhub"

INSERT: Final = "insert"
UPDATE: Final = "update"
DELETE: Final = "delete"
PATCH: Final = "patch"
QUERY: Final = "query"
RESPONSE: Final = "response"
CONNECTED: Final = "connected"
DISCONNECTED: Final = "disconnected"
DELETED: Final = "deleted"

POD: Final = "pod"
PODLIST: Final = "podlist"
POD_STATUS: Final = "podstatus"
POD_PATCH: Final = "podpatch"
CONFIGMAP: Final = "configmap"
SECRET: Final = "secret"  # noqa: S105 - a kind, not a password
NODE: Final = "node"
NODE_STATUS: Final = "nodestatus"
NODE_PATCH: Final = "nodepatch"
SERVICE: Final = "service"
SERVICELIST: Final = "servicelist"
ENDPOINTS: Final = "endpoints"
ENDPOINTSLIST: Final = "endpointslist"
PERSISTENTVOLUME: Final = "persistentvolume"
PERSISTENTVOLUMECLAIM: Final = "persistentvolumeclaim"
VOLUMEATTACHMENT: Final = "volumeattachment"
LEASE: Final = "lease"
EVENT: Final = "event"
CERTIFICATESIGNINGREQUEST: Final = "certificatesigningrequest"
#: The CA of the API server; its resource is `k8s/ca.crt`, without a name.
AUTHORITY: Final = "ca.crt"
TOKEN: Final = "serviceaccounttoken"  # noqa: S105 - a kind, no token

#: The types that nodes keep objects of, and that they are sent only if they need them.
KEPT_BY_NODES: Final = (POD, CONFIGMAP, SECRET)

#: The namespace of objects without one in a message's resource, for edges from KubeEdge 1.23 on.
NULL_NAMESPACE: Final = "null"

#: The namespace and the names in the resources of whole lists (downstream.go).
LIST_NAMESPACE: Final = "namespace"
LIST_NAMES: Final = {SERVICELIST: "service", ENDPOINTSLIST: "endpoints"}

OK: Final = "OK"


def change(operation: str, resource: str, content: Any, version: str = "") -> Message:
    """Return a message with an object or a list for a node.

    It has no parent id: edges from KubeEdge 1.21 on take what has one for an answer.
    """
    made = Message.build(SOURCE, GROUP, operation, resource, content)
    made.resource_version = version
    return made


def answer(question: Message, resource: str, content: Any) -> Message:
    """Return the answer to a node's message; its resource may differ from the question's."""
    made = question.response(content, source=SOURCE, group=GROUP)
    made.resource = resource
    return made
