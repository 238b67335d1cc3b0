"""KubeEdge's configuration as it is read: cloudcore.yaml of today, or controller.yaml of 1.1."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import yaml

from modules.takeover.bounded_yaml import read_yaml
from supervisor.api import KubernetesSettings

#: The files that KubeEdge uses where its configuration names none (default.go of v1alpha1).
DEFAULT_FILES: Final = {
    "tlsCAFile": "/etc/kubeedge/ca/rootCA.crt",
    "tlsCAKeyFile": "/etc/kubeedge/ca/rootCA.key",
    "tlsCertFile": "/etc/kubeedge/certs/server.crt",
    "tlsPrivateKeyFile": "/etc/kubeedge/certs/server.key",
}

#: Modules without an equivalent.
_OPTIONAL: Final = ("cloudStream", "dynamicController", "iptablesManager", "router", "taskManager")

#: Modules that are off unless the configuration enables them (default.go of v1alpha1).
_OFF: Final = frozenset({"cloudStream", "dynamicController", "router", "taskManager"})

_WEBSOCKET_PORT: Final = 10000
_HTTPS_PORT: Final = 10002


#: Characters of a value in a message.
_LONGEST: Final = 60

#: What a takeover reads of both forms, by its type.
_TEXTS: Final = (
    *("kubeAPIConfig.kubeConfig", "kubeAPIConfig.master"),
    *("controller.kube.kubeconfig", "controller.kube.master"),
    *(f"modules.cloudHub.{key}" for key in DEFAULT_FILES),
    *("modules.cloudHub.websocket.address", "cloudhub.address"),
    *("cloudhub.ca", "cloudhub.cert", "cloudhub.key"),
)
_NUMBERS: Final = (
    *("modules.cloudHub.websocket.port", "modules.cloudHub.https.port"),
    "cloudhub.port",
)


class CannotConvert(ValueError):
    """A file that is no configuration of KubeEdge; the text says what is wrong with it."""


def read(name: str, text: str) -> dict[str, Any]:
    """Return the document in a file of this name; raises CannotConvert."""
    try:
        document = read_yaml(text)
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise CannotConvert(f"cannot read {name} as YAML: {line}{error.problem}") from error
    except (yaml.YAMLError, ValueError) as error:
        raise CannotConvert(f"cannot read {name} as YAML: {error}") from error
    if not isinstance(document, dict):
        raise CannotConvert(f"{name} is no configuration of KubeEdge: not a mapping of keys")
    return document


def text_of(path: Path) -> str:
    """Return the text in a file; raises CannotConvert if it is none, and OSError."""
    try:
        return path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise CannotConvert(
            f"cannot read {path}: it is no text in UTF-8; give cloudcore.yaml of KubeEdge"
        ) from error


def short(value: Any) -> str:
    """Return a value for a message."""
    text = json.dumps(value, default=str)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def is_of_today(document: Mapping[str, Any]) -> bool:
    """Whether it is cloudcore.yaml, not a file of KubeEdge 1.1."""
    return "kubeAPIConfig" in document or document.get("kind") == "CloudCore"


def part(document: Any, *path: str) -> dict[str, Any]:
    """Return the mapping at a path; empty if there is none."""
    for key in path:
        document = document.get(key) if isinstance(document, dict) else None
    return document if isinstance(document, dict) else {}


def texts(value: Any) -> list[str]:
    """Return the items of a list that are not empty; of anything else, none."""
    return [str(each) for each in value if each] if isinstance(value, list) else []


@dataclass(frozen=True)
class GoConfiguration:
    """What a takeover asks of KubeEdge's configuration."""

    document: Mapping[str, Any]
    file: str = "cloudcore.yaml"

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file; raises CannotConvert, also for a value of a wrong type, and OSError."""
        document = read(str(path), text_of(path))
        for keys, type_, words in ((_TEXTS, str, "a text"), (_NUMBERS, int, "a number")):
            for key in keys:
                *parents, last = key.split(".")
                value = part(document, *parents).get(last)
                if value is not None and type(value) is not type_:
                    what = f"{key} has the value {short(value)}"
                    raise CannotConvert(f"{path}: {what}; {words} is expected")
        return cls(document, str(path))

    @property
    def is_v1_1(self) -> bool:
        return not is_of_today(self.document)

    @property
    def kubernetes(self) -> KubernetesSettings:
        """The API server that KubeEdge's cloudcore uses."""
        if self.is_v1_1:
            found = part(self.document, "controller", "kube")
            config, master = found.get("kubeconfig"), found.get("master")
        else:
            found = part(self.document, "kubeAPIConfig")
            config, master = found.get("kubeConfig"), found.get("master")
        path = str(Path(config).expanduser().absolute()) if config else ""
        server = master or ""
        if server and "://" not in server:
            server = f"http://{server}"
        in_cluster = not (path or server)
        return KubernetesSettings(kubeconfig=path, master=server, in_cluster=in_cluster)

    @property
    def files(self) -> dict[str, Path]:
        """The PEM files ca, ca_key, cert and key; of 1.1 there is no ca_key."""
        if self.is_v1_1:
            hub = part(self.document, "cloudhub")
            return {key: Path(hub[key]) for key in ("ca", "cert", "key") if hub.get(key)}
        hub = part(self.document, "modules", "cloudHub")
        paths = (Path(hub.get(key) or default) for key, default in DEFAULT_FILES.items())
        return dict(zip(("ca", "ca_key", "cert", "key"), paths, strict=True))

    @property
    def served(self) -> list[tuple[str, int]]:
        """Addresses and ports at which edges reach it, by its configuration."""
        if self.is_v1_1:
            hub = part(self.document, "cloudhub")
            return [(_reachable(hub.get("address")), int(hub.get("port") or _WEBSOCKET_PORT))]
        hub = part(self.document, "modules", "cloudHub")
        hosts = texts(hub.get("advertiseAddress")) or [
            _reachable(part(hub, "websocket").get("address"))
        ]
        ports = [
            int(part(hub, name).get("port") or default)
            for name, default in (("websocket", _WEBSOCKET_PORT), ("https", _HTTPS_PORT))
        ]
        return [(host, port) for host in hosts for port in ports]

    def enabled(self) -> Iterator[str]:
        """Yield the keys of the optional modules and features that it enables."""
        if self.is_v1_1:
            if part(self.document, "cloudhub").get("protocol_quic"):
                yield "cloudhub.protocol_quic"
            return
        modules = part(self.document, "modules")
        for name in _OPTIONAL:
            if part(modules, name).get("enable", name not in _OFF):
                yield f"modules.{name}"
        if part(modules, "cloudHub", "quic").get("enable"):
            yield "modules.cloudHub.quic"
        if part(self.document, "featureGates").get("requireAuthorization"):
            yield "featureGates.requireAuthorization"


def _reachable(address: str | None) -> str:
    return "127.0.0.1" if not address or address in {"0.0.0.0", "::"} else address
