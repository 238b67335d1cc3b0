"""Loading: merges the sources, checks the result, and makes a Configuration of it."""

from __future__ import annotations

import graphlib
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from supervisor.api import KubernetesSettings, Module, ModuleConfig, ReplicasSettings
from supervisor.config import faults, installed
from supervisor.config.faults import ConfigError, Fault, UnreadableSource
from supervisor.config.installed import Installed
from supervisor.config.layers import (
    DEFAULT,
    Key,
    Layers,
    Unreadable,
    dotted,
    read_environment,
    read_file,
    read_set,
)
from supervisor.config.tables import (
    REPLICA_RULE,
    AdminTable,
    KubernetesTable,
    LogSettings,
    ReplicasTable,
    SupervisorTable,
    is_replica,
)
from supervisor.unit.restart_policy import Supervision

log = logging.getLogger(__name__)

_TABLES: Final = ("admin", "kubernetes", "log", "modules", "replicas", "supervisor")

#: The keys of [modules.NAME.supervision] that name other modules: how a circle reads, and what is
#: allowed in its place.
_ORDERS: Final = {
    "after": ("after", "modules that do not wait for this one themselves"),
    "stop_before": ("before", "modules that need not stop before this one themselves"),
}

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True)
class Sources:
    """What a configuration was read from, besides the defaults and the environment."""

    path: Path | None
    """the file of `--config`, absolute"""
    sets: tuple[str, ...]
    """the KEY=VALUE of each `--set`; of a relative path once more, as an absolute one"""


@dataclass(frozen=True)
class ModuleSpec:
    """One installed module, as configured."""

    name: str
    enabled: bool
    cls: type[Module]
    config: ModuleConfig
    supervision: Supervision
    why_disabled: str = "modules.enabled does not name it"
    """the reason in the status of a module that is not enabled"""


@dataclass(frozen=True)
class Configuration:
    """The checked configuration. `modules` has the enabled ones first, in order of start."""

    supervisor: SupervisorTable
    log: LogSettings
    admin: AdminTable
    kubernetes: KubernetesSettings
    replicas: ReplicasSettings
    modules: tuple[ModuleSpec, ...]
    layers: Layers
    sources: Sources

    @property
    def max_deliveries(self) -> int:
        """The number of deliveries of a message before it is set aside."""
        return self.supervisor.max_deliveries

    @property
    def stop_timeout(self) -> float:
        """Seconds that the shutdown may take, for all modules together."""
        return self.supervisor.shutdown_timeout

    def fixed_keys_changed(self, old: Configuration) -> list[str]:
        """Return the keys that differ and take effect only when cloudcore is restarted."""
        changed = []
        if self.max_deliveries != old.max_deliveries:
            changed.append("supervisor.max_deliveries")
        if self.supervisor.preload != old.supervisor.preload:
            changed.append("supervisor.preload")
        return changed + [
            f"admin.{name}"
            for name, value in self.admin.model_dump().items()
            if value != getattr(old.admin, name)
        ]


def default_file() -> Path:
    """Return the file of the defaults: in a wheel, or in the source tree."""
    here = Path(__file__).parent.parent
    shipped = here / "cloudcore.toml"
    return shipped if shipped.exists() else here.parent / "config" / "cloudcore.toml"


def load(
    path: str | Path | None = None,
    sets: Sequence[str] = (),
    environ: Mapping[str, str] = os.environ,
    *,
    modules: Installed | None = None,
) -> Configuration:
    """Read and check the configuration; raises ConfigError with all faults.

    `path` is the file, which needs only the keys that differ; `sets` are the KEY=VALUE of `--set`.
    `modules` replaces the installed modules: a loader of each one's class, by name.
    """
    found: list[Fault] = []
    layers = _read(Path(path) if path else None, sets, environ, found)
    loading = _Loading(layers, installed.find() if modules is None else modules, found)
    sources = Sources(Path(path).absolute() if path else None, tuple(sets))
    configuration = loading.configuration(Path(path).parent if path else Path(), sources)
    if found or configuration is None:
        raise ConfigError(found)
    return configuration


def _read(
    path: Path | None, sets: Sequence[str], environ: Mapping[str, str], found: list[Fault]
) -> Layers:
    layers = Layers()
    layers.lay(read_file(default_file()), DEFAULT)
    try:
        if path:
            layers.lay(read_file(path), str(path))
    except Unreadable as error:
        found.append(UnreadableSource(error.source, "", error.reason, error.hint))
    for variable, tree in read_environment(environ):
        layers.lay(tree, variable)
    for text in sets:
        try:
            layers.lay(read_set(text), "--set")
        except Unreadable as error:
            found.append(UnreadableSource(error.source, "", error.reason, error.hint))
    return layers


class _Loading:
    """The check of the merged tree, table by table; it collects the faults."""

    def __init__(self, layers: Layers, modules: Installed, found: list[Fault]) -> None:
        self.layers = layers
        self.modules = modules
        self.faults = found
        self._absolute: list[str] = []
        """the KEY=VALUE of each path of a `--set`, as it reads from any working directory"""

    def configuration(self, directory: Path, sources: Sources) -> Configuration | None:
        for name in self.layers.tree:
            if name not in _TABLES:
                self.faults.append(faults.unknown(self.layers, (name,), _TABLES, "table"))
        supervisor = self._table(SupervisorTable, ("supervisor",))
        logs = self._table(LogSettings, ("log",))
        admin = self._admin(directory)
        kubernetes = self._kubernetes(directory)
        replicas = self._replicas()
        modules = self._modules(supervisor or SupervisorTable())
        for field in _ORDERS:
            self._check_order(field, modules)
        if supervisor is None or logs is None or admin is None or kubernetes is None:
            return None
        if replicas is None:
            return None
        return Configuration(
            supervisor,
            logs,
            admin,
            kubernetes,
            replicas,
            tuple(modules),
            self.layers,
            replace(sources, sets=(*sources.sets, *self._absolute)),
        )

    def _admin(self, directory: Path) -> AdminTable | None:
        table = self._table(AdminTable, ("admin",))
        if table is None or not table.token_file:
            return table
        key = ("admin", "token_file")
        return table.model_copy(update={"token_file": self._file(key, table.token_file, directory)})

    def _kubernetes(self, directory: Path) -> KubernetesSettings | None:
        table = self._table(KubernetesTable, ("kubernetes",))
        if table is None:
            return None
        settings = table.model_dump()
        if table.kubeconfig:
            key = ("kubernetes", "kubeconfig")
            settings["kubeconfig"] = self._file(key, table.kubeconfig, directory)
        return KubernetesSettings(**settings)

    def _replicas(self) -> ReplicasSettings | None:
        table = self._table(ReplicasTable, ("replicas",))
        if table is None:
            return None
        settings = ReplicasSettings(**table.model_dump())
        if settings.enabled and not is_replica(settings.identity):
            allowed = f"{REPLICA_RULE}; the name of this host, {settings.identity!r}, is none"
            self._fault(("replicas", "name"), settings.name, allowed)
        return settings

    def _file(self, key: Key, value: str, directory: Path) -> str:
        """Return the path of a file that the configuration names.

        A relative path starts at the directory of the configuration file, or at the working
        directory if --set or a variable named it.
        """
        if self.layers.source(key).startswith(("--set", "CLOUDCORE_")):
            directory = Path()
        path = directory / Path(value).expanduser()
        if self.layers.source(key).startswith("--set") and not Path(value).is_absolute():
            self._absolute.append(f"{dotted(key)}={path.absolute()}")
        try:
            if not path.is_file():
                why = f"{path} is a directory" if path.is_dir() else f"there is no file {path}"
                self._fault(key, value, f"a file; {why}")
        except OSError as error:  # such as a directory without permission
            self._fault(key, value, f"a file; cannot read {path}: {error.strerror}")
        return str(path.absolute())

    def _modules(self, defaults: SupervisorTable) -> list[ModuleSpec]:
        tree = self.layers.tree.get("modules", {})
        if not isinstance(tree, dict):
            self._fault(("modules",), tree, "a table")
            return []
        enabled = self._enabled(tree.get("enabled", []))
        for name in tree:
            if name not in self.modules and name != "enabled":
                known = [*self.modules, "enabled"]
                self.faults.append(faults.unknown(self.layers, ("modules", name), known, "module"))
        disabled = sorted(name for name in self.modules if name not in enabled)
        specs = [self._module(name, tree.get(name, {}), True, defaults) for name in enabled]
        specs += [self._module(name, tree.get(name, {}), False, defaults) for name in disabled]
        return [spec for spec in specs if spec]

    def _enabled(self, names: Any) -> list[str]:
        key = ("modules", "enabled")
        if not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
            self._fault(key, names, "a list of module names")
            return []
        for name in dict.fromkeys(names):
            if names.count(name) > 1:
                self._fault(key, name, "each module once")
            if name not in self.modules:
                known = ", ".join(sorted(self.modules)) or "none is installed"
                self._fault(key, name, f"the installed modules: {known}")
        return [name for name in dict.fromkeys(names) if name in self.modules]

    def _module(
        self, name: str, tree: Any, enabled: bool, defaults: SupervisorTable
    ) -> ModuleSpec | None:
        key = ("modules", name)
        try:
            cls = installed.load(name, self.modules)
        except installed.Unusable as error:
            if enabled:
                allowed = "modules that can be loaded; repair it, or remove it from the list"
                fault = Fault(
                    self.layers.source(("modules", "enabled")),
                    "modules.enabled",
                    str(error),
                    allowed,
                )
                self.faults.append(fault)
            else:
                log.warning("cannot load a module that is not enabled: %s", error)
            return None
        if not isinstance(tree, dict):
            self._fault(key, tree, "a table")
            return None
        own = {name: value for name, value in tree.items() if name != "supervision"}
        config = self._validate(cls.Config, own, key)
        supervision = self._supervision(tree.get("supervision", {}), defaults, key)
        if config is None or supervision is None:
            return None
        return ModuleSpec(name, enabled, cls, config, supervision)

    def _supervision(self, own: Any, defaults: SupervisorTable, module: Key) -> Supervision | None:
        key = (*module, "supervision")
        if not isinstance(own, dict):
            self._fault(key, own, "a table")
            return None
        inherited = defaults.model_dump(include=set(Supervision.model_fields))
        return self._validate(Supervision, inherited | own, key)

    def _check_order(self, field: str, specs: Iterable[ModuleSpec]) -> None:
        """Check that `after` or `stop_before` names installed modules, and has no circle."""
        graph: dict[str, tuple[str, ...]] = {}
        for spec in specs:
            graph[spec.name] = getattr(spec.supervision, field)
            for name in graph[spec.name]:
                if name not in self.modules:
                    known = ", ".join(sorted(self.modules))
                    key = ("modules", spec.name, "supervision", field)
                    self._fault(key, name, f"the installed modules: {known}")
        try:
            graphlib.TopologicalSorter(graph).prepare()
        except graphlib.CycleError as error:
            circle: list[str] = error.args[1]
            key = ("modules", circle[-1], "supervision", field)
            word, allowed = _ORDERS[field]
            found = f"a circle, {f' {word} '.join(reversed(circle))}"
            self.faults.append(Fault(self.layers.source(key), dotted(key), found, allowed))

    def _table(self, model: type[Model], key: Key) -> Model | None:
        tree = self.layers.tree.get(key[0], {})
        if not isinstance(tree, dict):
            self._fault(key, tree, "a table")
            return None
        return self._validate(model, tree, key)

    def _validate(self, model: type[Model], tree: Mapping[str, Any], key: Key) -> Model | None:
        try:
            return model.model_validate(tree)
        except ValidationError as error:
            self.faults.extend(faults.of_model(error, model, self.layers, key))
            return None

    def _fault(self, key: Key, value: Any, allowed: str) -> None:
        self.faults.append(faults.of_value(self.layers, key, value, allowed))
