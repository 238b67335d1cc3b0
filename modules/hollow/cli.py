"""`cloudcore hollow`: simulated edge nodes on the command line."""

from __future__ import annotations

import asyncio
import signal
import ssl
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import click

from modules.common.pki.cli import (
    data_dir_option,
    pki_directory,
)
from modules.hollow import tls
from modules.hollow.edge import PROJECT_ID, HollowEdge
from modules.hollow.events import Event
from modules.hollow.timing import Timing
from modules.hollow.versions import VERSIONS
from supervisor.cli.commands import Command, option, option_group
from supervisor.cli.options import output_option

if TYPE_CHECKING:
    from modules.hollow.v1_23.join import CertManager

#: The port of CloudHub's HTTPS server, at which edges join.
JOIN_PORT: Final = 10002
#: Nodes that join at the same time.
JOINING: Final = 16


@click.command(cls=Command, name="hollow")
@click.argument("node", help="Name of the node in the Kubernetes API.")
@option_group(
    "Connection",
    option(
        "--server",
        default="wss://127.0.0.1:10000",
        show_default=True,
        metavar="URL",
        help="Address at which cloudcore listens for edges.",
    ),
    option(
        "--certs",
        type=click.Path(file_okay=False, exists=True, path_type=Path),
        help="Directory with rootCA.crt, edge.crt and edge.key (`cloudcore certs issue`). "
        "Without it a certificate is issued by the CA in the data directory.",
    ),
    option(
        "--token",
        envvar="CLOUDCORE_TOKEN",
        metavar="TOKEN",
        help="Join with this token (`cloudcore token create`), as edgecore does.",
    ),
    option(
        "--https-server",
        metavar="URL",
        help="Address at which cloudcore gives certificates to edges that join.  "
        "[default: port 10002 of the host of --server]",
    ),
    data_dir_option,
    option("--project-id", default=PROJECT_ID, show_default=True, metavar="ID"),
)
@option_group(
    "Simulation",
    option(
        "--kubeedge",
        type=click.Choice(tuple(VERSIONS)),
        default="1.23",
        show_default=True,
        help="Version of KubeEdge that the nodes have.",
    ),
    option(
        "--count",
        type=click.IntRange(min=1),
        metavar="N",
        help="Simulate N nodes, NODE-0 to NODE-(N-1).",
    ),
    option(
        "--heartbeat",
        type=click.FloatRange(min=0, min_open=True),
        default=Timing().heartbeat,
        show_default=True,
        metavar="SECONDS",
        help="Interval between two keepalives.",
    ),
    option(
        "--node-status",
        type=click.FloatRange(min=0, min_open=True),
        default=Timing().node_status,
        show_default=True,
        metavar="SECONDS",
        help="Interval between two reports of the node's status; from 1.19 on, between two looks "
        "at it: only a status that changed is reported.",
    ),
    option(
        "--report-events",
        is_flag=True,
        help="Report Events of nodes and pods, from 1.19 on (edged.reportEvent).",
    ),
)
@output_option("text", help="Format of the output, one line per event.")
def hollow(
    *,
    node: str,
    server: str,
    certs: Path | None,
    token: str | None,
    https_server: str | None,
    data_dir: Path | None,
    project_id: str,
    kubeedge: str,
    count: int | None,
    heartbeat: float,
    node_status: float,
    report_events: bool,
    output: str,
) -> None:
    """Connect simulated edge nodes to cloudcore, and print their events.

    A hollow node speaks the protocol of its version of KubeEdge as a real one does: it reports its
    status, "runs" the pods bound to it, and has devices that follow their twins. It starts no
    container and needs only a network connection. From 1.19 on it registers itself; a node of 1.1
    should exist in the Kubernetes API:

      kubectl create -f - <<< '{"apiVersion": "v1", "kind": "Node", "metadata":
      {"name": "NODE", "labels": {"node-role.kubernetes.io/edge": ""}}}'

    Stops on SIGINT and SIGTERM.
    """
    if not server.startswith("wss://"):
        raise click.BadParameter(f"{server} does not start with wss://", param_hint="--server")
    if token is not None and kubeedge == "1.1":
        raise click.UsageError("an edge of KubeEdge 1.1 cannot join with a --token; use --certs")
    if token is not None and certs is not None:
        raise click.UsageError("--token and --certs exclude each other")
    names = [node] if count is None else [f"{node}-{number}" for number in range(count)]
    show: Callable[[Event], str] = Event.as_json if output == "json" else Event.as_text
    timing = replace(Timing(), heartbeat=heartbeat, node_status=node_status)

    def edge(name: str, certificate: ssl.SSLContext | CertManager) -> HollowEdge:
        return HollowEdge(
            name,
            server,
            certificate,
            kubeedge=kubeedge,
            project_id=project_id,
            timing=timing,
            report_events=report_events,
            on_event=lambda event: click.echo(show(event)),
            keep_messages=0,
        )

    try:
        if token is not None:
            https = (https_server or _https_of(server)).rstrip("/")
            asyncio.run(_join_and_run(names, https, token, edge))
        else:
            asyncio.run(_run([edge(*each) for each in _contexts(names, certs, data_dir)]))
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise click.ClickException(f"cannot use the certificates: {error}") from error


def _https_of(server: str) -> str:
    """Return where edges join: the host of the server for messages, with the port of joining."""
    host = urlsplit(server).hostname or ""
    return f"https://{f'[{host}]' if ':' in host else host}:{JOIN_PORT}"


def _contexts(
    names: list[str], directory: Path | None, data_dir: Path | None
) -> list[tuple[str, ssl.SSLContext]]:
    if directory is not None:
        shared = tls.from_directory(directory)
        return [(name, shared) for name in names]
    source = pki_directory(data_dir)
    if not (source / "ca.crt").exists():
        raise click.ClickException(
            f"there is no CA in {source}: start `cloudcore run` first, name its data "
            "directory with --data-dir, or give certificates with --certs"
        )
    return [(name, tls.issue(source, name)) for name in names]


async def _join_and_run(
    names: list[str], https: str, token: str, edge: Callable[[str, CertManager], HollowEdge]
) -> None:
    """Join all nodes, a few at a time, and run them."""
    from modules.hollow.v1_23.join import CertManager, JoinError

    room = asyncio.Semaphore(JOINING)

    async def join(name: str) -> CertManager:
        async with room:
            return await CertManager.join(name, https, token)

    try:
        joined = await asyncio.gather(*map(join, names))
    except JoinError as error:
        raise click.ClickException(str(error)) from error
    await _run([edge(*each) for each in zip(names, joined, strict=True)])


async def _run(edges: list[HollowEdge]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    for edge in edges:
        await edge.__aenter__()
    await stop.wait()
    for edge in edges:
        await edge.__aexit__(None, None, None)
