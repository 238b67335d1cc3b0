"""Devices in both directions while their edges move between three cloudcores."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final

import pytest

from ipc import Message
from modules.common.kube import (
    DEVICEMODELS,
    DEVICEMODELS_V1BETA1,
    DEVICES,
    DEVICES_V1BETA1,
    DEVICESTATUSES,
    NotFound,
    Resource,
)
from modules.hollow import manifests
from modules.hollow.demo import observe
from modules.hollow.edge import HollowEdge
from modules.hollow.manifests import LED, PROPERTY
from tests.e2e.replicas import Fleet, three_replicas

from .test_todays_devices import route, told, twin_of

pytestmark = pytest.mark.timeout(300)

#: An edge that knows devices of v1beta1, and one of 1.1, each with a device of its version.
EDGE: Final = "fleet-1"
LAMP: Final = "lamp"
OLD_EDGE: Final = "fleet-2"
OLD_LAMP: Final = "old-lamp"
#: All that there is, in the order in which it is deleted.
MADE: Final[tuple[tuple[Resource, str], ...]] = (
    (DEVICES_V1BETA1, LAMP),
    (DEVICES, OLD_LAMP),
    (DEVICEMODELS_V1BETA1, "lamps"),
    (DEVICEMODELS, LED),
)


async def test_devices_follow_and_report_at_whatever_replica_their_edge_is() -> None:
    async with three_replicas() as fleet:
        a, b, c = fleet.replicas
        edge = await fleet.add(EDGE, a)
        old = await fleet.add(OLD_EDGE, b, kubeedge="1.1")
        try:
            await create_devices(fleet)
            await follows_and_reports(fleet, edge, "ON")
            await old_follows_and_reports(fleet, old, "ON")
            await fleet.recorded("Device", 1)

            # What has been acknowledged is not sent again by the replica that takes the edge over.
            edge.received.clear()
            await fleet.move(EDGE, b)
            await fleet.move(OLD_EDGE, c)
            await desire(fleet, "DIM")
            await follows_and_reports(fleet, edge, "DIM")
            await old_follows_and_reports(fleet, old, "DIM")
            assert sent(edge) == [("update", f"default/device/{LAMP}")]

            # What changes after the death of a replica comes by the next one.
            edge.received.clear()
            for name in (EDGE, OLD_EDGE):
                fleet.dials(name, a)
            await fleet.kill(b)
            await fleet.kill(c)
            await desire(fleet, "OFF")
            await follows_and_reports(fleet, edge, "OFF")
            await old_follows_and_reports(fleet, old, "OFF")
            assert sent(edge) == [("update", f"default/device/{LAMP}")]

            # A device that is deleted while its edge is away is gone when that is at a replica.
            await fleet.start(b)
            for name in (EDGE, OLD_EDGE):
                fleet.dials(name, b)
            await fleet.stop(a)
            await delete_devices(fleet)
            await edge.wait_until(lambda: has_none(edge), 20, "no device")
            await old.wait_until(lambda: not old.devices, 20, "no device")
            await observe.gone_from_api(fleet.api, DEVICESTATUSES, LAMP, "default")
        finally:
            await delete_devices(fleet)


async def create_devices(fleet: Fleet) -> None:
    model = manifests.device_model_v1beta1("lamps")
    await fleet.api.create(DEVICEMODELS_V1BETA1, model, "default")
    device = manifests.device_v1beta1(LAMP, EDGE, "ON", model="lamps", cycle=0.3)
    await fleet.api.create(DEVICES_V1BETA1, device, "default")
    await fleet.api.create(DEVICEMODELS, manifests.device_model(), "default")
    old_device = manifests.applied(manifests.device(OLD_LAMP, OLD_EDGE, "ON"))
    await fleet.api.create(DEVICES, old_device, "default")


async def desire(fleet: Fleet, value: str) -> None:
    """Change the value that both devices are to have."""
    device = manifests.device_v1beta1(LAMP, EDGE, value, model="lamps", cycle=0.3)
    await fleet.api.patch(DEVICES_V1BETA1, LAMP, {"spec": device["spec"]}, "default")
    old_device = manifests.applied(manifests.device(OLD_LAMP, OLD_EDGE, value))
    await fleet.api.patch(DEVICES, OLD_LAMP, old_device, "default")


async def delete_devices(fleet: Fleet) -> None:
    for resource, name in MADE:
        with suppress(NotFound):
            await fleet.api.delete(resource, name, "default")


async def follows_and_reports(fleet: Fleet, edge: HollowEdge, value: str) -> None:
    """Wait until a device is as desired at its mapper, and the API has what it has reported."""

    def follows() -> bool:
        return twin_of(edge).mapper.values.get(f"default/{LAMP}", {}).get(PROPERTY) == value

    await edge.wait_until(follows, 20, value)

    def says(status: Any) -> bool:
        (twin,) = status["status"]["twins"]
        return bool(
            twin["reported"]["value"] == value == twin["observedDesired"]["value"]
            and status["status"]["state"] == "online"
        )

    await observe.in_api(fleet.api, DEVICESTATUSES, LAMP, "default", says)


async def old_follows_and_reports(fleet: Fleet, edge: HollowEdge, value: str) -> None:
    def says(device: Any) -> bool:
        (twin,) = device["status"]["twins"]
        return bool(twin["desired"]["value"] == value == twin["reported"]["value"])

    await observe.in_api(fleet.api, DEVICES, OLD_LAMP, "default", says)
    assert edge.devices[OLD_LAMP]["twin"][PROPERTY]["actual"]["value"] == value


def sent(edge: HollowEdge) -> list[tuple[str, str]]:
    return [route(message)[1:3] for message in told(edge) if about_devices(message)]


def about_devices(message: Message) -> bool:
    return message.resource.startswith("default/device")


def has_none(edge: HollowEdge) -> bool:
    found = twin_of(edge).mapper.devices, edge.devices, edge.get(f"default/device/{LAMP}")
    return not any(found)
