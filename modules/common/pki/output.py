"""The output directory for a node's certificate and private key."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from ipc.files import PUBLIC, replace_file

#: Lines of a .gitignore that keep the key out of git.
_IGNORING: Final = frozenset({"*", "/*", "*.key", "/*.key", "edge.key", "/edge.key"})


def prepare(directory: Path) -> list[str]:
    """Create the directory if it is missing; return warnings about its use for a private key.

    In a git work tree, write a .gitignore that excludes the key, unless there is one already.
    Raises OSError.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return [text for text in (_about_others(directory), _keep_out_of_git(directory)) if text]


def _about_others(directory: Path) -> str:
    status = directory.stat()
    if status.st_uid not in {os.geteuid(), 0}:
        return (
            f"Warning: {directory} belongs to user {status.st_uid}, who can replace what is written"
        )
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return (
            f"Warning: others can write to {directory}, and replace what is written; run "
            f"`chmod go-w {directory}`"
        )
    return ""


def _keep_out_of_git(directory: Path) -> str:
    real = directory.resolve()
    if not any((parent / ".git").exists() for parent in (real, *real.parents)):
        return ""
    ignoring = directory / ".gitignore"
    if not ignoring.exists():
        replace_file(ignoring, b"/edge.key\n", PUBLIC)
        return f"edge.key is a private key: {ignoring} keeps it out of git"
    if _IGNORING.isdisjoint(ignoring.read_text("utf-8", "replace").split()):
        return (
            f"Warning: edge.key is a private key, and {directory} is in a git checkout; add "
            f"edge.key to {ignoring}"
        )
    return ""
