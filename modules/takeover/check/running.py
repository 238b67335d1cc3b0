"""Whether KubeEdge's cloudcore still runs, here or in the cluster, and how to stop it."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import psutil

from modules.common.kube import LEASES, NODES, PODS, KubeClient, NotFound
from modules.common.kube.kinds import DEPLOYMENTS
from modules.common.kubeedge_secrets import NAMESPACE
from modules.common.times import now, parse_time
from modules.takeover.check.subject import Subject
from supervisor.api import Check, Finding

#: The name of its program, and of its Deployment (manifests/charts/cloudcore).
_NAME: Final = "cloudcore"

#: An edge renews its lease every 10 s, and is lost after 40 s.
_FRESH: Final = timedelta(seconds=40)
_LEASES: Final = "kube-node-lease"

#: Seconds for a connection to an address at which it may serve.
_CONNECT: Final = 2.0

_UNIT: Final = re.compile(r"/([^/]+\.service)(?:/|$)")


def checks(subject: Subject) -> list[Check]:
    """Return the checks of processes, addresses, Deployment, and edges that are served."""

    async def deployment(client: KubeClient) -> list[Finding]:
        return await _deployment(client)

    async def served(client: KubeClient) -> list[Finding]:
        return await _edges_served(client, subject.selector)

    found = [
        Check("processes of KubeEdge's cloudcore", _processes),
        subject.api_check("the Deployment of KubeEdge's cloudcore", deployment),
        subject.api_check("the edges that are served", served),
    ]
    if subject.go:
        addresses = subject.go.served
        found.append(Check("the addresses of KubeEdge's cloudcore", lambda: _serving(addresses)))
    return found


def _processes() -> Iterator[Finding]:
    found = [each for each in psutil.process_iter(("exe", "cmdline")) if _is_gos(each.info)]
    for process in found:
        unit = _unit_of(process.pid)
        stop = f"systemctl disable --now {unit}" if unit else f"kill {process.pid}"
        text = f"KubeEdge's cloudcore runs here as process {process.pid}: stop it, then start ours"
        yield Finding.note(text, stop)
    if not found:
        yield Finding.ok("no process of KubeEdge's cloudcore runs on this host")


def _is_gos(info: dict[str, Any]) -> bool:
    # This cloudcore's program is Python; of another user's process only the command line is seen.
    program = info["exe"] or next(iter(info["cmdline"] or ()), "")
    return Path(program).name.startswith(_NAME)


def _unit_of(pid: int) -> str:
    """Return the systemd unit of a process, by its control group; empty if it has none."""
    try:
        groups = Path(f"/proc/{pid}/cgroup").read_text()
    except OSError:
        return ""
    found = _UNIT.search(groups)
    return found[1] if found and not found[1].startswith("user@") else ""


def _serving(addresses: list[tuple[str, int]]) -> Iterator[Finding]:
    open_ones = [f"{host}:{port}" for host, port in addresses if _answers(host, port)]
    if open_ones:
        text = f"a cloudcore listens at {', '.join(open_ones)}, where edges dial"
        yield Finding.note(f"{text}: edges come over when it has stopped and ours listens there")
    else:
        listed = ", ".join(f"{host}:{port}" for host, port in addresses)
        yield Finding.ok(f"nothing listens at {listed}: edges dial there until ours does")


def _answers(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), _CONNECT):
            return True
    except OSError:
        return False


async def _deployment(client: KubeClient) -> list[Finding]:
    try:
        found = await client.get(DEPLOYMENTS, _NAME, NAMESPACE)
    except NotFound:
        return [Finding.ok(f"the cluster has no Deployment {NAMESPACE}/{_NAME}")]
    replicas = (found.get("spec") or {}).get("replicas", 1)
    what = f"the Deployment {NAMESPACE}/{_NAME}{_image_of(found)}"
    if not replicas:
        return [Finding.ok(f"{what} has 0 replicas: it stays there for the way back")]
    pods = await client.list(PODS, NAMESPACE)
    running = [
        f"{pod['metadata']['name']} on {(pod.get('spec') or {}).get('nodeName') or 'no node'}"
        for pod in pods.items
        if pod["metadata"]["name"].startswith(f"{_NAME}-")
    ]
    count = "1 replica" if replicas == 1 else f"{replicas} replicas"
    text = f"{what} has {count} ({', '.join(running) or 'no pod'}): stop it, keep it"
    stop = f"kubectl -n {NAMESPACE} scale deployment {_NAME} --replicas=0"
    return [Finding.note(text, stop)]


def _image_of(deployment: dict[str, Any]) -> str:
    spec = ((deployment.get("spec") or {}).get("template") or {}).get("spec") or {}
    images = [each.get("image") for each in spec.get("containers") or () if each.get("image")]
    return f" with {', '.join(images)}" if images else ""


async def _edges_served(client: KubeClient, selector: str) -> list[Finding]:
    """Look which edges renew their leases: somebody serves them."""
    nodes = await client.list(NODES, label_selector=selector)
    names = {node["metadata"]["name"] for node in nodes.items}
    leases = await client.list(LEASES, _LEASES)
    fresh = [
        lease["metadata"]["name"]
        for lease in leases.items
        if lease["metadata"]["name"] in names
        and (renewed := parse_time((lease.get("spec") or {}).get("renewTime")))
        and now() - renewed < _FRESH
    ]
    if not fresh:
        return [Finding.ok("no edge has renewed its lease within 40 s: none is served now")]
    some = ", ".join(sorted(fresh)[:5]) + (" ..." if len(fresh) > 5 else "")
    return [Finding.note(f"{len(fresh)} of {len(names)} edges are served now: {some}")]
