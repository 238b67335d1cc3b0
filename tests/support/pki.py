"""Keys and certificates for tests: the fixture `pki` makes them once, servers get copies."""

from __future__ import annotations

import shutil
from pathlib import Path

from modules.common.pki.certificates import Pki


def copy_pki(pki: Pki, data_dir: Path) -> None:
    """Give a data directory its keys: three RSA keys for each server would take most of a test."""
    shutil.copytree(pki.directory, data_dir / "pki")
