"""The CA that signs for edges: where its files are, by the configuration."""

from __future__ import annotations

from pathlib import Path

from modules.cloudhub.config import CloudHubConfig
from modules.common.pki.authority import AuthorityFiles
from modules.common.pki.certificates import Pki


def authority_files(config: CloudHubConfig, data_dir: Path) -> AuthorityFiles | Path:
    """Return the files of the CA, or its certificate alone if there is no key to sign with."""
    if not config.ca:
        return Pki(data_dir / "pki").authority
    if not config.ca_key:
        return Path(config.ca)
    return AuthorityFiles(Path(config.ca), Path(config.ca_key), data_dir / "pki.fingerprint")
