"""The queue of what edges have reported of devices, until it is written and acknowledged."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

import ipc
from modules.common.kube import KubeError
from modules.common.replicas.report_fence import HeldElsewhere
from modules.common.sync.keyed_queue import KeyedQueue

#: Reports of one device that wait, at most: a quarter of `update_device_status_buffer`.
_MOST: Final = 256

Device = TypeVar("Device", bound=Hashable)
Reports = TypeVar("Reports")


@dataclass(frozen=True, eq=False)
class Origin:
    """The message of a report: its node, and the two ends that it may have."""

    node: str
    confirm: Callable[[], Awaitable[None]]
    """awaited when the report is written; may raise a ChannelError to be retried"""
    drop: Callable[[], None]
    """called instead when it is not to be written any more"""


class ReportQueue(Generic[Device, Reports]):
    """Reports in order for each device, several devices at a time.

    Reports that arrive while the API is slow or away are written together afterwards. `queue` can
    also be given a device by itself: it is then written without a report.
    """

    def __init__(
        self,
        write: Callable[[Device, list[Reports]], Awaitable[None]],
        put_aside: Callable[[Device, Exception], None],
    ) -> None:
        """Set up; what `write` raises but a KubeError sets the device aside, and is not retried."""
        self._write = write
        self._put_aside = put_aside
        self._pending: dict[Device, list[tuple[Reports, Origin]]] = {}
        self._written: dict[Device, list[Origin]] = {}
        """what is written, and not confirmed yet"""
        self._writing: dict[Device, asyncio.Timeout] = {}
        """what ends the writing of a device"""
        self.queue: KeyedQueue[Device] = KeyedQueue(
            self._handle, (KubeError, ipc.ChannelError), put_aside
        )

    def add(self, device: Device, reports: Reports, origin: Origin) -> None:
        """Enqueue what a message reports.

        If too much waits, the oldest is dropped, which its edge sends again, since it gets no
        confirmation: a device that cannot be written must not keep the room of all others.
        """
        pending = self._pending.setdefault(device, [])
        if len(pending) >= _MOST:
            pending.pop(0)[1].drop()
        pending.append((reports, origin))
        self.queue.add(device)

    def drop(self, node: str) -> None:
        """Drop what a node has reported, what is being written too."""
        for device, pending in list(self._pending.items()):
            dropped = [item for item in pending if item[1].node == node]
            self._drop(device, dropped)
            writing = self._writing.get(device)
            if dropped and writing and writing.when() is None:  # or it is being dropped already
                writing.reschedule(asyncio.get_running_loop().time())

    def _drop(self, device: Device, items: list[tuple[Reports, Origin]]) -> None:
        pending = self._pending.get(device, [])
        for item in items:
            if item in pending:
                pending.remove(item)
                item[1].drop()
        if not pending:
            self._pending.pop(device, None)

    async def _handle(self, device: Device) -> None:
        await self._confirm(device)
        batch = list(self._pending.get(device, ()))
        writing = self._writing[device] = asyncio.timeout(None)
        try:
            async with writing:
                await self._write(device, [reports for reports, _ in batch])
        except KubeError:
            raise
        except HeldElsewhere:
            self._drop(device, batch)
            return
        except Exception as error:
            if writing.expired():
                self.queue.add(device)  # what was not dropped is written anew
                return
            self._put_aside(device, error)  # the reports are acknowledged all the same
        finally:
            del self._writing[device]
        self._note_written(device, batch)
        await self._confirm(device)

    def _note_written(self, device: Device, batch: list[tuple[Reports, Origin]]) -> None:
        pending = self._pending.get(device, [])
        for item in batch:
            if item in pending:  # otherwise it was dropped at the last moment
                pending.remove(item)
                self._written.setdefault(device, []).append(item[1])
        if not pending:
            self._pending.pop(device, None)

    async def _confirm(self, device: Device) -> None:
        while written := self._written.get(device):
            await written[0].confirm()
            del written[0]
        self._written.pop(device, None)
