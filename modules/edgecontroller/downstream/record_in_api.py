"""The record of edges of today in the Kubernetes API too, if it is configured to be."""

from __future__ import annotations

from modules.common.kube import KubeClient
from modules.common.sync.record_in_api import RecordInApi
from modules.common.wire.generations import V1_23
from modules.edgecontroller.downstream.state import State
from modules.edgecontroller.messages import KEPT_BY_NODES, NODE
from modules.edgecontroller.objects import RESOURCES


def record_in_api(client: KubeClient, state: State, namespace: str | None) -> RecordInApi:
    """Return what keeps the record of pods, configmaps, secrets and Nodes in ObjectSyncs."""

    def found(nodes: set[str]) -> None:
        for node in nodes - state.record.generations().keys():
            state.record.set_generation(node, V1_23)  # no other edges have them
        state.generations.update(state.record.generations())

    return RecordInApi(
        client,
        state.record,
        {type_: RESOURCES[type_] for type_ in (*KEPT_BY_NODES, NODE)},
        namespace=namespace,
        is_of_today=lambda node: state.generations.get(node) == V1_23,
        on_found=found,
    )
