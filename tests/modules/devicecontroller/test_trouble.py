"""An API server that is overloaded or faulty loses nothing of a device."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, Final

import pytest

from ipc import ChannelState
from modules.common.kube import (
    DEVICEMODELS,
    DEVICES,
    ApiError,
    Conflict,
    TooManyRequests,
    Unreachable,
)
from modules.common.kube.transport import Request, Transport
from modules.devicecontroller import controller as devicecontroller
from tests.modules.devicecontroller.api import Api
from tests.modules.devicecontroller.controller import Controller
from tests.modules.devicecontroller.samples import LED, NODE, device, model
from tests.support.waiting import until

TROUBLE: Final[list[Callable[[], Exception]]] = [
    lambda: TooManyRequests(429, "TooManyRequests", "wait", retry_after=0.05),
    lambda: ApiError(500, "InternalError", "etcdserver: leader changed"),
    lambda: Unreachable("timed out"),
    lambda: Conflict(409, "Conflict", "the object has been modified"),
]


async def test_everything_is_done_in_the_end(
    api: Api, controller: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Profile, desired and reported values, condition and Event: each request fails at first."""
    failed: Counter[tuple[str, str]] = Counter()
    send = Transport.send

    async def send_at_last(transport: Transport, request: Request) -> Any:
        about = request.method, request.path
        if transport.module == "devicecontroller" and failed[about] < len(TROUBLE):
            failed[about] += 1
            make_error = TROUBLE[failed[about] - 1]
            raise make_error()
        return await send(transport, request)

    monkeypatch.setattr(Transport, "send", send_at_last)
    await api.create(DEVICES, device())
    assert (await controller.said()).content["added_devices"][0]["id"] == LED
    twin = {"power-status": {"actual": {"value": "ON"}, "metadata": {"type": "string"}}}
    heard = await controller.hear(NODE, f"device/{LED}/twin/edge_updated", {"twin": twin})
    assert (await controller.said()).parent_id == heard.id
    found = await api.client.get(DEVICES, LED, "default")
    assert found["status"]["twins"][0]["reported"]["value"] == "ON"
    assert found["status"]["twins"][0]["desired"]["value"] == "OFF"
    await api.event("UnknownModel")
    await api.create(DEVICEMODELS, model())
    await api.profile(NODE, lambda text: text is not None and LED in text)
    await api.device(
        LED, lambda f: any(c["status"] == "True" for c in f["status"].get("conditions", ()))
    )
    assert {method for method, _ in failed} >= {"PATCH", "POST"}


async def test_a_module_that_stops_after_cloudhub_waits_for_no_confirmation(
    controller: Controller, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(devicecontroller, "_DRAIN", 3600.0)
    controller.cloudhub.registry.set_state("cloudhub", ChannelState.STOPPED)
    await controller.hear(NODE, f"device/{LED}/twin/edge_updated", {"twin": {}})
    await until(lambda: "retrying until it works" in caplog.text)
    await controller.stop()
