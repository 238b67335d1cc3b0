"""What a module implements, and what it is given to run with.

The names are beehive's (vendor/github.com/kubeedge/beehive/pkg/core/module.go): a module has
a name, a group, `start(context)` and `cleanup()`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict


class CannotStart(Exception):
    """Raised by `start` when another attempt would fail in the same way.

    The module becomes `failed` at once, with this text as the reason: for a certificate that
    does not match its key, a port that another program holds, and the like.
    """


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
    def processes(cls, config: Any) -> int:  # noqa: ARG003
        """Say in how many processes the module runs, each supervised on its own.

        They are called NAME, NAME-2, NAME-3 and so on (`context.name`), have the configuration
        and the listening sockets in common, and an inbox each. Only the first is in the group.
        """
        return 1

    @classmethod
    def not_needed(cls, settings: Settings) -> str | None:  # noqa: ARG003
        """Say why this module, though enabled, has nothing to do under these settings."""
        return None
