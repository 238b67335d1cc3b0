"""The CA that signs for edges: where its files are, by the configuration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from modules.common.pki.authority import AuthorityFiles
from modules.common.pki.certificates import configured_authority

if TYPE_CHECKING:  # it imports pydantic, which `cloudcore token list` does without
    from modules.cloudhub.config import CloudHubConfig


def authority_files(config: CloudHubConfig, data_dir: Path) -> AuthorityFiles | Path:
    """Return the files of the CA, or its certificate alone if there is no key to sign with."""
    return configured_authority(config.ca, config.ca_key, data_dir)
