"""`[modules.edgecontroller]` of the configuration."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from supervisor.api import ModuleConfig


class Workers(BaseModel):
    """The number of workers for each kind of message; one object has at most one at a time.

    The names are those of KubeEdge's `controller.load`, where statuses have one worker each.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    update_node_status: int = Field(default=8, ge=1, le=1024)
    update_pod_status: int = Field(default=8, ge=1, le=1024)
    update_node: int = Field(default=4, ge=1, le=1024)
    create_node: int = Field(default=4, ge=1, le=1024)
    patch_node: int = Field(default=16, ge=1, le=1024)
    patch_pod: int = Field(default=16, ge=1, le=1024)
    change_pod: int = Field(default=8, ge=1, le=1024)
    lease: int = Field(default=16, ge=1, le=1024)
    service_account_token: int = Field(default=8, ge=1, le=1024)
    certificate_signing_request: int = Field(default=4, ge=1, le=1024)
    event: int = Field(default=4, ge=1, le=1024)
    query: int = Field(default=8, ge=1, le=1024)


class EdgeControllerConfig(ModuleConfig):
    """Options of EdgeController; `[kubernetes]` names the cluster."""

    #: Seconds after which the times in a node's conditions are replaced by the present.
    node_update_frequency: float = Field(default=20.0, gt=0)
    #: Seconds without a status after which a node's condition Ready becomes Unknown; 0: never. With
    #: the embedded API server only: a cluster has kube-controller-manager for it.
    node_monitor_grace_period: float = Field(default=50.0, ge=0)
    #: Which nodes are edge nodes, as a label selector.
    edge_node_selector: str = Field(default="node-role.kubernetes.io/edge=", min_length=1)
    #: Seconds after which everything is listed anew, to find what a watch has missed; 0: never.
    resync: float = Field(default=0.0, ge=0)
    #: Messages from the edge that may wait here for the API server; more wait in the channel.
    max_pending: int = Field(default=20_000, ge=1)
    #: Where it is recorded what each node has: in a file, or also as ObjectSyncs in the API.
    record: Literal["file", "objectsync"] = "file"
    workers: Workers = Workers()
