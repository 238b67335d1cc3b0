"""Converts KubeEdge's configuration files to this cloudcore's: TOML with comments."""

from __future__ import annotations

import json
import os
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from modules.takeover.go_configuration import (
    DEFAULT_FILES,
    CannotConvert,
    is_of_today,
    part,
    read,
    short,
    texts,
)
from modules.takeover.keys import TODAY, V1_1, Rule, Same, Without

_MODULES: Final = {
    "cloudHub": "cloudhub",
    "edgeController": "edgecontroller",
    "deviceController": "devicecontroller",
}


#: Why a key is left out that no rule knows.
UNKNOWN: Final = "it is no key of KubeEdge 1.1 or 1.19 to 1.23"


@dataclass
class _Result:
    """What becomes of the keys: values of ours, and comments."""

    values: dict[str, Any] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    """key of ours -> KubeEdge's key"""
    without: list[tuple[str, str, str]] = field(default_factory=list)
    """KubeEdge's key, its value, why it has no equivalent"""
    notes: list[str] = field(default_factory=list)

    def set(self, key: str, value: Any, source: str) -> None:
        self.values[key] = value
        self.sources[key] = source


def convert(texts: Mapping[str, str], *, is_file: Callable[[str], bool] = os.path.isfile) -> str:
    """Return the TOML for KubeEdge's configuration files, given as name -> content.

    They are cloudcore.yaml of today's KubeEdge, or controller.yaml of 1.1 with its modules.yaml and
    logging.yaml. `is_file` says whether one of KubeEdge's default certificate files exists. Raises
    CannotConvert, which names the file.
    """
    documents = {name: read(name, text) for name, text in texts.items()}
    today = [name for name, document in documents.items() if is_of_today(document)]
    if today and len(documents) > 1:
        raise CannotConvert(f"{today[0]} is a whole configuration: convert it alone")
    result = _Result()
    for name, document in documents.items():
        _convert_keys(name, document, TODAY if today else V1_1, result)
    merged: dict[str, Any] = {}
    for document in documents.values():
        merged |= document
    if today:
        _convert_today(merged, result, is_file)
    else:
        _convert_v1_1(merged, result)
    return _render(list(texts), result)


def _convert_keys(
    name: str, document: dict[str, Any], rules: Mapping[str, Rule], result: _Result
) -> None:
    known = 0
    for key, value in _leaves(document):
        rule = _rule_for(key, rules)
        known += rule is not None
        if isinstance(rule, Same):
            _convert_same(name, key, value, rule, result)
        elif isinstance(rule, Without):
            result.without.append((key, short(value), rule.why))
        elif rule is None:
            result.without.append((key, short(value), UNKNOWN))
    if not known:
        raise CannotConvert(
            f"{name} has no key of KubeEdge's configuration: give cloudcore.yaml, or "
            "controller.yaml (with modules.yaml and logging.yaml) of KubeEdge 1.1"
        )


def _convert_same(name: str, key: str, value: Any, rule: Same, result: _Result) -> None:
    if value in (None, ""):
        return
    try:
        result.set(rule.key, rule.convert(value), key)
    except (TypeError, ValueError) as error:
        raise CannotConvert(f"{name}: {key} has the value {short(value)}; {error}") from error


def _leaves(document: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in document.items():
        here = f"{path}.{key}" if path else str(key)
        if isinstance(value, dict) and value:
            yield from _leaves(value, here)
        else:
            yield here, value


def _rule_for(key: str, rules: Mapping[str, Rule]) -> Rule | None:
    while key not in rules and "." in key:
        key = key.rpartition(".")[0]
    return rules.get(key)


def _convert_today(
    document: dict[str, Any], result: _Result, is_file: Callable[[str], bool]
) -> None:
    if not {"kubernetes.kubeconfig", "kubernetes.master"} & result.values.keys():
        result.set("kubernetes.in_cluster", True, "kubeAPIConfig.kubeConfig and master are empty")
    enabled = [
        ours
        for theirs, ours in _MODULES.items()
        if part(document, "modules", theirs).get("enable", True)
    ]
    result.set("modules.enabled", enabled, "modules.*.enable")
    # What edges have is known from KubeEdge's ObjectSyncs, and for the way back.
    for module in ("edgecontroller", "devicecontroller"):
        result.set(f"modules.{module}.record", "objectsync", "modules.syncController")
    hub = part(document, "modules", "cloudHub")
    _convert_certificates(hub, result, is_file)
    names = [*texts(hub.get("advertiseAddress")), *texts(hub.get("dnsNames"))]
    if names:
        result.set("modules.cloudhub.names", names, "modules.cloudHub.advertiseAddress, dnsNames")
    socket = part(hub, "unixsocket")
    if socket.get("enable", True):
        address = socket.get("address") or "unix:///var/lib/kubeedge/kubeedge.sock"
        result.set("modules.cloudhub.uds_address", address, "modules.cloudHub.unixsocket")


def _convert_certificates(
    hub: Mapping[str, Any], result: _Result, is_file: Callable[[str], bool]
) -> None:
    """Convert the files if they are there; KubeEdge takes what is missing from its secrets."""
    files = {key: hub.get(key) or default for key, default in DEFAULT_FILES.items()}
    ours = dict(zip(("ca", "ca_key", "cert", "key"), files.items(), strict=True))
    if all(is_file(files[key]) for key in files):
        for key, (source, path) in ours.items():
            result.set(f"modules.cloudhub.{key}", path, f"modules.cloudHub.{source}")
        return
    missing = ", ".join(path for path in files.values() if not is_file(path))
    result.notes.append(
        f"These files are not here: {missing}. Without them the CA and the server's certificate "
        "are taken from the secrets casecret and cloudcoresecret in the namespace kubeedge, as "
        "KubeEdge does; to use files, copy all four here and convert again."
    )


def _convert_v1_1(document: dict[str, Any], result: _Result) -> None:
    enabled = part(document, "modules").get("enabled")
    known = [name for name in texts(enabled) if name in _MODULES.values()]
    result.set("modules.enabled", known or list(_MODULES.values()), "modules.enabled")
    hub = part(document, "cloudhub")
    for key in ("ca", "cert", "key"):
        if hub.get(key):
            result.set(f"modules.cloudhub.{key}", hub[key], f"cloudhub.{key}")
    if hub.get("enable_uds") and hub.get("uds_address"):
        result.set("modules.cloudhub.uds_address", hub["uds_address"], "cloudhub.uds_address")
    if hub:
        result.set(
            "modules.cloudhub.authorization",
            "any-trusted",
            "certificates of certgen.sh name no node",
        )
        result.notes.append(
            "KubeEdge 1.1 admits one node fewer than cloudhub.node-limit, and never verifies the "
            "certificates of edges. Here they have to be signed by the CA. With a certificate for "
            "each node (cloudcore certs issue NODE) set authorization to strict."
        )


def _render(names: Sequence[str], result: _Result) -> str:
    lines = [f"# Converted from {name}" for name in names]
    lines.append("# Check it with `cloudcore config check`.")
    for note in result.notes:
        lines += ["#", *_wrapped(note)]
    tables: dict[str, list[str]] = {}
    for key in sorted(result.values, key=_place):
        table, _, name = key.rpartition(".")
        comment = f"# {result.sources[key]}"
        value = json.dumps(result.values[key], ensure_ascii=False)
        tables.setdefault(table, []).append(f"{name} = {value}  {comment}")
    for table, entries in tables.items():
        lines += ["", f"[{table}]", *entries]
    reasons: dict[str, list[str]] = {}
    for key, value, why in result.without:
        reasons.setdefault(why, []).append(f"#   {key} = {value}")
    if reasons:
        lines += ["", "# Without an equivalent, by the reason:"]
    for why, entries in reasons.items():
        lines += ["#", f"# {why}", *entries]
    return "\n".join(lines) + "\n"


def _place(key: str) -> tuple[int, str]:
    """Return the place of a key: a table stands before the tables below it."""
    return key.count("."), key


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, 98, initial_indent="# ", subsequent_indent="# ")
