"""HollowEdge: one simulated edge node, for tests, benchmarks and `cloudcore hollow`."""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from ipc import Message
from modules.hollow.csi import OPERATIONS, CsiPlugin
from modules.hollow.events import Event
from modules.hollow.generations import assemble
from modules.hollow.link import FORMS, Link
from modules.hollow.store import Store
from modules.hollow.timing import Timing
from modules.hollow.versions import PROJECT_ID, VERSIONS

if TYPE_CHECKING:  # it takes a while to import, and few edges join
    from modules.hollow.v1_23.join import CertManager

# Groups that an edge knows (edge/pkg/edgehub) and that are simulated; it discards the rest.
_META_GROUPS: Final = ("resource", "func")
_TWIN_GROUP: Final = "twin"


def _present(_: Any) -> bool:
    return True


class HollowEdge:
    """A simulated edge node; runs inside `async with`, or as long as `run()` does.

    `server` is `wss://HOST:PORT`. `tls` carries the client certificate (modules.hollow.tls), or is
    the CertManager that renews it. `kubeedge` is a version of modules.hollow.versions.VERSIONS.
    What is stored is in `objects` (key `namespace/type/name`), `pods` and the like
    (`namespace/name`), `devices` and CSI `volumes` (id); the last `keep_messages` messages are in
    `received`.
    """

    def __init__(
        self,
        node: str,
        server: str,
        tls: ssl.SSLContext | CertManager | None = None,
        *,
        kubeedge: str = "1.23",
        project_id: str = PROJECT_ID,
        timing: Timing = Timing(),  # noqa: B008 - frozen
        report_events: bool = False,
        on_event: Callable[[Event], None] | None = None,
        keep_messages: int = 1000,
    ) -> None:
        self.node = node
        self.version = VERSIONS[kubeedge]
        self.tls: ssl.SSLContext | None
        self._certificates: CertManager | None
        if tls is None or isinstance(tls, ssl.SSLContext):
            self.tls, self._certificates = tls, None
        else:
            self.tls, self._certificates = tls.identity.context(), tls
        self.received: deque[Message] = deque(maxlen=keep_messages)
        self.received_total = 0
        self.store = Store(self._wake)
        self.devices: dict[str, dict[str, Any]] = {}
        self.volumes: dict[str, dict[str, Any]] = {}
        self._url = f"{server.rstrip('/')}/{project_id}/{node}/events"
        self._headers = {"node_id": node, "project_id": project_id, "ConnectionUse": "msg"}
        self._timing = timing
        self._report_events = report_events
        self._on_event = on_event
        self._waiters: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []
        self._task: asyncio.Task[None] | None = None
        self._assemble()

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self.run(), name=f"hollow {self.node}")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            if not self._task.cancelled():
                self._task.result()

    async def run(self) -> None:
        """Run the edge until cancelled."""
        self.twin.start()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self.edged.run())
                tasks.create_task(self.link.run())
                if self._certificates is not None:
                    tasks.create_task(self._certificates.keep(self._use, self._emit))
        finally:
            self.edged.stop()
            self.twin.stop()
            self.csi.stop()

    async def restart(self, *, lose_database: bool = False) -> None:
        """Stop the edge that `async with` has started, and start it again.

        What it has stored is there again, unless its database is lost meanwhile.
        """
        await self.__aexit__(None, None, None)
        if lose_database:
            self.store.clear()
            self.devices.clear()
        self._assemble()
        await self.__aenter__()

    @property
    def connected(self) -> bool:
        return self.link.connected

    @property
    def objects(self) -> dict[str, Any]:
        return self.store.objects

    @property
    def pods(self) -> dict[str, Any]:
        return self.store.of_type("pod")

    @property
    def configmaps(self) -> dict[str, Any]:
        return self.store.of_type("configmap")

    @property
    def secrets(self) -> dict[str, Any]:
        return self.store.of_type("secret")

    @property
    def services(self) -> dict[str, Any]:
        return self.store.of_type("service")

    @property
    def endpoints(self) -> dict[str, Any]:
        return self.store.of_type("endpoints")

    def get(self, key: str) -> Any:
        """Return the object of a key (`default/pod/p1`); None if there is none.

        A device is that of the edge's list: `device/ID`, which is `device/NAME` or, from KubeEdge
        1.16 on, `device/NAMESPACE/NAME`.
        """
        kind, _, name = key.partition("/")
        return self.devices.get(name) if kind == "device" else self.objects.get(key)

    async def wait_for(
        self, key: str, predicate: Callable[[Any], bool] = _present, timeout: float = 10.0
    ) -> Any:
        """Wait until the object is stored and fits; the TimeoutError lists what is stored."""

        def fits() -> bool:
            value = self.get(key)
            return value is not None and predicate(value)

        await self.wait_until(fits, timeout, f"{key} as wanted")
        return self.get(key)

    async def wait_gone(self, key: str, timeout: float = 10.0) -> None:
        await self.wait_until(lambda: self.get(key) is None, timeout, f"{key} to be gone")

    async def wait_connected(self, timeout: float = 10.0) -> None:
        await self.wait_until(lambda: self.connected, timeout, "a connection")

    async def wait_message(
        self, predicate: Callable[[Message], bool], timeout: float = 10.0
    ) -> Message:
        """Wait for a message that fits, including those already received."""

        def find() -> Message | None:
            return next((message for message in self.received if predicate(message)), None)

        await self.wait_until(lambda: find() is not None, timeout, "such a message")
        found = find()
        assert found is not None
        return found

    async def wait_until(self, condition: Callable[[], bool], timeout: float, what: str) -> None:
        """Wait for a condition on this edge, which is checked after every event and message."""
        if condition():
            return
        waiter = (condition, asyncio.get_running_loop().create_future())
        self._waiters.append(waiter)
        try:
            async with asyncio.timeout(timeout):
                await waiter[1]
        except TimeoutError:
            raise TimeoutError(
                f"{self.node} waited {timeout:g} s for {what}; it is "
                f"{'connected' if self.connected else 'not connected'} and has "
                f"{sorted([*self.objects, *(f'device/{name}' for name in self.devices)])}"
            ) from None
        finally:
            self._waiters.remove(waiter)

    def _assemble(self) -> None:
        """Make the parts of an edge that is about to start."""
        self.link = Link(
            self._url,
            self._headers,
            self.tls,
            self._timing,
            form=FORMS[self.version.generation],
            on_up=self._up,
            on_message=self._dispatch,
            emit=self._emit,
        )
        self.csi = CsiPlugin(self.volumes, self.link.send, self._emit, self._timing.volume)
        self.meta, self.edged, self.twin = assemble(
            self.version,
            self.node,
            link=self.link,
            store=self.store,
            devices=self.devices,
            emit=self._emit,
            timing=self._timing,
            report_events=self._report_events,
        )

    def _up(self) -> None:
        self.twin.connected()
        self.edged.connected()

    def _use(self, tls: ssl.SSLContext) -> None:
        self.tls = tls
        self.link.use(tls)

    def _dispatch(self, message: Message) -> None:
        self.received.append(message)
        self.received_total += 1
        if message.operation in OPERATIONS:
            self.csi.handle(message)
        elif message.group in _META_GROUPS:
            self.meta.handle(message)
        elif message.group == _TWIN_GROUP:
            self.twin.handle(message)
        else:
            self._emit("discarded", message.resource, f"unknown group {message.group!r}")
        self._wake()

    def _emit(self, kind: str, subject: str, detail: str) -> None:
        if self._on_event is not None:
            self._on_event(Event(self.node, kind, subject, detail))
        self._wake()

    def _wake(self) -> None:
        for condition, future in self._waiters:
            if not future.done() and condition():
                future.set_result(None)
