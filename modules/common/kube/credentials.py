"""The address of the API server and the credentials for it, read by lightkube.

lightkube implements the kubeconfig format, in-cluster configuration, token renewal and exec
plugins. Its credentials are made for its own HTTP client; here only their Authorization header is
used.
"""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml
from lightkube.config.client_adapter import user_auth, verify_cluster
from lightkube.config.kubeconfig import KubeConfig, SingleConfig, to_mapping
from lightkube.config.models import Cluster, NameValue, User, UserExec
from lightkube.core.exceptions import ConfigError

from modules.common.file_versions import FileVersion, file_versions
from modules.common.kube.errors import ConfigurationError, CredentialsUnavailable
from modules.common.kube.proxies import Proxy, proxy_at, proxy_for
from supervisor.api import Settings

#: Exceptions of lightkube for an invalid configuration or an invalid response of a plugin.
UNUSABLE: Final = (
    *(ConfigError, OSError, AttributeError, KeyError, TypeError, ValueError),
    *(msgspec.MsgspecError, yaml.YAMLError),
)


class KubeconfigCluster(Cluster):
    """A cluster with the fields that lightkube does not read."""

    proxy_url: str = msgspec.field(name="proxy-url", default="")
    server_name: str | None = msgspec.field(name="tls-server-name", default=None)


@dataclass
class _Request:
    """The part of an HTTP request that lightkube's credentials use: they set a header."""

    headers: dict[str, str]


@dataclass
class _Answer:
    status_code: int


class Authenticator:
    """The Authorization header of one user, renewed when the server refuses it."""

    def __init__(self, auth: Any) -> None:
        self._auth = auth
        self._header: str | None = None
        self._renewing = asyncio.Lock()

    async def header(self) -> str | None:
        """Return the value of the header; None for users with a client certificate only."""
        if self._auth is None:
            return None
        if self._header is None:
            async with self._renewing:
                if self._header is None:
                    self._header = await self._ask(refused=False)
        return self._header

    async def renew(self, refused: str | None) -> bool:
        """Replace the header that the server refused; return False if there is no other."""
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
            pass  # no new credentials: the header stays the same
        except UNUSABLE as error:
            raise CredentialsUnavailable(f"cannot get credentials: {describe(error)}") from error
        finally:
            await flow.aclose()
        return request.headers.get("Authorization")


@dataclass(frozen=True)
class Access:
    """The data for a request: the server, its trusted CA, and the user."""

    server: str
    tls: ssl.SSLContext | None
    authenticator: Authenticator
    #: The certificates of the server's CA in PEM; empty if the kubeconfig names none.
    authority: str = ""
    proxy: Proxy | None = None
    #: The name that the server's certificate is for, if it is not that of its URL.
    server_name: str | None = None
    #: The kubeconfig and the files that it refers to, with their versions.
    sources: tuple[Path, ...] = ()
    versions: tuple[FileVersion, ...] = ()

    def outdated(self) -> bool:
        """Whether any of its files has been replaced or written since it was read."""
        return file_versions(self.sources) != self.versions


def kubeconfig_path(settings: Settings) -> Path | None:
    """Return the path of the kubeconfig; None for in-cluster credentials or a bare URL."""
    kubernetes = settings.kubernetes
    if kubernetes.in_cluster:
        return None
    if kubernetes.kubeconfig:
        return Path(kubernetes.kubeconfig).expanduser()
    return None if kubernetes.master else settings.data_dir / "kubeconfig"


def load_access(settings: Settings) -> Access:
    """Read the credentials; raises ConfigurationError if they cannot be used."""
    path = kubeconfig_path(settings)
    try:
        # The version of each file before it is read: a write during the read makes it outdated.
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
        authority = _authority(config)
        cluster = config.cluster
        if not isinstance(cluster, KubeconfigCluster):
            cluster = KubeconfigCluster()  # a bare URL, or of the pod
        return Access(
            server.rstrip("/"),
            tls,
            authenticator,
            authority,
            proxy_at(cluster.proxy_url) if cluster.proxy_url else proxy_for(server),
            cluster.server_name,
            sources=paths + named,
            versions=versions,
        )
    except UNUSABLE as error:
        raise ConfigurationError(f"cannot use {name(settings)}: {describe(error)}") from error


def name(settings: Settings) -> str:
    """Return the source of the credentials, for messages."""
    if path := kubeconfig_path(settings):
        return f"the kubeconfig {path}"
    return "the master" if settings.kubernetes.master else "the in-cluster configuration"


def files_of(config: SingleConfig) -> dict[str, Path]:
    """Return the paths of certificates and keys in a kubeconfig, by their fields."""
    user = config.user or User()
    named = {
        "certificate-authority": config.cluster.certificate_auth,
        "client-certificate": user.client_cert,
        "client-key": user.client_key,
    }
    return {what: Path(config.abs_file(file)) for what, file in named.items() if file}


def select(settings: Settings, path: Path | None) -> SingleConfig:
    """Read the configuration; return its selected context."""
    kubernetes = settings.kubernetes
    if kubernetes.in_cluster:
        config = KubeConfig.from_service_account()
    elif path is not None:
        if not path.exists():
            raise ConfigError("the file is not found")
        document = yaml.safe_load(path.read_bytes())
        config = KubeConfig.from_dict(document, fname=path)
        config.clusters = to_mapping(document["clusters"], "cluster", factory=KubeconfigCluster)
    else:
        config = KubeConfig.from_server(kubernetes.master)
    selected = config.get(kubernetes.context or None)
    if selected is None:
        raise ConfigError("it names no context")
    return selected


def _authority(config: SingleConfig) -> str:
    cluster = config.cluster
    if cluster.certificate_auth_data:
        return base64.b64decode(cluster.certificate_auth_data).decode("ascii")
    if cluster.certificate_auth:
        return Path(config.abs_file(cluster.certificate_auth)).read_text(encoding="ascii")
    return ""


def _user(config: SingleConfig) -> User:
    """Return the user, with absolute paths, and an exec plugin of API version v1 adapted."""
    user = config.user or User()
    if user.token_file:
        user = msgspec.structs.replace(user, token_file=str(config.abs_file(user.token_file)))
    if user.exec:
        user = msgspec.structs.replace(user, exec=_exec_plugin(user.exec))
    return user


def _exec_plugin(plugin: UserExec) -> UserExec:
    """Pass the API version to the plugin in KUBERNETES_EXEC_INFO, as client-go does.

    lightkube supports v1alpha1 and v1beta1 only; a response of v1 has the token in the same field.
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
    """Return a one-line description of an exception in UNUSABLE."""
    if isinstance(error, yaml.MarkedYAMLError) and (mark := error.problem_mark):
        return f"line {mark.line + 1}, column {mark.column + 1}: {error.context} {error.problem}"
    if isinstance(error, AttributeError):
        return "it is empty, or no YAML mapping"
    if isinstance(error, KeyError):
        return f"{error} is not defined there"
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split())
