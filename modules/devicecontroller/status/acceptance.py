"""The condition Accepted of devices, and Events about devices that are rejected."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple, Protocol

from modules.common import times
from modules.common.kube import (
    Aside,
    BadRequest,
    Invalid,
    Key,
    KubeError,
    NotFound,
    Object,
    Reason,
    SetAside,
    Subject,
    explain,
    reference,
)
from modules.common.sync.keyed_queue import KeyedQueue
from modules.devicecontroller.duties import Duty
from modules.devicecontroller.status.conditions import conditions_of, keep_conditions, label
from modules.devicecontroller.status.status_patch import (
    StatusPatcher,
)

#: The type of the condition.
ACCEPTED: Final = "Accepted"

#: Seconds that a fault must last before it is reported: `kubectl apply -f folder/` may create a
#: device before its model, depending on the names of the files.
_GRACE: Final = 1.0

#: The same where another replica may report it.
_LEFT: Final = 4.0

log = logging.getLogger(__name__)


class DeviceFault(NamedTuple):
    """The fault for which a device is rejected; `reason` is for programs."""

    reason: Reason
    message: str


class Known(Protocol):
    """The devices of one API version: those that are usable, and those that are set aside."""

    devices: dict[Key, Object]
    aside: Mapping[Key, Aside]


class Acceptance:
    """Writes the condition Accepted of each device, and an Event for each new fault."""

    def __init__(
        self,
        status: StatusPatcher,
        known: Known,
        fault_of: Callable[[Object], DeviceFault | None],
        set_aside: SetAside,
        *,
        on_change: Callable[[], None],
        duty: Callable[[Object], Duty] = lambda _: Duty.OURS,
    ) -> None:
        """Set up; `on_change` is called when `count` has changed.

        With several replicas, `duty` says whose work a device is.
        """
        self._duty = duty
        self._status = status
        self._recorder = set_aside.recorder
        self._known = known
        self._fault_of = fault_of
        self._on_change = on_change
        self._told: dict[Key, DeviceFault] = {}
        self._set_aside = set_aside
        self.queue: KeyedQueue[Key] = KeyedQueue(self._write_condition, KubeError, self._put_aside)

    def enqueue(self, device: Key) -> None:
        """Enqueue a device that has changed, or that depends on an object that has changed."""
        duty = self._duty_of(device)
        if duty is Duty.OTHERS:
            self._told.pop(device, None)
        else:
            self.queue.add_later(device, _GRACE if duty is Duty.OURS else _LEFT)

    @property
    def count(self) -> int:
        """The number of devices with a reported fault."""
        return len(self._told)

    def _duty_of(self, key: Key) -> Duty:
        """Return whose work a device is; one that is gone or set aside belongs to no node."""
        return self._duty(self._known.devices.get(key) or {})

    def _put_aside(self, key: Key, error: Exception) -> None:
        device = self._known.devices.get(key)
        self._set_aside.put(Subject.of(self._status.resource, device), error)

    async def _write_condition(self, key: Key) -> None:
        aside = self._known.aside.get(key)
        device = (
            keep_conditions(self._status.resource, aside.object)
            if aside
            else self._known.devices.get(key)
        )
        if aside:
            fault: DeviceFault | None = DeviceFault(*explain(aside.error))
        else:
            fault = self._fault_of(device) if device else None
        is_left = self._duty_of(key) is Duty.OURS_IF_LEFT
        if is_left and device and fault is None and _is_of_other_version(device):
            return  # only the replica to which its edge connects knows better
        if fault is None or device is None:
            healed = self._told.pop(key, None)
        elif self._told.get(key) != fault:
            # What is set aside has been logged already, and another replica may have told it.
            if not aside and not (is_left and _marked(device, fault)):
                log.warning("device %s: rejected: %s", label(device), fault.message)
                involved = reference(self._status.resource, device)
                self._recorder.event(involved, "Warning", fault.reason, fault.message)
            self._told[key] = fault
            healed = fault
        else:
            healed = None
        if healed:
            self._on_change()
        if device and device["metadata"].keys() >= {"namespace", "name"}:
            await self._mark(device, fault)

    async def _mark(self, device: Object, fault: DeviceFault | None) -> None:
        """Write a device's condition if it has changed."""
        if _marked(device, fault):
            return
        try:
            await self._status.patch(
                device,
                lambda found: {"conditions": _conditions(found, fault)},
                lambda found: _marked(found, fault),
                keep=lambda found: keep_conditions(self._status.resource, found),
            )
        except NotFound:
            log.debug("device %s: already deleted", label(device))
        except (BadRequest, Invalid) as error:
            # A retry cannot mend it: the API server rejects the device as a whole.
            self._set_aside.put(self._status.subject(device), error)


def _is_of_other_version(device: Object) -> bool:
    return any(
        each.get("type") == ACCEPTED and each.get("reason") == Reason.OTHER_VERSION
        for each in conditions_of(device)
    )


def _marked(device: Object, fault: DeviceFault | None) -> bool:
    return _conditions(device, fault) == conditions_of(device)


def _conditions(device: Object, fault: DeviceFault | None) -> list[Object]:
    """Return a device's conditions with the desired one of ours; those of others are kept."""
    others = [each for each in conditions_of(device) if each.get("type") != ACCEPTED]
    before = next((each for each in conditions_of(device) if each.get("type") == ACCEPTED), {})
    status = "False" if fault else "True"
    unchanged = before.get("status") == status and before.get("lastTransitionTime")
    return [
        *others,
        {
            "type": ACCEPTED,
            "status": status,
            "reason": fault.reason if fault else Reason.ACCEPTED,
            "message": fault.message if fault else "the device is valid",
            "lastTransitionTime": unchanged or times.format_now(),
        },
    ]
