"""The interface between the supervisor and its modules: all that a module may import of it.

`Module` is what a module implements, `ModuleContext` what its `start` is given; the tutorial is
docs/tutorial/module.md. The names are beehive's
(vendor/github.com/kubeedge/beehive/pkg/core/module.go): a module has a name, a group,
`start(context)` and `cleanup()`.
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

# What a module needs of these files, it imports from here.
from supervisor.checks import Check as Check  # noqa: PLC0414
from supervisor.checks import Finding as Finding  # noqa: PLC0414
from supervisor.host.listener import Listener as Listener  # noqa: PLC0414
from supervisor.host.paths import PathError as PathError  # noqa: PLC0414
from supervisor.host.paths import make_private as make_private  # noqa: PLC0414
from supervisor.live_tables import Column as Column  # noqa: PLC0414
from supervisor.live_tables import LiveTable as LiveTable  # noqa: PLC0414

if TYPE_CHECKING:  # importing a module's class has to be cheap, and ipc imports asyncio
    from ipc import ChannelRegistry, Delivery, Message


class CannotStart(Exception):
    """Raised by `start` when another attempt would fail in the same way.

    The module becomes `failed` at once, with this text as the reason. Examples are a certificate
    that does not match its key, and a port that another program holds.
    """


class TemporaryFailure(Exception):
    """Raised by a module for a condition outside of it that passes on its own.

    The module is restarted with backoff until the condition is over, and the failure does not count
    towards `max_restarts`. The text is the reason in status, crash reports and /readyz: it says
    what is missing, with its path or address.
    """


class DiskFull(TemporaryFailure):
    """A file cannot be written because there is no space or quota left.

    An OSError with ENOSPC or EDQUOT that `start` raises counts as this error: a module itself
    raises it only if a library has an error of its own for it (sqlite3, for example).
    """

    def __init__(self, path: str | os.PathLike[str], error_number: int = errno.ENOSPC) -> None:
        why = os.strerror(error_number)
        super().__init__(f"disk full: cannot write to {os.fspath(path)}: {why}; free some space")


class ModuleConfig(BaseModel):
    """The base of a module's own table `[modules.NAME]`; unknown keys are faults."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


@dataclass(frozen=True)
class KubernetesSettings:
    """The API server to use: `[kubernetes]` of the configuration."""

    kubeconfig: str = ""
    context: str = ""
    master: str = ""
    in_cluster: bool = False
    namespace: str = ""
    qps: float = 500.0
    burst: int = 1000

    @property
    def configured(self) -> bool:
        """Whether a cluster is named; if not, the embedded API server is used."""
        return bool(self.kubeconfig or self.master or self.in_cluster)


@dataclass(frozen=True)
class ReplicasSettings:
    """Whether several cloudcores serve one fleet, and which one this is: `[replicas]`."""

    enabled: bool = False
    name: str = ""
    namespace: str = "kubeedge"
    lease_duration: float = 15.0
    address: str = "0.0.0.0"
    port: int = 10007

    @property
    def identity(self) -> str:
        """The name of this replica: by default that of the host, which is that of the pod."""
        return self.name or socket.gethostname().lower()


@dataclass(frozen=True)
class Settings:
    """The settings that all modules get."""

    data_dir: Path
    run_dir: Path
    kubernetes: KubernetesSettings = field(default_factory=KubernetesSettings)
    admin_token_file: str = ""
    """the file with the token of the admin interface; empty: there is none"""
    replicas: ReplicasSettings = field(default_factory=ReplicasSettings)


class _Context(Protocol):
    """The common part of both kinds of context."""

    @property
    def name(self) -> str:
        """The name that others send to: NAME, or NAME-2 and so on for further processes."""

    @property
    def group(self) -> str:
        """The group for `send_to_group`; empty for further processes."""

    @property
    def sockets(self) -> Mapping[str, socket.socket]:
        """The listening sockets that `Module.listeners` asked for, by name."""

    @property
    def registry(self) -> ChannelRegistry:
        """The channels of all modules, and the members of each group."""

    @property
    def stopping(self) -> bool:
        """Whether the module has been asked to stop."""

    def ready(self) -> None:
        """Report that the module does its work from now on.

        It has to be called within `start_timeout` seconds of the start of the process; otherwise
        the process is killed and restarted. Modules that name this one in `after` start now.
        """

    def alive(self) -> None:
        """Give the watchdog a sign of life, in the middle of long work."""

    def report(self, **details: Any) -> None:
        """Update the module's `details` in `cloudcore status`: JSON-like, up to 64 KiB in all.

        It is cheap, since no process is woken. Earlier values stay until they are replaced; None
        removes one. `waiting_for` and `because` are also shown in the banner of `cloudcore run`.
        """

    def send_some(self, module: str, messages: Sequence[Message]) -> int:
        """Send as many messages as there is room for now; return their number."""


class ModuleContext(_Context, Protocol):
    """The context of an `async def start`; its `sockets` are non-blocking.

    The operations on channels are those of `ipc.AsyncContext`, which documents their errors;
    docs/explanation/channels.md has their guarantees.
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
    """The context of a plain `def start`; the operations are those of `ipc.Context`.

    When the module is asked to stop, iteration ends and `receive` raises `ipc.Closed`.
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
    """A fault of something that a key of the configuration refers to, such as a file.

    `key` is dotted, such as `kubernetes.kubeconfig`; `reason` names the object, `hint` says what to
    do.
    """

    key: str
    reason: str
    hint: str


class Module(ABC):
    """A part of cloudcore that runs in a process of its own.

    Importing the class must be cheap, since the supervisor does so to check the configuration:
    heavy imports belong inside `start`. The supervisor imports what `preload` names before it
    forks, so that restarts are faster and modules share the memory. Such an import must not start a
    thread or open a file.
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

        An `async def` gets a `ModuleContext` and runs under uvloop; a plain function gets a
        `BlockingModuleContext`. Returning without having been asked to stop is a crash.

        A ready module that gives no sign of life for `watchdog` seconds is killed as hung. Each
        iteration of the event loop is a sign of life, and so is each message that a blocking module
        has handled; in work that takes longer, call `context.alive()`.
        """

    def cleanup(self) -> None:  # noqa: B027 - having nothing to clean up is usual
        """Clean up what `start` left behind.

        It runs exactly once for each `start`: in the module's process if that stops in order, in a
        fresh process if it crashed or was killed. So it cannot rely on anything in memory.
        """

    @classmethod
    def listeners(cls, config: Any, settings: Settings) -> dict[str, Listener]:  # noqa: ARG003
        """Return the sockets, by name, that the supervisor opens and hands down.

        They outlive the module: while it restarts, connections wait in the backlog.
        """
        return {}

    @classmethod
    def unix_sockets(cls, config: Any) -> list[str]:  # noqa: ARG003
        """Return the names of the Unix sockets that the module creates in the run directory.

        The supervisor checks the length of their paths before anything is started.
        """
        return []

    @classmethod
    def processes(cls, config: Any) -> int:  # noqa: ARG003
        """Return the number of processes of the module, each supervised on its own.

        Their names are NAME, NAME-2, NAME-3 and so on (`context.name`). They share configuration
        and listening sockets; each has a channel of its own. Only the first is in the group.
        """
        return 1

    @classmethod
    def banner(
        cls,
        listening: Mapping[str, str],  # noqa: ARG003
        settings: Settings,  # noqa: ARG003
        command: Callable[..., str],  # noqa: ARG003
    ) -> Sequence[tuple[str, str]]:
        """Return the module's lines in the banner of `cloudcore run`, as (label, text).

        `listening` has the address of each listener as HOST:PORT. `command("certs", "list")`
        returns the text of a command for this cloudcore, with its data directory if needed; with
        `running=True` of one that asks a running cloudcore, with its run directory.
        """
        return ()

    @classmethod
    def problems(cls, config: Any, settings: Settings) -> Sequence[Problem]:  # noqa: ARG003
        """Check what the configuration refers to, such as files and certificates.

        Only `cloudcore config check` and `cloudcore doctor` call it, so it may import and read what
        it needs. When cloudcore runs, `start` finds such problems.
        """
        return ()

    @classmethod
    def checks(
        cls,
        config: Any,  # noqa: ARG003
        settings: Settings,  # noqa: ARG003
        command: Callable[..., str],  # noqa: ARG003
    ) -> Sequence[Check]:
        """Return what `cloudcore doctor` is to check of the module and of what it needs.

        The checks run at once, each in a thread with a deadline, and change nothing; cloudcore may
        run meanwhile, or not. `command` is that of `banner`.
        """
        return ()

    @classmethod
    def tables(cls, config: Any) -> Sequence[LiveTable]:  # noqa: ARG003
        """Return the tables that the module serves on its Unix sockets, for `cloudcore top`."""
        return ()

    @classmethod
    def not_needed(cls, settings: Settings) -> str | None:  # noqa: ARG003
        """Return why this module, though enabled, does not run under these settings, or None."""
        return None
