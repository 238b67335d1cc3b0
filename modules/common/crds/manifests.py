"""The CustomResourceDefinitions of devices.kubeedge.io: the files of deploy/crds.

Importing it is cheap but for PyYAML, which it takes when something is read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

NAMES: Final = ("devices", "devicemodels")

_HEAD_WITHOUT: Final = """\
# {name} as KubeEdge 1.1 has it: without a status subresource, so that desired twin values can be
# created and applied with the object, and whoever may change it may change its status.
"""


def text(plural: str) -> str:
    """Return the YAML of one CRD, with its comments."""
    return (_directory() / f"devices.kubeedge.io_{plural}.yaml").read_text()


def load(plural: str, *, status_subresource: bool = True) -> dict[str, Any]:
    """Return one CRD; a device's without its status subresource if so wanted."""
    import yaml

    # libyaml's, where there is one: it takes a twentieth of the time.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    crd: dict[str, Any] = yaml.load(text(plural), loader)  # noqa: S506
    if not status_subresource:
        for version in crd["spec"]["versions"]:
            version.pop("subresources", None)
    return crd


def manifest(*, status_subresource: bool = True) -> str:
    """Return all of them as one YAML stream, as `kubectl apply -f -` takes it."""
    import yaml

    if status_subresource:
        return "---\n".join(map(text, NAMES))
    crds = [load(plural, status_subresource=False) for plural in NAMES]
    return "---\n".join(
        _HEAD_WITHOUT.format(name=crd["spec"]["names"]["kind"])
        + yaml.safe_dump(crd, sort_keys=False, width=100)
        for crd in crds
    )


def _directory() -> Path:
    """In an installed cloudcore beside this file, in its sources in deploy/."""
    here = Path(__file__).parent
    installed = here / "yaml"
    return installed if installed.exists() else here.parents[2] / "deploy" / "crds"
