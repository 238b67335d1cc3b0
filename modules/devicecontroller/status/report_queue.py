"""The queue of what edges have reported of devices, until it is written and acknowledged."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

import ipc
from modules.common.kube import KubeError
from modules.common.sync.keyed_queue import KeyedQueue

Device = TypeVar("Device", bound=Hashable)
Report = TypeVar("Report")
Done = Callable[[], Awaitable[None]]


class ReportQueue(Generic[Device, Report]):
    """Reports in order for each device, several devices at a time.

    Reports that arrive while the API is slow or away are written together afterwards. `queue` can
    also be given a device by itself: it is then written without a report.
    """

    def __init__(
        self,
        write: Callable[[Device, list[Report]], Awaitable[None]],
        put_aside: Callable[[Device, Exception], None],
    ) -> None:
        """Set up; what `write` raises but a KubeError sets the device aside, and is not retried."""
        self._write = write
        self._put_aside = put_aside
        self._pending: dict[Device, list[tuple[Report, Done]]] = {}
        self.queue: KeyedQueue[Device] = KeyedQueue(
            self._handle, (KubeError, ipc.ChannelError), put_aside
        )

    def add(self, device: Device, report: Report, done: Done) -> None:
        """Enqueue a report; when it is written, `done()` is awaited.

        `done` may raise a ChannelError to be retried.
        """
        self._pending.setdefault(device, []).append((report, done))
        self.queue.add(device)

    async def _handle(self, device: Device) -> None:
        batch = list(self._pending.get(device, ()))
        try:
            await self._write(device, [report for report, _ in batch])
        except KubeError:
            raise
        except Exception as error:  # the reports are acknowledged all the same
            self._put_aside(device, error)
        for item in batch:
            _, done = item
            await done()
            self._pending[device].remove(item)
        if not self._pending.get(device):
            self._pending.pop(device, None)
