"""The CustomResourceDefinitions that cloudcore uses: the files of deploy/crds.

PyYAML and msgspec are imported only when a file is read.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, Final

#: Those that DeviceController needs, of devices.kubeedge.io.
NAMES: Final = ("devices", "devicemodels", "devicestatuses")

#: Those of the record in the API, of reliablesyncs.kubeedge.io.
SYNCS: Final = ("objectsyncs", "clusterobjectsyncs")

_GROUPS: Final = {
    **dict.fromkeys(NAMES, "devices.kubeedge.io"),
    **dict.fromkeys(SYNCS, "reliablesyncs.kubeedge.io"),
}

_HEAD_WITHOUT: Final = """\
# {name} as KubeEdge 1.1 has it: without a status subresource, so that desired twin values can be
# created and applied with the object, and whoever may change it may change its status.
"""


def text(plural: str) -> str:
    """Return the YAML of one CRD, with its comments."""
    return (_directory() / f"{_GROUPS[plural]}_{plural}.yaml").read_text()


def load(plural: str, *, status_subresource: bool = True) -> dict[str, Any]:
    """Return one CRD; one of devices without its status subresource if requested."""
    import msgspec

    crd: dict[str, Any] = msgspec.json.decode(_as_json(plural))
    if not status_subresource:
        for version in crd["spec"]["versions"]:
            version.pop("subresources", None)
    return crd


@cache
def _as_json(plural: str) -> bytes:
    """Return one CRD in JSON, which is decoded in a fiftieth of the time that its YAML takes."""
    import msgspec
    import yaml

    # The loader of libyaml, if there is one, takes a twentieth of the time.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return msgspec.json.encode(yaml.load(text(plural), loader))  # noqa: S506


def manifest(*, status_subresource: bool = True) -> str:
    """Return all CRDs as one YAML stream for `kubectl apply -f -`."""
    import yaml

    if status_subresource:
        return "---\n".join(map(text, (*NAMES, *SYNCS)))
    crds = [load(plural, status_subresource=False) for plural in NAMES]
    devices = [
        _HEAD_WITHOUT.format(name=crd["spec"]["names"]["kind"])
        + yaml.safe_dump(crd, sort_keys=False, width=100)
        for crd in crds
    ]
    return "---\n".join((*devices, *map(text, SYNCS)))


def _directory() -> Path:
    """Return the directory of the CRDs: beside this file if installed, deploy/ in the sources."""
    here = Path(__file__).parent
    installed = here / "yaml"
    return installed if installed.exists() else here.parents[2] / "deploy" / "crds"
