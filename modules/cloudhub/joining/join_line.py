"""The line to type on a new edge node: `keadm join` with a token."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from modules.cloudhub.joining.authority import authority_files
from modules.common.host_port import host_port
from modules.common.pki import signing
from modules.common.pki.authority import AuthorityFiles, load_authority
from modules.common.pki.certificates import WILDCARDS
from modules.common.pki.host_names import own_addresses
from modules.common.pki.token_store import Token, TokenStore

if TYPE_CHECKING:  # it imports pydantic, which `cloudcore token list` does without
    from modules.cloudhub.config import CloudHubConfig

#: The version of the edge that the line names, and the seconds for which a token is good.
KUBEEDGE: Final = "1.23.1"
LIFETIME: Final = 86400


class CannotJoin(ValueError):
    """No token can be made, or no edge can use one; the text says why, and what to do."""


class Ports(NamedTuple):
    """The ports on which CloudHub listens for edges, and for edges that join; 0: not known."""

    websocket: int
    https: int


def token_authority(config: CloudHubConfig, data_dir: Path) -> signing.Authority:
    """Load the CA that signs tokens; raises CannotJoin if it is not there or has no key."""
    files = authority_files(config, data_dir)
    if not isinstance(files, AuthorityFiles):
        raise CannotJoin(
            "cloudcore has no key of the CA to make tokens with; set modules.cloudhub.ca_key"
        )
    if not files.cert.exists():
        raise CannotJoin(
            f"there is no CA yet ({files.cert}); start cloudcore, or run `cloudcore certs init`"
        )
    return load_authority(files)


def join_command(config: CloudHubConfig, version: str, ports: Ports | None = None) -> list[str]:
    """Return `keadm join` without its token; `ports` are those of a running CloudHub."""
    if not config.https:
        raise CannotJoin("edges cannot join: modules.cloudhub.https is false")
    ports = ports or Ports(config.port, config.https_port)
    if not all(ports):
        raise CannotJoin(
            "cloudhub's ports are chosen at its start (port = 0): see `cloudcore status`"
        )
    host = _host(config)
    where = host_port(host, ports.websocket)
    command = ["keadm", "join", f"--cloudcore-ipport={where}"]
    if ports.https != type(config)().https_port:
        command.append(f"--certport={ports.https}")
    return [*command, f"--kubeedge-version={version}"]


def make_join_line(config: CloudHubConfig, data_dir: Path, ports: Ports) -> tuple[str, Token]:
    """Make a token, and return the line with it; raises CannotJoin, ValueError and OSError."""
    authority = token_authority(config, data_dir)
    command = join_command(config, KUBEEDGE, ports)
    token = TokenStore(data_dir).create(LIFETIME)
    return shlex.join([*command, f"--token={token.text(authority)}"]), token


def _host(config: CloudHubConfig) -> str:
    """Return what an edge may dial: a configured name, or the address of the default route."""
    if config.names:
        return config.names[0]
    if config.address not in WILDCARDS:
        return config.address
    return (own_addresses() or ["127.0.0.1"])[0]
