"""The messages that are no requests of edges to the Kubernetes API, one entry for each.

The requests are in modules/edgecontroller/upstream/rows.py; messages.py puts both together. A test
compares `built` with the code, and another one each message that the tests of the controllers send.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from ipc.message import OP_ERROR, OP_RESPONSE
from modules.cloudhub.cluster import protocol
from modules.cloudhub.cluster.directory import CONNECTED, DISCONNECTED
from modules.cloudhub.protocols.served import GENERATIONS
from modules.cloudhub.routing import downstream, upstream
from modules.common.device_references import DEVICE_TYPE, MODEL_TYPE
from modules.common.sync.connectivity import REQUEST_EXIST
from modules.devicecontroller.v1beta1 import messages as devices
from modules.edgecontroller import messages

V1_1: Final = "1.1"
TODAY: Final = "1.15-1.23"
BOTH: Final = "all"

_EDGE: Final = messages.SOURCE
_DEVICE: Final = devices.SOURCE
_HUB: Final = messages.CLOUDHUB

_KEPT: Final = ", ".join(f"NS/{each}/NAME" for each in messages.KEPT_BY_NODES)

_DECISIONS: Final = "modules/edgecontroller/downstream/decisions.py"
_ALPHA: Final = "modules/devicecontroller/v1alpha1/sync/node_sync.py"
_BETA: Final = "modules/devicecontroller/v1beta1/messages.py"
_BETA_DECISIONS: Final = "modules/devicecontroller/v1beta1/decisions.py"
_ANSWERS: Final = "modules/edgecontroller/upstream/answers.py"
_CLUSTER: Final = "modules/cloudhub/cluster"


class Entry(NamedTuple):
    """Messages of one kind. A part of a resource in capitals stands for any text."""

    source: str
    """comma-separated, if several; so are group, operation and resource"""
    group: str
    operation: str
    resource: str
    edges: str
    """the KubeEdge versions of the edges that send or get it; empty inside of cloudcore"""
    built: tuple[str, ...]
    """the functions that build it, as FILE:FUNCTION; none of what edges send"""
    takes: str
    """who takes it, and how it is answered"""
    meaning: str


# fmt: off

#: What is sent to edges.
DOWN: Final = (
    Entry(
        _EDGE, messages.GROUP, f"{messages.INSERT}, {messages.UPDATE}",
        _KEPT, BOTH,
        (f"{_DECISIONS}:Decisions._decide_v1_1", f"{_DECISIONS}:Decisions._decide_today"),
        "metaManager: `response` `OK`; `error` if it could not store it",
        "an object that the node is to have, whole",
    ),
    Entry(
        _EDGE, messages.GROUP, messages.DELETE,
        _KEPT, BOTH,
        (f"{_DECISIONS}:_delete_v1_1", f"{_DECISIONS}:_delete_today",
        "modules/edgecontroller/upstream/pods.py:PodWriter._remove_from_node"),
        "metaManager: `response` `OK`", "an object that the node is not to have any more",
    ),
    Entry(
        _EDGE, messages.GROUP, messages.DELETE, "NS/TYPE/NAME", V1_1,
        (f"{_DECISIONS}:_delete_v1_1",), "metaManager: `response` `OK`",
        "what the node was denied: it has stored the denial in place of the object",
    ),
    Entry(
        _EDGE, messages.GROUP, messages.UPDATE, f"{messages.NULL_NAMESPACE}/{messages.NODE}/NODE",
        "1.23", (f"{_DECISIONS}:Decisions._push_node",), "metaManager: `response` `OK`",
        "the edge's own Node, when somebody else than its kubelet has changed it",
    ),
    Entry(
        _EDGE, messages.GROUP, f"{messages.INSERT}, {messages.UPDATE}, {messages.DELETE}",
        f"NS/{messages.SERVICE}/NAME, NS/{messages.ENDPOINTS}/NAME", V1_1,
        (f"{_DECISIONS}:Decisions._decide_v1_1", f"{_DECISIONS}:_delete_v1_1"),
        "metaManager: `response` `OK`", "a Service, or Endpoints, of which every node has all",
    ),
    Entry(
        _EDGE, messages.GROUP, messages.UPDATE,
        f"{messages.LIST_NAMESPACE}/{messages.SERVICELIST}/{messages.SERVICE}, "
        f"{messages.LIST_NAMESPACE}/{messages.ENDPOINTSLIST}/{messages.ENDPOINTS}, "
        f"NS/{messages.PODLIST}/SERVICE", V1_1, (f"{_DECISIONS}:Decisions.decide",),
        "metaManager: `response` `OK`",
        "all Services, all Endpoints, or the pods behind a service, as one list",
    ),
    Entry(
        _EDGE, messages.GROUP, OP_RESPONSE, "NS/TYPE/NAME, k8s/ca.crt", BOTH,
        (f"{_ANSWERS}:Answers._send",),
        "the caller at the edge; metaManager stores an object and answers `OK`",
        "the answer to a request: an object, an ObjectResp or `OK`; its parent id is the request's",
    ),
    Entry(
        _EDGE, messages.GROUP, OP_ERROR, "NS/TYPE/NAME, NS/TYPE", BOTH,
        (f"{_ANSWERS}:Answers.error",),
        "the caller at the edge; 1.1 stores it in place of the object",
        "a request was denied, or has failed for good",
    ),
    Entry(
        _DEVICE, devices.TWIN, devices.UPDATE, "membership", BOTH,
        (f"{_ALPHA}:NodeSync._send", f"{_BETA}:membership"), "deviceTwin: no answer",
        "devices that the node has got (for 1.1 with their twins), and devices that it has no more",
    ),
    Entry(
        _DEVICE, devices.TWIN, OP_RESPONSE, "membership/detail", V1_1,
        (f"{_ALPHA}:NodeSync._send",), "deviceTwin: no answer",
        "all devices of the node, with their twins; the parent id is the question's",
    ),
    Entry(
        _DEVICE, devices.TWIN, devices.UPDATE, "membership/detail", TODAY, (f"{_BETA}:detail",),
        "deviceTwin: no answer", "all devices of the node; no parent id",
    ),
    Entry(
        _DEVICE, devices.TWIN, devices.UPDATE, "device/ID/twin/cloud_updated", V1_1,
        (f"{_ALPHA}:NodeSync._send",), "deviceTwin: no answer",
        "the desired values of a device; a property that is gone has the type `deleted`",
    ),
    Entry(
        _DEVICE, devices.RESOURCE, f"{devices.INSERT}, {devices.UPDATE}, {devices.DELETE}",
        f"NS/{MODEL_TYPE}/NAME, NS/{DEVICE_TYPE}/NAME", TODAY,
        (f"{_BETA_DECISIONS}:Decisions.change", f"{_BETA_DECISIONS}:Decisions._deletion"),
        "metaManager, which hands it to the mapper: `response` `OK`",
        "a DeviceModel or a Device, whole",
    ),
    Entry(
        _DEVICE, devices.TWIN, devices.RESPONSE, "twin", BOTH, (f"{_BETA}:confirmation",),
        "deviceTwin, which sends the report again without it",
        "what the edge has reported is written; the parent id is the report's",
    ),
    Entry(
        _HUB, messages.GROUP,
        "createvolume, deletevolume, controllerpublishvolume, controllerunpublishvolume",
        "NS/volume/NAME", BOTH, ("modules/cloudhub/csi/server.py:_question",),
        "metaManager's volume plugin: `response`, within 60 s",
        "what a CSI driver asks at CloudHub's socket",
    ),
)

#: What edges send, besides requests.
UP: Final = (
    *(
        Entry(
            "websocket", "resource", each.keepalive, "node", edges, (),
            "cloudhub: no answer, and no module sees it",
            f"the edge is there (each 15 s by default); messages are in the form `{each.form}`",
        )
        for each, edges in zip(GENERATIONS, (TODAY, V1_1), strict=True)
    ),
    Entry(
        "edgecontroller, devicecontroller, metaManager, meta, edged", "resource, meta, twin",
        f"{OP_RESPONSE}, {OP_ERROR}", "NS/TYPE/NAME", BOTH, (),
        "edgecontroller; devicecontroller of a device or a model: recorded",
        "the acknowledgement of what was sent, or why it could not be stored; the parent id says "
        "which message",
    ),
    Entry(
        "twin", "resource", "get", "membership/detail", BOTH, (),
        "devicecontroller: `membership/detail`, and for 1.15-1.23 also `twin`",
        "the question for all devices of the node",
    ),
    Entry(
        "twin", "resource", "update", "device/ID/twin/edge_updated", BOTH, (),
        "devicecontroller: `twin` once it is written", "reported values of a device",
    ),
    Entry(
        "twin", "resource", "update", "device/ID/state, device/ID/state/update", BOTH, (),
        "devicecontroller: `twin` once it is written (of 1.1 nothing is)", "the state of a device",
    ),
    Entry(
        "cloudhub, metaManager", "resource", f"{OP_RESPONSE}, {OP_ERROR}", "NS/volume/NAME", BOTH,
        (), "cloudhub, which answers the CSI driver", "what has become of a volume",
    ),
    Entry(
        "", "", "", "", TODAY, (), "cloudhub: ignored", "edgecore stops",
    ),
    Entry(
        "", "", ", ".join(sorted(upstream._TASKS)), "RESOURCE", TODAY, (),
        "nobody: counted as unserved", "of taskmanager, which cloudcore does not have",
    ),
    Entry(
        "", upstream._USER, upstream._UPLOAD, "RESOURCE", TODAY, (), "nobody: counted as unserved",
        "of router, which cloudcore does not have",
    ),
    Entry(
        upstream._METASERVER, "", "", "RESOURCE", TODAY, (), "nobody: counted as unserved",
        "of the metaserver, for dynamiccontroller, which cloudcore does not have",
    ),
)

#: What stays inside of cloudcore; the resource is `node/NODE`, or `node/*`.
INSIDE: Final = (
    Entry(
        _HUB, messages.GROUP, f"{CONNECTED}, {DISCONNECTED}", "", "",
        ("modules/cloudhub/hub.py:Hub._publish",), "edgecontroller and devicecontroller: no answer",
        "a node's connection has begun, with the edge's generation, or ended",
    ),
    Entry(
        f"{_EDGE}, {_DEVICE}", "resource, twin", REQUEST_EXIST, "", "",
        ("modules/common/sync/connectivity.py:Connectivity._is_there",),
        "cloudhub: `response_exist` with the edge's generation, or `error`",
        "whether a node is connected",
    ),
    Entry(
        f"{_EDGE}, {_DEVICE}", "resource, twin", downstream._ANSWER, "", "",
        ("modules/cloudhub/routing/downstream.py:Downstream._answer_question",),
        "the controller that asks", "the node is connected",
    ),
    Entry(
        _HUB, "GROUP", OP_ERROR, ", RESOURCE", "",
        ("modules/cloudhub/routing/downstream.py:Downstream._drop",
        "modules/cloudhub/session/pending_replies.py:PendingReplies.give_up"),
        "the module that asks", "the node of a question is not connected, or not any more",
    ),
    Entry(
        _HUB, "GROUP", OP_ERROR, ", RESOURCE", "",
        ("modules/cloudhub/routing/downstream.py:Downstream._set_aside",),
        "the sender, as from the edge", "a message cannot be written in the edge's form",
    ),
    Entry(
        _EDGE, messages.GROUP, messages.DELETED, "", "",
        ("modules/edgecontroller/downstream/nodes.py:NodeEventHandler._close_sessions",),
        "cloudhub, which ends the session: no answer", "a Node was deleted",
    ),
    Entry(
        _EDGE, messages.GROUP, devices.LOST, "", "",
        ("modules/edgecontroller/downstream/nodes.py:_loss",),
        "devicecontroller: no answer; of several replicas, `response` or `error`",
        "a node's edge may have lost its database",
    ),
    Entry(
        _DEVICE, messages.GROUP, f"response, {OP_ERROR}", "", "",
        ("modules/devicecontroller/upstream.py:Upstream._write_loss",),
        "edgecontroller", "what an edge has lost is written to the API, or cannot be in time",
    ),
    Entry(
        _HUB, protocol.GROUP,
        f"{protocol.CLAIM}, {protocol.ENROLL}, {protocol.RELEASE}, {protocol.ROSTER}", "", "",
        (f"{_CLUSTER}/follower.py:Follower._send_roster", f"{_CLUSTER}/follower.py:Follower._send"),
        "cloudhub's first process: `grant` or `refuse` of a `claim`",
        "which nodes another process of cloudhub is about to serve, serves, and serves no more",
    ),
    Entry(
        _HUB, protocol.GROUP,
        f"{protocol.GRANT}, {protocol.REFUSE}, {protocol.EVICT}, {protocol.CALL}, "
        f"{protocol.RESET}", "", "",
        (f"{_CLUSTER}/leader.py:Leader.run", f"{_CLUSTER}/leader.py:Leader._send_decision",
        f"{_CLUSTER}/leader.py:Leader._evict", f"{_CLUSTER}/leader.py:Leader._put"),
        "another process of cloudhub: a `roster` after `call`",
        "what the first process has decided about a node, or about all",
    ),
)
