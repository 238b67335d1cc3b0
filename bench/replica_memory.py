"""What the objects of a fleet take in one cloudcore alone, and in one of several.

Each case runs in a process of its own, on objects that are made when they are listed: pods of a
Deployment, Secrets of 4 kB of which no pod needs any, and devices of ten properties of both API
versions, as many of each: python -m bench.replica_memory [PODS].
"""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, Final, cast

import msgspec
import psutil

from bench.replica_objects import MAKERS, ON_A_NODE
from modules.common.kube import (
    DEVICES,
    DEVICES_V1BETA1,
    PODS,
    SECRETS,
    KubeClient,
    Page,
    Reflector,
    Resource,
)
from modules.common.sync.outlines import Outline, OutlineReflector
from modules.common.sync.record import Record
from modules.devicecontroller.v1alpha1.device import keep_compressed, keep_device
from modules.devicecontroller.v1alpha1.sync.inventory import Inventory as InventoryOfV1alpha1
from modules.devicecontroller.v1beta1.inventory import Inventory
from modules.devicecontroller.v1beta1.objects import compressing, reader
from modules.devicecontroller.v1beta1.shapes import DEVICE
from modules.edgecontroller.downstream.own_pods import OwnPods
from modules.edgecontroller.downstream.pods import PodEventHandler
from modules.edgecontroller.downstream.state import State
from modules.edgecontroller.messages import POD
from modules.edgecontroller.objects import keeping

_OF_SECRETS: Final = ("whole", "outlines")
_OF_V1BETA1: Final = ("v1beta1", "compressed-v1beta1")
_OF_V1ALPHA1: Final = ("v1alpha1", "compressed-v1alpha1")
_PAGE: Final = 500


class Api:
    """Lists pods, Secrets or devices, of which none is kept here."""

    module = "bench"
    health = SimpleNamespace(served=lambda _: None)

    def __init__(self, count: int) -> None:
        self._count = count

    async def pages(
        self,
        resource: Resource,
        *_: Any,
        field_selector: str = "",
        page_size: int = _PAGE,
        **__: Any,
    ) -> AsyncGenerator[Page]:
        first, last = 0, self._count
        if field_selector.startswith("spec.nodeName="):
            first = int(field_selector.rpartition("-")[2]) * ON_A_NODE
            last = first + ON_A_NODE
        for start in range(first, last, page_size or last):
            numbers = range(start, min(last, start + (page_size or last)))
            make = MAKERS[resource]
            text = msgspec.json.encode([make(number) for number in numbers])
            yield Page(msgspec.json.decode(text), "1000000000")

    async def follow(self, *_: Any, **options: Any) -> None:
        options["on_open"]()
        await asyncio.Event().wait()


async def _measure_v1alpha1(case: str, count: int) -> None:
    before = _resident()
    inventory = InventoryOfV1alpha1({}, {}, {})
    reflector = Reflector(
        cast("KubeClient", Api(count)),
        DEVICES,
        lambda event: inventory.add(event.object),
        store=inventory.devices,
        keep=keep_device if case == "v1alpha1" else keep_compressed,
    )
    async with _running(reflector):
        _report(case, reflector, "devices of v1alpha1", before)


async def _measure_v1beta1(case: str, count: int) -> None:
    before = _resident()
    inventory = Inventory({})

    keep = reader(DEVICE, DEVICES_V1BETA1, lambda: True)
    reflector = Reflector(
        cast("KubeClient", Api(count)),
        DEVICES_V1BETA1,
        lambda event: inventory.add(event.object),
        store=inventory.devices,
        keep=keep if case == "v1beta1" else compressing(keep),
    )
    async with _running(reflector):
        _report(case, reflector, "devices of v1beta1", before)


async def _measure_secrets(case: str, count: int) -> None:
    before = _resident()
    api = cast("KubeClient", Api(count))
    if case == "whole":
        reflector = Reflector(api, SECRETS, keep=keeping(SECRETS))
    else:
        reflector = OutlineReflector(
            api,
            SECRETS,
            keep=Outline.of,
            outline_of=Outline.of,
            is_needed=lambda _: False,
            on_read=lambda _: None,
        )
    async with _running(reflector):
        _report(case, reflector, "Secrets", before)


async def _measure(case: str, count: int) -> None:
    state = State(cast("Record", None))
    before = _resident()
    kind: Callable[..., Reflector] = Reflector if case == "all" else OwnPods
    reflector = kind(
        cast("KubeClient", Api(count)),
        PODS,
        PodEventHandler(state).handle,
        keep=keeping(PODS),
        store=state.stores[POD],
        field_selector="spec.nodeName!=",
    )
    async with _running(reflector):
        if isinstance(reflector, OwnPods):
            nodes = [f"edge-{number}" for number in range(0, count // ON_A_NODE, 3)]
            if case != "none":
                for node in nodes:
                    await reflector.load(node, is_of_v1_1=False)
            if case == "gone":
                reflector.forget(nodes)
        _report(case, reflector, "pods", before)


@asynccontextmanager
async def _running(reflector: Reflector) -> AsyncIterator[None]:
    """Run a reflector, from when it has its first list."""
    running = asyncio.create_task(reflector.run())
    await reflector.synced()
    yield
    running.cancel()
    await asyncio.wait((running,))


def _report(case: str, reflector: Reflector, what: str, before: int) -> None:
    gc.collect()
    kept, mib = len(reflector.store), (_resident() - before) / 2**20
    print(f"{case:20} {kept:>8,} {what} kept {mib:>8.1f} MiB", flush=True)


def _resident() -> int:
    resident: int = psutil.Process().memory_info().rss
    return resident


def main() -> None:
    if len(sys.argv) == 3:
        case, number = sys.argv[1], int(sys.argv[2])
        measure = _measure_secrets if case in _OF_SECRETS else _measure
        measure = _measure_v1beta1 if case in _OF_V1BETA1 else measure
        measure = _measure_v1alpha1 if case in _OF_V1ALPHA1 else measure
        asyncio.run(measure(case, number))
        return
    count = sys.argv[1] if len(sys.argv) > 1 else "20000"
    for case in ("all", "third", "none", "gone", *_OF_SECRETS, *_OF_V1BETA1, *_OF_V1ALPHA1):
        subprocess.run([sys.executable, "-m", "bench.replica_memory", case, count], check=True)


if __name__ == "__main__":
    main()
