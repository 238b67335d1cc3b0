"""What the first process of CloudHub has in addition as one of several replicas."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modules.cloudhub.config import CloudHubConfig
from modules.cloudhub.joining.authority import authority_files
from modules.cloudhub.questions import Questions
from modules.cloudhub.replicas.membership import Membership
from modules.common.host_port import host_port
from modules.common.kube import KubeClient
from modules.common.pki.authority import AuthorityFiles, load_authority
from modules.common.pki.certificates import WILDCARDS
from modules.common.pki.host_names import own_addresses
from supervisor.api import CannotStart, ModuleContext, Settings

if TYPE_CHECKING:  # a single cloudcore loads none of it
    from modules.cloudhub.replicas.credentials import Credentials
    from modules.cloudhub.replicas.peer_server import PeerServer
    from modules.cloudhub.replicas.peers import Peers


@dataclass(frozen=True)
class Member:
    """One replica: its Leases, and the way to and from the others."""

    membership: Membership
    peers: Peers
    credentials: Credentials
    settings: Settings
    context: ModuleContext

    def server(self, questions: Questions, rows: Callable[[], Awaitable[bytes]]) -> PeerServer:
        """Return the server for the others; `rows` returns the nodes of this replica as JSON."""
        from modules.cloudhub.replicas.peer_server import PeerServer

        listener = self.context.sockets["replicas"]
        replica = self.settings.replicas.identity
        return PeerServer(listener, self.credentials, replica, questions, rows)


@contextlib.asynccontextmanager
async def joined(
    config: CloudHubConfig, settings: Settings, context: ModuleContext
) -> AsyncIterator[Member]:
    """Be one of several replicas; raises CannotStart without the key of the CA."""
    from modules.cloudhub.replicas.peer_client import PeerClient
    from modules.cloudhub.replicas.peers import Peers

    credentials = credentials_of(config, settings)
    host, port = context.sockets["replicas"].getsockname()[:2]
    address = reached_at(host, port)
    async with KubeClient.connect(settings, user_agent="cloudcore-cloudhub") as client:
        membership = Membership(client, settings.replicas, context, address)
        peers = Peers(membership.roster, membership.nodes, PeerClient(credentials))
        yield Member(membership, peers, credentials, settings, context)


def credentials_of(config: CloudHubConfig, settings: Settings) -> Credentials:
    """Return what this replica shows to others; raises CannotStart without the key of the CA."""
    from modules.cloudhub.replicas.credentials import Credentials

    files = authority_files(config, settings.data_dir)
    if not isinstance(files, AuthorityFiles):
        raise CannotStart(
            "replicas know each other by the key of the CA, and there is none; "
            "set modules.cloudhub.ca_key"
        )
    try:
        return Credentials(load_authority(files), settings.replicas.identity)
    except (OSError, ValueError) as error:
        raise CannotStart(f"cannot make the certificate for other replicas: {error}") from error


def reached_at(host: str, port: int) -> str:
    """Return HOST:PORT at which others reach a listener of this host."""
    if host in WILDCARDS:
        host = (own_addresses() or ["127.0.0.1"])[0]
    return host_port(host, port)
