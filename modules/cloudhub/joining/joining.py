"""What the first process of CloudHub does so that edges can join."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from datetime import timedelta
from http import HTTPStatus
from typing import Final

from modules.cloudhub.config import CloudHubConfig
from modules.cloudhub.endpoint.tls import ServerTls
from modules.cloudhub.joining.authority import authority_files
from modules.cloudhub.joining.exchange import RequestRefused
from modules.cloudhub.joining.routes import Routes
from modules.cloudhub.joining.server import JoiningServer
from modules.cloudhub.joining.shared_tokens import SharedTokens
from modules.cloudhub.joining.upkeep import Upkeep
from modules.cloudhub.replicas.metrics import LEADER
from modules.common.kube import NODES, KubeClient, KubeError, NotFound
from modules.common.pki.authority import AuthorityFiles
from modules.common.pki.certificates import Pki
from modules.common.pki.token_store import TokenStore
from modules.common.replicas.election import Election
from supervisor.api import ReplicasSettings, Settings

#: Timeout of a question to the API, in seconds.
_LOOK_UP: Final = 5.0
#: Questions to the API at once.
_QUESTIONS: Final = 8


async def serve(
    config: CloudHubConfig,
    settings: Settings,
    tls: ServerTls,
    listener: socket.socket,
    on_leader: Callable[[str], None] = lambda _: None,
) -> None:
    """Serve until cancelled; `on_leader` gets the replica that keeps token and Secrets."""
    authority = authority_files(config, settings.data_dir)
    tokens = TokenStore(settings.data_dir)
    api = KubeClient.connect(settings, user_agent="cloudcore-cloudhub")
    pki = None if config.ca else Pki(settings.data_dir / "pki")
    lifetime = timedelta(days=config.edge_certificate_days)
    routes = Routes(authority, tokens, Nodes(api).exists, lifetime, pki)
    async with asyncio.TaskGroup() as tasks:
        shared = None
        if (replicas := settings.replicas).enabled:
            shared = SharedTokens(api, replicas.namespace, tokens)
            routes.revocations_known = lambda: shared.known
        tasks.create_task(JoiningServer(listener, tls, routes).run())
        # It may wait for the kubeconfig of the embedded API server, and edges do not.
        async with api:
            if shared:
                tasks.create_task(shared.run())
            if isinstance(authority, AuthorityFiles):
                hours = config.token_refresh_hours
                upkeep = Upkeep(api, authority, tls.files, tokens, refresh_hours=hours)
                await _keep(upkeep, api, settings.replicas, on_leader)
            await asyncio.get_running_loop().create_future()


async def _keep(
    upkeep: Upkeep, api: KubeClient, replicas: ReplicasSettings, on_leader: Callable[[str], None]
) -> None:
    """Run the upkeep; of several replicas, the leader's alone."""
    if not replicas.enabled:
        await upkeep.run()
        return
    election = Election(api, replicas, "cloudhub", on_change=on_leader)
    leads = LEADER.labels(replicas.identity, "joining")
    leads.set(0)

    async def lead() -> None:
        leads.set(1)
        try:
            await upkeep.run()
        finally:
            leads.set(0)

    await election.run(lead)


class Nodes:
    """The Nodes of the API, as far as it is asked whether there is one."""

    def __init__(self, api: KubeClient) -> None:
        self._api = api
        self._room = asyncio.Semaphore(_QUESTIONS)

    async def exists(self, name: str) -> bool:
        """Whether there is a Node; raises RequestRefused while the API does not say."""
        try:
            async with asyncio.timeout(_LOOK_UP), self._room:
                await self._api.get(NODES, name)
        except NotFound:
            return False
        except (KubeError, TimeoutError) as error:
            raise RequestRefused(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "the Kubernetes API does not say whether there is such a Node; try again",
                Retry_After="5",
            ) from error
        return True
