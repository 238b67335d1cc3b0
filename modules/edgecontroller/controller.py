"""The controller of one process: reflectors, downstream and upstream."""

from __future__ import annotations

import asyncio
import gc
import logging
from contextlib import AsyncExitStack, closing
from functools import partial
from typing import Final

from modules.common.kube import (
    EventRecorder,
    Key,
    KubeClient,
    Reflector,
    SetAside,
    ready_meanwhile,
    synced,
)
from modules.common.sync.journal import Item
from modules.common.sync.record import Record
from modules.common.until_stopped import until_stopped
from modules.edgecontroller import messages
from modules.edgecontroller.cloudhub_client import CloudHubClient
from modules.edgecontroller.config import EdgeControllerConfig
from modules.edgecontroller.downstream.caches import Caches
from modules.edgecontroller.downstream.node_reader import NodeReader
from modules.edgecontroller.downstream.node_updates import NodeUpdater
from modules.edgecontroller.downstream.nodes import NodeEventHandler
from modules.edgecontroller.downstream.pods import PodEventHandler
from modules.edgecontroller.downstream.services import EndpointsEventHandler, ServiceEventHandler
from modules.edgecontroller.downstream.state import State
from modules.edgecontroller.downstream.terminating import Terminating
from modules.edgecontroller.node_lifecycle import Lifecycle
from modules.edgecontroller.parts import Parts
from modules.edgecontroller.telemetry import Telemetry
from modules.edgecontroller.upstream.answers import Answers
from modules.edgecontroller.upstream.authorization import Rights
from modules.edgecontroller.upstream.calls import Calls
from modules.edgecontroller.upstream.certificates import CertificateRequester
from modules.edgecontroller.upstream.dispatch import Upstream
from modules.edgecontroller.upstream.events import EventWriter
from modules.edgecontroller.upstream.leases import LeaseKeeper
from modules.edgecontroller.upstream.nodes import NodeWriter
from modules.edgecontroller.upstream.pods import PodWriter, delete_pod
from modules.edgecontroller.upstream.queries import QueryAnswerer
from modules.edgecontroller.upstream.report_patches import ReportPatcher
from modules.edgecontroller.upstream.rows import Handlers, Rows, rows
from modules.edgecontroller.upstream.tokens import TokenIssuer
from supervisor.api import ModuleContext, ReplicasSettings, Settings

_FLUSH_SECONDS: Final = 1.0

log = logging.getLogger(__name__)


async def run(config: EdgeControllerConfig, settings: Settings, context: ModuleContext) -> None:
    """Run the controller until it is asked to stop."""
    async with AsyncExitStack() as stack:
        client = KubeClient.connect(settings, user_agent="cloudcore/edgecontroller")
        await stack.enter_async_context(client)
        path = settings.data_dir / "edgecontroller" / "told.jsonl"
        record = stack.enter_context(closing(Record(path)))
        namespace = settings.kubernetes.namespace
        if settings.kubernetes.configured:
            # The cluster's kube-controller-manager monitors the nodes.
            config = config.model_copy(update={"node_monitor_grace_period": 0.0})
        controller = Controller(
            config, namespace, client, record, context, replicas=settings.replicas
        )
        await until_stopped(controller.run(), context)


class Controller:
    """The parts of a running EdgeController."""

    def __init__(
        self,
        config: EdgeControllerConfig,
        namespace: str,
        client: KubeClient,
        record: Record,
        context: ModuleContext,
        *,
        replicas: ReplicasSettings = ReplicasSettings(),  # noqa: B008 - it is frozen
    ) -> None:
        """Set up; one of several replicas serves the nodes alone that are connected to it."""
        self._config = config
        self._namespace = namespace or None
        self._client = client
        self._context = context
        self._cloudhub = CloudHubClient(context)
        self._state = State(record)
        self._recorder = EventRecorder(client, messages.SOURCE)
        self._set_aside = SetAside(self._recorder, client.module)
        self._node_reader = NodeReader(client, self._state, self._set_aside)
        self._pods = PodEventHandler(self._state)
        self._caches = Caches(
            client,
            self._state,
            self._set_aside,
            self._aside_changed,
            namespace=self._namespace,
            resync=config.resync,
        )
        self._parts = self._make_parts(replicas)
        self._updater = NodeUpdater(
            self._state,
            self._cloudhub,
            self._set_aside,
            self._node_reader.add,
            read_whole=self._caches.read_whole,
            takeovers=self._parts.takeovers,
        )
        self._nodes = NodeEventHandler(
            self._state,
            self._updater,
            self._cloudhub,
            context,
            self._set_aside,
            takeovers=self._parts.takeovers,
            own_pods=self._parts.own_pods,
        )
        grace = config.node_monitor_grace_period
        self._lifecycle = Lifecycle(client, self._state, self._recorder, grace)
        self._upstream = self._make_upstream()
        self._terminating = Terminating(
            self._state,
            self._pods.handle,
            partial(delete_pod, client),
            client.health,
            self._set_aside,
        )
        self._reflectors = self._make_reflectors()
        self.telemetry = Telemetry(
            context,
            client,
            self._state,
            self._reflectors,
            self._updater,
            self._upstream,
            self._cloudhub,
            self._parts.record_in_api,
        )

    async def run(self) -> None:
        """Run all parts; if one fails, all are cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._nodes.connectivity.run())
            for reflector in self._reflectors:
                tasks.create_task(reflector.run())
            tasks.create_task(self._client.health.report_to(self._context))
            await synced(self._reflectors, self._client.health, self._context)
            counts = " ".join(f"{kind}={count}" for kind, count in self.telemetry.counts().items())
            log.info("caches synced from %s: %s", self._client.server, counts)
            # The listed objects stay: keep the garbage collector from scanning them again.
            gc.freeze()
            if self._config.record == "objectsync":
                opening = self._parts.record_in_api.open()
                await ready_meanwhile(opening, self._context, "reading what nodes have")
                tasks.create_task(self._parts.record_in_api.run())
            self._nodes.go_live()
            tasks.create_task(self._nodes.run())
            tasks.create_task(self._lifecycle.run())
            if self._parts.lead is not None:
                tasks.create_task(self._parts.lead())
            tasks.create_task(self._node_reader.run())
            tasks.create_task(self._updater.run())
            tasks.create_task(self._upstream.run(self._context.take))
            tasks.create_task(self._recorder.run())
            tasks.create_task(self._terminating.run())
            tasks.create_task(self.telemetry.run())
            tasks.create_task(self._flush_record())
            self._context.ready()

    def _make_parts(self, replicas: ReplicasSettings) -> Parts:
        if not replicas.enabled:
            return Parts.single(
                self._client,
                self._state,
                self._caches,
                self._pods.handle,
                namespace=self._namespace,
            )
        return Parts.replica(
            self._client,
            self._state,
            self._caches,
            self._pods.handle,
            namespace=self._namespace,
            set_aside=self._set_aside,
            replicas=replicas,
            on_foreign=self._unsure,
        )

    def _make_upstream(self) -> Upstream:
        answers = Answers(self._cloudhub, self._state.generations)
        return Upstream(
            self._make_rows(answers),
            answers,
            self._nodes,
            self._updater,
            self._set_aside,
            health=self._client.health,
            config=self._config,
            on_report=self._lifecycle.reported,
        )

    def _make_rows(self, answers: Answers) -> Rows:
        client, state = self._client, self._state
        rights = Rights(state, client)
        reports = ReportPatcher(client, self._parts.fence)
        return rows(
            Handlers(
                Calls(answers, client.health),
                NodeWriter(
                    client,
                    reports,
                    answers,
                    state,
                    update_frequency=self._config.node_update_frequency,
                    registered=self._nodes.registered,
                ),
                PodWriter(client, reports, self._cloudhub, state, rights),
                LeaseKeeper(client),
                TokenIssuer(client, rights),
                CertificateRequester(client),
                EventWriter(client, rights),
                QueryAnswerer(client, rights, state, self._updater),
            )
        )

    def _make_reflectors(self) -> list[Reflector]:
        state, parts, reflect = self._state, self._parts, self._caches.reflect
        selector = self._config.edge_node_selector
        return [
            reflect(messages.NODE, self._nodes.handle, store=state.nodes, label_selector=selector),
            parts.pods,
            *parts.configuration,
            reflect(messages.SERVICE, ServiceEventHandler(state).handle),
            reflect(messages.ENDPOINTS, EndpointsEventHandler(state).handle),
            *parts.sync_index,
        ]

    def _unsure(self, node: str, item: Item) -> None:
        self._updater.unsure(node, item)

    def _aside_changed(self, type_: str, key: Key) -> None:
        """Handle an object that was set aside, or is no longer set aside."""
        if key not in self._state.aside[type_]:
            self._state.mark_holders((type_, *key))
        elif type_ == messages.POD:
            self._terminating.enqueue(key)

    async def _flush_record(self) -> None:
        """Write acknowledgements to the record's file once a second."""
        while True:
            self._state.record.flush()
            await asyncio.sleep(_FLUSH_SECONDS)
