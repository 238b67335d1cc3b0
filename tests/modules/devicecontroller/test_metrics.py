"""What /metrics shows of DeviceController is what has happened."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client import REGISTRY

from modules.common.kube import DEVICEMODELS, DEVICES, TooManyRequests
from modules.common.kube.transport import Request, Transport
from tests.modules.devicecontroller.api import Api
from tests.modules.devicecontroller.controller import Controller
from tests.modules.devicecontroller.samples import LED, NODE, device, model
from tests.support.waiting import until

QUEUES = ("announcements", "profiles", "rejections", "statuses")


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"cloudcore_devicecontroller_{name}", labels) or 0.0


def counts() -> list[float]:
    return [value("messages_sent_total"), value("sync_latency_seconds_count")]


def depths() -> dict[str, float]:
    return {queue: value("queue_depth", queue=queue) for queue in QUEUES}


async def test_what_is_sent_and_what_is_rejected(api: Api, controller: Controller) -> None:
    sent, timed = counts()
    seconds = value("sync_latency_seconds_sum")
    await api.create(DEVICEMODELS, model())
    for name, of in (("good", {}), ("bad", {"model": "none"})):
        await api.create(DEVICES, device(name, **of))
        await controller.said()
    await until(lambda: counts() == [sent + 2, timed + 2])
    assert value("sync_latency_seconds_sum") > seconds
    await until(lambda: value("rejected_devices") == 1)
    await api.client.delete(DEVICES, "bad", "default")
    await until(lambda: value("rejected_devices") == 0)
    await until(lambda: depths() == dict.fromkeys(QUEUES, 0.0))


async def test_what_waits_for_the_api_server(
    api: Api, controller: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it takes no writes: a profile, a condition and a reported value."""
    send = Transport.send
    refusing = True

    async def send_reads(transport: Transport, request: Request) -> Any:
        if refusing and transport.module == "devicecontroller" and request.method != "GET":
            raise TooManyRequests(429, "TooManyRequests", "wait", retry_after=0.05)
        return await send(transport, request)

    monkeypatch.setattr(Transport, "send", send_reads)
    await api.create(DEVICEMODELS, model())
    await api.create(DEVICES, device())
    await controller.said()
    twin = {"power-status": {"actual": {"value": "ON"}, "metadata": {"type": "string"}}}
    await controller.hear(NODE, f"device/{LED}/twin/edge_updated", {"twin": twin})
    waiting = {"announcements": 0.0, "profiles": 1.0, "rejections": 1.0, "statuses": 1.0}
    await until(lambda: depths() == waiting)
    refusing = False
    await until(lambda: depths() == dict.fromkeys(QUEUES, 0.0))
