"""`cloudcore hollow`: simulated edge nodes on the command line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from modules.common.pki.cli import data_dir_option
from modules.hollow.timing import Timing
from modules.hollow.versions import PROJECT_ID, VERSIONS
from supervisor.cli.commands import Command, option, option_group
from supervisor.cli.options import output_option

if TYPE_CHECKING:
    import ssl

    from modules.hollow.v1_23.join import CertManager


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
        metavar="DIR",
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
        help="Interval between two reports of the node's status; from 1.15 on, between two looks "
        "at it: only a status that changed is reported.",
    ),
    option(
        "--report-events",
        is_flag=True,
        help="Report Events of nodes and pods, from 1.15 on (edged.reportEvent).",
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
    status, "runs" the pods bound to it, and has devices that do what is desired and report it. It
    starts no container and needs only a network connection. From 1.15 on it registers itself; a
    node of 1.1 should exist in the Kubernetes API:

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
    from modules.hollow import running
    from modules.hollow.edge import HollowEdge
    from modules.hollow.events import Event

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
            https = (https_server or running.https_of(server)).rstrip("/")
            running.join_and_run(names, https, token, edge, output)
        else:
            contexts = running.contexts(names, certs, data_dir, output)
            running.run([edge(*each) for each in contexts])
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        from ipc.files import in_words

        text = in_words(error) if error.filename else f"cannot use the certificates: {error}"
        raise click.ClickException(text) from error
