"""What `cloudcore doctor` finds about the other replicas: whether each can be asked."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from modules.cloudhub.config import CloudHubConfig
from modules.common import times
from modules.common.kube import LEASES, BadObject, KubeClient, Object
from modules.common.kube.api_checks import MORE_ROLES, api_check
from modules.common.replicas.leases import LABEL, OF_REPLICA, name_of
from supervisor.api import CannotStart, Check, Finding, Settings

if TYPE_CHECKING:
    from modules.cloudhub.replicas.peer_client import PeerClient


def other_replicas(config: CloudHubConfig, settings: Settings) -> Check:
    """Return the check whether the other replicas can be asked about their nodes."""
    own = name_of(OF_REPLICA, settings.replicas.identity)

    async def look(client: KubeClient) -> list[Finding]:
        from modules.cloudhub.member import credentials_of
        from modules.cloudhub.replicas.peer_client import PeerClient

        try:
            credentials = credentials_of(config, settings)
        except CannotStart as error:
            return [Finding.wrong(str(error))]
        page = await client.list(
            LEASES, settings.replicas.namespace, label_selector=f"{LABEL}={OF_REPLICA}"
        )
        others = [lease for lease in page.items if lease["metadata"]["name"] != own]
        if not others:
            return [Finding.note("no other replica runs")]
        peers = PeerClient(credentials)
        return list(await asyncio.gather(*(_check_replica(peers, lease) for lease in others)))

    return api_check("the other replicas", settings, look, rights=MORE_ROLES)


async def _check_replica(peers: PeerClient, lease: Object) -> Finding:
    from modules.cloudhub.replicas.roster import peer_of

    try:
        peer = peer_of(lease, seen=0.0)
    except BadObject as error:
        return Finding.wrong(f"the Lease {lease['metadata']['name']} cannot be used: {error}")
    if not (reason := await peers.check(peer)):
        return Finding.ok(f"replica {peer.name} answers at {peer.address}")
    renewed = times.parse_time((lease.get("spec") or {}).get("renewTime"))
    silent = (times.now() - renewed).total_seconds() if renewed else 0.0
    if silent > 2 * peer.duration:
        return Finding.note(
            f"replica {peer.name} has not renewed its Lease for {silent:.0f} s: it is gone, or "
            "does not reach the API"
        )
    return Finding.wrong(
        f"replica {peer.name} cannot be asked about its nodes: {reason}; open the port between "
        "replicas (replicas.port), and give all the same CA"
    )
