"""Hollow edges that run until a signal, with the certificates that they connect with."""

from __future__ import annotations

import asyncio
import signal
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import click

from modules.common.host_port import host_port
from modules.common.pki.cli import pki_directory
from modules.hollow import tls
from modules.hollow.edge import HollowEdge
from supervisor.cli.progress import Progress

if TYPE_CHECKING:
    from modules.hollow.v1_23.join import CertManager

#: The port of CloudHub's HTTPS server, at which edges join.
JOIN_PORT: Final = 10002
#: Nodes that join at the same time.
JOINING: Final = 16


def https_of(server: str) -> str:
    """Return where edges join: the host of the server for messages, with the port of joining."""
    host = urlsplit(server).hostname or ""
    return f"https://{host_port(host, JOIN_PORT)}"


def contexts(
    names: list[str], directory: Path | None, data_dir: Path | None, output: str
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
    made: list[tuple[str, ssl.SSLContext]] = []
    with Progress("issuing certificates", output) as progress:
        for name in names:
            progress.text = f"issuing certificates: {len(made)} of {len(names)}"
            made.append((name, tls.issue(source, name)))
    return made


def join_and_run(
    names: list[str],
    https: str,
    token: str,
    edge: Callable[[str, CertManager], HollowEdge],
    output: str,
) -> None:
    """Join all nodes, a few at a time, and run them until SIGINT or SIGTERM."""
    asyncio.run(_join_and_run(names, https, token, edge, output))


def run(edges: list[HollowEdge]) -> None:
    """Run edges until SIGINT or SIGTERM."""
    asyncio.run(_run(edges))


async def _join_and_run(
    names: list[str],
    https: str,
    token: str,
    edge: Callable[[str, CertManager], HollowEdge],
    output: str,
) -> None:
    """Join all nodes, a few at a time, and run them."""
    from modules.hollow.v1_23.join import CertManager, JoinError

    room = asyncio.Semaphore(JOINING)

    progress = Progress("joining", output)
    number = 0

    async def join(name: str) -> CertManager:
        nonlocal number
        async with room:
            certificate = await CertManager.join(name, https, token)
        number += 1
        progress.text = f"joining: {number} of {len(names)}"
        return certificate

    try:
        with progress:
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
