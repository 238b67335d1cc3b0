"""KubeEdge's configuration keys: the key of this cloudcore for each, or why there is none.

The keys of cloudcore.yaml are those of pkg/apis/componentconfig/cloudcore (KubeEdge 1.19 to 1.23),
those of controller.yaml, modules.yaml and logging.yaml those of cloud/conf in KubeEdge 1.1.
"""

from __future__ import annotations

import math
import os.path
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Same:
    """A key of this cloudcore with the same meaning.

    `convert` makes its value; its TypeError or ValueError says what is expected.
    """

    key: str
    convert: Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Without:
    """No key of this cloudcore; `why` is a sentence for the operator."""

    why: str


@dataclass(frozen=True, slots=True)
class Read:
    """A key that is taken into account together with others (conversion.py)."""


Rule = Same | Without | Read


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("a text is expected")
    return value


def _path(value: Any) -> str:
    return os.path.expanduser(_text(value))  # noqa: PTH111 - a Path raises for unknown users


def _number(value: Any) -> float:
    """Return a number; as in KubeEdge 1.1 it may be in quotes."""
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError("a number is expected")
    return number


def _whole(value: Any) -> int:
    number = _number(value)
    if number != int(number):
        raise ValueError("a whole number is expected")
    return int(number)


_GOROUTINES: Final = Without("the number of goroutines, or of messages in a Go channel")
_QUIC: Final = Without(
    "not served: set modules.edgeHub.websocket.enable on the edges, see docs/compatibility.md"
)
_STREAM: Final = Without("not yet: kubectl logs, exec and attach do not reach edges")
_ROUTER: Final = Without("not yet: messages between cloud and edge by rules are dropped")
_TASKS: Final = Without("not yet: node tasks are not carried out; finish them first")
_DYNAMIC: Final = Without("not yet: the metaServer of edges answers from its own database alone")
_NOT_YET: Final = Without("not yet, see docs/compatibility.md")
_ALWAYS_ON: Final = Without("always on")
_FORMAT: Final = Without("JSON is the one format")

#: cloudcore.yaml. A key stands for all keys below it that are not listed themselves.
TODAY: Final[Mapping[str, Rule]] = {
    "apiVersion": Read(),
    "kind": Read(),
    "commonConfig.tunnelPort": _STREAM,
    "commonConfig.monitorServer.bindAddress": Same("admin.address", _text),
    "commonConfig.monitorServer.enableProfiling": Without("Go's profiler"),
    "kubeAPIConfig.master": Same("kubernetes.master", _text),
    "kubeAPIConfig.kubeConfig": Same("kubernetes.kubeconfig", _path),
    "kubeAPIConfig.contentType": _FORMAT,
    "kubeAPIConfig.qps": Same("kubernetes.qps", _number),
    "kubeAPIConfig.burst": Same("kubernetes.burst", _whole),
    "featureGates.requireAuthorization": Without(
        "what an edge may read and write is always checked; nothing is impersonated"
    ),
    "featureGates": _NOT_YET,
    "modules.cloudHub.enable": Read(),
    "modules.cloudHub.keepaliveInterval": Same("modules.cloudhub.keepalive_interval", _number),
    "modules.cloudHub.nodeLimit": Same("modules.cloudhub.node_limit", _whole),
    "modules.cloudHub.writeTimeout": Same("modules.cloudhub.write_timeout", _number),
    "modules.cloudHub.tlsCAFile": Read(),
    "modules.cloudHub.tlsCAKeyFile": Read(),
    "modules.cloudHub.tlsCertFile": Read(),
    "modules.cloudHub.tlsPrivateKeyFile": Read(),
    "modules.cloudHub.advertiseAddress": Read(),
    "modules.cloudHub.dnsNames": Read(),
    "modules.cloudHub.edgeCertSigningDuration": Same(
        "modules.cloudhub.edge_certificate_days", _whole
    ),
    "modules.cloudHub.tokenRefreshDuration": Same("modules.cloudhub.token_refresh_hours", _whole),
    "modules.cloudHub.websocket.enable": _ALWAYS_ON,
    "modules.cloudHub.websocket.address": Same("modules.cloudhub.address", _text),
    "modules.cloudHub.websocket.port": Same("modules.cloudhub.port", _whole),
    "modules.cloudHub.https.enable": _ALWAYS_ON,
    "modules.cloudHub.https.address": Without("the address of the websocket"),
    "modules.cloudHub.https.port": Same("modules.cloudhub.https_port", _whole),
    "modules.cloudHub.quic": _QUIC,
    "modules.cloudHub.unixsocket.enable": Read(),
    "modules.cloudHub.unixsocket.address": Read(),
    "modules.cloudHub.authorization": Without(
        "the certificate of an edge has to name its node, and what it may do is always checked"
    ),
    "modules.edgeController.enable": Read(),
    "modules.edgeController.nodeUpdateFrequency": Same(
        "modules.edgecontroller.node_update_frequency", _number
    ),
    "modules.edgeController.buffer": _GOROUTINES,
    "modules.edgeController.load": _GOROUTINES,
    "modules.deviceController.enable": Read(),
    "modules.deviceController.buffer": _GOROUTINES,
    "modules.deviceController.load": _GOROUTINES,
    "modules.syncController": Without("its work is part of edgecontroller"),
    "modules.dynamicController": _DYNAMIC,
    "modules.cloudStream": _STREAM,
    "modules.iptablesManager": _STREAM,
    "modules.router": _ROUTER,
    "modules.taskManager": _TASKS,
}

#: controller.yaml, modules.yaml and logging.yaml.
V1_1: Final[Mapping[str, Rule]] = {
    "controller.kube.master": Same("kubernetes.master", _text),
    "controller.kube.namespace": Same("kubernetes.namespace", _text),
    "controller.kube.content_type": _FORMAT,
    "controller.kube.qps": Same("kubernetes.qps", _number),
    "controller.kube.burst": Same("kubernetes.burst", _whole),
    "controller.kube.node_update_frequency": Same(
        "modules.edgecontroller.node_update_frequency", _number
    ),
    "controller.kube.kubeconfig": Same("kubernetes.kubeconfig", _path),
    "controller.buffer": _GOROUTINES,
    "controller.load": _GOROUTINES,
    "cloudhub.protocol_websocket": _ALWAYS_ON,
    "cloudhub.port": Same("modules.cloudhub.port", _whole),
    "cloudhub.protocol_quic": _QUIC,
    "cloudhub.quic_port": _QUIC,
    "cloudhub.max_incomingstreams": _QUIC,
    "cloudhub.enable_uds": Read(),
    "cloudhub.uds_address": Read(),
    "cloudhub.address": Same("modules.cloudhub.address", _text),
    "cloudhub.ca": Read(),
    "cloudhub.cert": Read(),
    "cloudhub.key": Read(),
    "cloudhub.keepalive-interval": Same("modules.cloudhub.keepalive_interval", _number),
    "cloudhub.write-timeout": Same("modules.cloudhub.write_timeout", _number),
    "cloudhub.node-limit": Same("modules.cloudhub.node_limit", _whole),
    "devicecontroller.kube": Without("[kubernetes] is for both controllers"),
    "devicecontroller.buffer": _GOROUTINES,
    "devicecontroller.load": _GOROUTINES,
    "modules.enabled": Read(),
    "loggerLevel": Same("log.verbosity", lambda level: int(str(level).upper() == "DEBUG")),
    "logFormatText": Same("log.format", lambda text: "text" if text else "json"),
    "enableRsyslog": Without("the log goes to standard error"),
    "writers": Without("the log goes to standard error"),
    "loggerFile": Without("the log goes to standard error"),
}


def why_not(key: str) -> str:
    """Return why a key, or the keys below it, have no equivalent."""
    rule = TODAY.get(key) or V1_1[key]
    assert isinstance(rule, Without)
    return rule.why
