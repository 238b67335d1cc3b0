"""Which API server to talk to and as whom, by lightkube's reading of kubeconfigs.

lightkube does the kubeconfig format, in-cluster configuration, token renewal and exec plugins.
Its credentials are written for its own HTTP client; here they are only asked for the
Authorization header that they would send.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec
import yaml
from lightkube.config.client_adapter import user_auth, verify_cluster
from lightkube.config.kubeconfig import KubeConfig, SingleConfig
from lightkube.config.models import NameValue, User, UserExec
from lightkube.core.exceptions import ConfigError

from modules.common.kube.errors import ConfigurationError, CredentialsUnavailable

#: A file's inode, time of modification in nanoseconds, and size.
FileVersion = tuple[int, int, int]

#: What lightkube lets through when a configuration or a plugin's answer is not as it should be.
UNUSABLE: Final = (
    *(ConfigError, OSError, AttributeError, KeyError, TypeError, ValueError),
    *(msgspec.MsgspecError, yaml.YAMLError),
)


class ClusterSettings(Protocol):
    """`[kubernetes]` of the configuration."""

    @property
    def kubeconfig(self) -> str: ...
    @property
    def context(self) -> str: ...
    @property
    def master(self) -> str: ...
    @property
    def in_cluster(self) -> bool: ...
    @property
    def qps(self) -> float: ...
    @property
    def burst(self) -> int: ...


class ConnectSettings(Protocol):
    """What `KubeClient.connect` needs to know of the whole."""

    @property
    def data_dir(self) -> Path: ...
    @property
    def kubernetes(self) -> ClusterSettings: ...


@dataclass
class _Request:
    """As much of a request as credentials look at: they put their header into it."""

    headers: dict[str, str]


@dataclass
class _Answer:
    status_code: int


class Authenticator:
    """The Authorization header of one user, renewed when the server no longer takes it."""

    def __init__(self, auth: Any) -> None:
        self._auth = auth
        self._header: str | None = None
        self._renewing = asyncio.Lock()

    async def header(self) -> str | None:
        """Return the header's value; None for users that only have a client certificate."""
        if self._auth is None:
            return None
        if self._header is None:
            async with self._renewing:
                if self._header is None:
                    self._header = await self._ask(refused=False)
        return self._header

    async def renew(self, refused: str | None) -> bool:
        """Get another header in place of the one the server refused; False if there is none."""
        if self._auth is None:
            return False
        async with self._renewing:
            if self._header == refused:
                self._header = await self._ask(refused=True)
        return self._header != refused

    async def _ask(self, *, refused: bool) -> str | None:
        request = _Request({})
        flow: AsyncGenerator[Any, Any] = self._auth.async_auth_flow(request)
        try:
            request = await anext(flow)
            if refused:
                request = await flow.asend(_Answer(401))
        except StopAsyncIteration:
            pass  # nothing new to offer: the header stays as it was sent
        except UNUSABLE as error:
            raise CredentialsUnavailable(f"cannot get credentials: {describe(error)}") from error
        finally:
            await flow.aclose()
        return request.headers.get("Authorization")


@dataclass(frozen=True)
class Access:
    """Everything needed to send a request: the server, how to trust it, who one is."""

    server: str
    tls: ssl.SSLContext | None
    authenticator: Authenticator
    #: The kubeconfig it came from with the files that it names, and their identities.
    sources: tuple[Path, ...] = ()
    versions: tuple[FileVersion | None, ...] = ()

    def outdated(self) -> bool:
        """Whether any of its files has been written anew since it was read."""
        return file_versions(self.sources) != self.versions


def kubeconfig_path(settings: ConnectSettings) -> Path | None:
    """Return the kubeconfig to read; None with in-cluster credentials or a bare server URL."""
    kubernetes = settings.kubernetes
    if kubernetes.in_cluster:
        return None
    if kubernetes.kubeconfig:
        return Path(kubernetes.kubeconfig).expanduser()
    return None if kubernetes.master else settings.data_dir / "kubeconfig"


def load_access(settings: ConnectSettings) -> Access:
    """Read the credentials; ConfigurationError says what is wrong with them."""
    path = kubeconfig_path(settings)
    try:
        # Each file's version before it is read: what is written meanwhile makes it outdated.
        paths = (path,) if path else ()
        versions = file_versions(paths)
        config = select(settings, path)
        server = settings.kubernetes.master or config.cluster.server
        user = _user(config)
        named = tuple(files_of(config).values()) if path else ()
        versions += file_versions(named)
        tls = None
        if server.startswith("https:"):
            tls = verify_cluster(config.cluster, user, config.abs_file, trust_env=True)
        authenticator = Authenticator(user_auth(user))
        return Access(server.rstrip("/"), tls, authenticator, paths + named, versions)
    except UNUSABLE as error:
        raise ConfigurationError(f"cannot use {name(settings)}: {describe(error)}") from error


def name(settings: ConnectSettings) -> str:
    """Say in words where the credentials come from."""
    if path := kubeconfig_path(settings):
        return f"the kubeconfig {path}"
    return "the master" if settings.kubernetes.master else "the in-cluster configuration"


def files_of(config: SingleConfig) -> dict[str, Path]:
    """Return the certificates and keys that a kubeconfig names, by its names for them."""
    user = config.user or User()
    named = {
        "certificate-authority": config.cluster.certificate_auth,
        "client-certificate": user.client_cert,
        "client-key": user.client_key,
    }
    return {what: Path(config.abs_file(file)) for what, file in named.items() if file}


def file_versions(paths: Iterable[Path]) -> tuple[FileVersion | None, ...]:
    """Return what changes when a file is replaced or written to; None without a file."""
    return tuple(map(_file_version, paths))


def _file_version(path: Path) -> FileVersion | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def select(settings: ConnectSettings, path: Path | None) -> SingleConfig:
    """Read the configuration and take the context in use."""
    kubernetes = settings.kubernetes
    if kubernetes.in_cluster:
        config = KubeConfig.from_service_account()
    elif path is not None:
        if not path.exists():
            raise ConfigError("the file is not found")
        config = KubeConfig.from_file(path)
    else:
        config = KubeConfig.from_server(kubernetes.master)
    selected = config.get(kubernetes.context or None)
    if selected is None:
        raise ConfigError("it names no context")
    return selected


def _user(config: SingleConfig) -> User:
    """Take the user, with relative paths and an exec plugin of API version v1 made usable."""
    user = config.user or User()
    if user.token_file:
        user = msgspec.structs.replace(user, token_file=str(config.abs_file(user.token_file)))
    if user.exec:
        user = msgspec.structs.replace(user, exec=_exec_plugin(user.exec))
    return user


def _exec_plugin(plugin: UserExec) -> UserExec:
    """Tell the plugin which version to speak, as client-go does with KUBERNETES_EXEC_INFO.

    lightkube knows v1alpha1 and v1beta1 alone; v1's answer has the token in the same place.
    """
    info = {
        "apiVersion": plugin.apiVersion,
        "kind": "ExecCredential",
        "spec": {"interactive": False},
    }
    version = plugin.apiVersion
    if version == "client.authentication.k8s.io/v1":
        version = "client.authentication.k8s.io/v1beta1"
    env = [*(plugin.env or []), NameValue("KUBERNETES_EXEC_INFO", json.dumps(info))]
    return msgspec.structs.replace(plugin, apiVersion=version, env=env)


def describe(error: Exception) -> str:
    """Say in one line what is wrong, for one of UNUSABLE."""
    if isinstance(error, yaml.MarkedYAMLError) and (mark := error.problem_mark):
        return f"line {mark.line + 1}, column {mark.column + 1}: {error.context} {error.problem}"
    if isinstance(error, AttributeError):
        return "it is empty, or no YAML mapping"
    if isinstance(error, KeyError):
        return f"{error} is not defined there"
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split())
