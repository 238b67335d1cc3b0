"""Adds man pages and shell completions to a wheel, if `make share` has made them.

They are made from the commands, which needs more than a build environment has; so a wheel that is
built from a checkout alone goes without.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SHARE = Path("build") / "share"


class CustomBuildHook(BuildHookInterface[Any]):
    """What pyproject.toml names as `tool.hatch.build.hooks.custom`."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        """Add each file below build/share at its place below share/."""
        made = Path(self.root) / SHARE
        shared = build_data.setdefault("shared_data", {})
        for file in sorted(made.rglob("*")):
            if file.is_file():
                shared[str(file)] = str(Path("share") / file.relative_to(made))
