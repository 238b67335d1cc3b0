"""The interface between the supervisor and its modules: all that a module may import of it.

`Module` is what a module implements, `ModuleContext` what its `start` is given; docs/modules.md
is a tutorial. The names are beehive's (vendor/github.com/kubeedge/beehive/pkg/core/module.go):
a module has a name, a group, `start(context)` and `cleanup()`.
"""

from __future__ import annotations

import errno
import os
import socket
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from pydantic import BaseModel, ConfigDict

# For modules, too: one check of directories for all.
from supervisor.host.paths import PathError as PathError  # noqa: PLC0414
from supervisor.host.paths import make_private as make_private  # noqa: PLC0414

if TYPE_CHECKING:  # importing a module's class is to be cheap, and ipc imports asyncio
    from ipc import ChannelRegistry, Delivery, Message


class CannotStart(Exception):
    """Raised by `start` when another attempt would fail in the same way.

    The module becomes `failed` at once, with this text as the reason: for a certificate that
    does not match its key, a port that another program holds, and the like.
    """


class TemporaryFailure(Exception):
    """Raised by a module for a condition outside of it that passes by itself.

    The module is started again for as long as it lasts, with backoff, and such a failure does
    not count towards `max_restarts`. The text is the reason in status, crash reports and
    /readyz: it says what is missing, with its path or address.
    """


class DiskFull(TemporaryFailure):
    """A file cannot be written for want of space, or of quota.

    An OSError with ENOSPC or EDQUOT that leaves `start` counts as one: a module raises this
    itself only where a library has an error of its own for it (sqlite3, for example).
    """

    def __init__(self, path: str | os.PathLike[str], error_number: int = errno.ENOSPC) -> None:
        why = os.strerror(error_number)
        super().__init__(f"disk full: cannot write to {os.fspath(path)}: {why}; free some space")


class ModuleConfig(BaseModel):
    """Base of a module's own table `[modules.NAME]`: unknown keys are faults."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


@dataclass(frozen=True)
class KubernetesSettings:
    """Which API server to talk to: `[kubernetes]` of the configuration."""

    kubeconfig: str = ""
    context: str = ""
    master: str = ""
    in_cluster: bool = False
    namespace: str = ""
    qps: float = 500.0
    burst: int = 1000

    @property
    def configured(self) -> bool:
        """Whether a cluster is named; without one the embedded API server is used."""
        return bool(self.kubeconfig or self.master or self.in_cluster)


@dataclass(frozen=True)
class Settings:
    """What every module may know of the whole."""

    data_dir: Path
    run_dir: Path
    kubernetes: KubernetesSettings = field(default_factory=KubernetesSettings)


class _Context(Protocol):
    """What both kinds of context have."""

    @property
    def name(self) -> str:
        """The name under which others send to this process: NAME, or NAME-2 and so on."""

    @property
    def group(self) -> str:
        """The group that `send_to_group` reaches it by; empty for NAME-2 and so on."""

    @property
    def sockets(self) -> Mapping[str, socket.socket]:
        """The listening sockets that `Module.listeners` asked for, by name."""

    @property
    def registry(self) -> ChannelRegistry:
        """The channels of all modules: who there is, and who is in which group."""

    @property
    def stopping(self) -> bool:
        """Whether the module has been asked to stop."""

    def ready(self) -> None:
        """Report that the module does its work from now on.

        It has to be called within `start_timeout` seconds of the start of the process;
        otherwise the process is killed and started again. Modules that name this one in `after`
        start now.
        """

    def alive(self) -> None:
        """Give the watchdog a sign of life, in the middle of work that takes its time."""

    def report(self, **details: Any) -> None:
        """Update the module's `details` in `cloudcore status`: JSON-like, 64 KiB in all.

        Cheap: nobody is woken. Values given before stay until they are replaced; None removes
        one. `waiting_for` is shown beside "ready" when cloudcore has started.
        """

    def send_some(self, module: str, messages: Sequence[Message]) -> int:
        """Send as many messages as there is room for now; returns their number."""


class ModuleContext(_Context, Protocol):
    """What an `async def start` is given. `sockets` are non-blocking.

    The operations on channels are those of `ipc.AsyncContext`, which documents their errors;
    docs/channels.md says what they promise.
    """

    async def stopped(self) -> None:
        """Wait until the module is asked to stop."""

    async def send(self, module: str, message: Message, timeout: float | None = 30.0) -> None: ...
    async def send_many(
        self, module: str, messages: Sequence[Message], timeout: float | None = 30.0
    ) -> None: ...
    async def send_to_group(
        self, group: str, message: Message, timeout: float | None = 30.0
    ) -> None: ...
    async def send_sync(
        self, module: str, message: Message, timeout: float | None = 30.0
    ) -> Message: ...
    async def send_to_group_sync(
        self, group: str, message: Message, timeout: float | None = 30.0
    ) -> list[Message]: ...
    async def send_resp(self, message: Message, timeout: float | None = 30.0) -> None: ...
    async def receive(self, timeout: float | None = None) -> Message: ...
    async def receive_many(self, most: int = 64, timeout: float | None = None) -> list[Message]: ...
    async def take(self, timeout: float | None = None) -> Delivery: ...
    async def consume(self, handle: Callable[[Message], None]) -> None: ...
    def __aiter__(self) -> AsyncIterator[Message]: ...


class BlockingModuleContext(_Context, Protocol):
    """What a plain `def start` is given; the operations are those of `ipc.Context`.

    When the module is asked to stop, iterating ends and `receive` raises `ipc.Closed`.
    """

    def send(self, module: str, message: Message, timeout: float | None = 30.0) -> None: ...
    def send_many(
        self, module: str, messages: Sequence[Message], timeout: float | None = 30.0
    ) -> None: ...
    def send_to_group(self, group: str, message: Message, timeout: float | None = 30.0) -> None: ...
    def send_sync(self, module: str, message: Message, timeout: float | None = 30.0) -> Message: ...
    def send_to_group_sync(
        self, group: str, message: Message, timeout: float | None = 30.0
    ) -> list[Message]: ...
    def send_resp(self, message: Message, timeout: float | None = 30.0) -> None: ...
    def receive(self, timeout: float | None = None) -> Message: ...
    def receive_many(self, most: int = 64, timeout: float | None = None) -> list[Message]: ...
    def take(self, timeout: float | None = None) -> Delivery: ...
    def __iter__(self) -> Iterator[Message]: ...


@dataclass(frozen=True)
class Problem:
    """Something wrong with what a key of the configuration refers to.

    `key` is dotted, as in `kubernetes.kubeconfig`; `reason` names the object, `hint` says what to
    do.
    """

    key: str
    reason: str
    hint: str


class Module(ABC):
    """A part of cloudcore that runs in a process of its own.

    Importing the class must be cheap, since the supervisor does it to check the configuration:
    what is heavy is imported inside `start`. What `preload` names is imported by the supervisor
    before it forks, so that a restart need not, and all modules share the memory of it. Such
    an import must start no thread and open nothing.
    """

    name: ClassVar[str]
    group: ClassVar[str]
    preload: ClassVar[tuple[str, ...]] = ()
    Config: ClassVar[type[ModuleConfig]] = ModuleConfig

    def __init__(self, config: Any, settings: Settings) -> None:
        self.config = config
        self.settings = settings

    @abstractmethod
    def start(self, context: Any) -> Awaitable[None] | None:
        """Run until asked to stop.

        `async def` gets a `ModuleContext` and runs under uvloop; a plain function gets a
        `BlockingModuleContext`. Returning without having been asked to is a fault.

        A module that is ready and gives no sign of life for the `watchdog`'s seconds is killed
        as hung. A turn of the event loop is one, and so is a message that a blocking module
        has handled; in work that takes longer than that it calls `context.alive()`.
        """

    def cleanup(self) -> None:  # noqa: B027 - having nothing to clean up is usual
        """Put away what `start` left behind.

        Runs exactly once for each `start`: in the module's process when it stops in order, in
        a fresh process when it crashed or was killed. It may not count on anything in memory.
        """

    @classmethod
    def listeners(cls, config: Any) -> dict[str, tuple[str, int]]:  # noqa: ARG003
        """TCP sockets, as name -> (address, port), that the supervisor opens and hands down.

        They outlive the module: while it restarts, connections wait in the backlog.
        """
        return {}

    @classmethod
    def unix_sockets(cls, config: Any) -> list[str]:  # noqa: ARG003
        """Name the Unix sockets that it makes in the run directory.

        The supervisor checks that their paths are short enough before anything is started.
        """
        return []

    @classmethod
    def processes(cls, config: Any) -> int:  # noqa: ARG003
        """Say in how many processes the module runs, each supervised on its own.

        They are called NAME, NAME-2, NAME-3 and so on (`context.name`), have the configuration
        and the listening sockets in common, and an inbox each. Only the first is in the group.
        """
        return 1

    @classmethod
    def banner(
        cls,
        listening: Mapping[str, str],  # noqa: ARG003
        settings: Settings,  # noqa: ARG003
        command: Callable[..., str],  # noqa: ARG003
    ) -> Sequence[tuple[str, str]]:
        """Return the lines of the module in what `cloudcore run` prints: (label, text).

        `listening` has the address of each listener, as HOST:PORT. `command("certs", "list")`
        returns the text of a command that leads to this cloudcore, whatever its data directory.
        """
        return ()

    @classmethod
    def problems(cls, config: Any, settings: Settings) -> Sequence[Problem]:  # noqa: ARG003
        """Check what the configuration refers to, such as files and certificates.

        Only `cloudcore config check` calls it, so it may import and read what it needs. At the
        start, it is `start` that finds such problems.
        """
        return ()

    @classmethod
    def not_needed(cls, settings: Settings) -> str | None:  # noqa: ARG003
        """Say why this module, though enabled, has nothing to do under these settings."""
        return None
