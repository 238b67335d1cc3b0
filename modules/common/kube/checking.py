"""The check of a kubeconfig for `cloudcore config check`: it reports all faults."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from lightkube.config.kubeconfig import SingleConfig
from lightkube.config.models import User
from yarl import URL

from modules.common.kube.credentials import (
    UNUSABLE,
    describe,
    kubeconfig_path,
    load_access,
    name,
    select,
)
from modules.common.kube.errors import ConfigurationError
from supervisor.api import Problem, Settings

Parsed = TypeVar("Parsed")

_RENEW: Final = "put a valid one there"


def check_kubernetes(settings: Settings, now: datetime | None = None) -> list[Problem]:
    """Check the credentials for the configured cluster, with all files that they refer to.

    Nothing is sent to the API server. There has to be such a cluster: the embedded API server
    writes its kubeconfig at its start.
    """
    kubernetes = settings.kubernetes
    used = "in_cluster" if kubernetes.in_cluster else "kubeconfig"
    key = f"kubernetes.{used if kubernetes.kubeconfig or kubernetes.in_cluster else 'master'}"
    try:
        config = select(settings, kubeconfig_path(settings))
    except UNUSABLE as error:
        hint = "create a file that `kubectl --kubeconfig` takes"
        return [Problem(key, f"cannot use {name(settings)}: {describe(error)}", hint)]
    found = list(_Check(config, name(settings), key, now or datetime.now(UTC)).problems())
    if not found:
        try:
            load_access(settings)
        except ConfigurationError as error:
            found.append(Problem(key, error.cause, error.hint))
    return found


class _Check:
    """The check of one context: its cluster and its user."""

    def __init__(self, config: SingleConfig, where: str, key: str, now: datetime) -> None:
        self._config = config
        self._user = config.user or User()
        self._where = where
        self._key = key
        self._now = now

    def problems(self) -> Iterator[Problem]:
        url = URL(self._config.cluster.server)
        if url.scheme not in {"http", "https"} or not url.host:
            yield self._problem("server", f"{url} is no URL of an API server", "use https://HOST")
        yield from self._authority()
        yield from self._client_certificate()
        if self._user.token_file:
            yield from self._readable("tokenFile", self._user.token_file, None)[1]
        if self._user.exec:
            yield from self._plugin(self._user.exec.command)

    def _authority(self) -> Iterator[Problem]:
        cluster, what = self._config.cluster, "certificate-authority"
        data, problems = self._readable(
            what, cluster.certificate_auth, cluster.certificate_auth_data
        )
        yield from problems
        if data is None:
            return
        authorities = _parse(x509.load_pem_x509_certificates, data)
        if not authorities:
            yield self._problem(what, "it has no PEM certificate", _RENEW)
        elif all(each.not_valid_after_utc < self._now for each in authorities):
            yield self._problem(what, f"it expired on {_day(authorities[0])}", _RENEW)

    def _client_certificate(self) -> Iterator[Problem]:
        user = self._user
        what, of_key = "client-certificate", "client-key"
        certificate_data, problems = self._readable(what, user.client_cert, user.client_cert_data)
        yield from problems
        key_data, problems = self._readable(of_key, user.client_key, user.client_key_data)
        yield from problems
        certificate = certificate_data and _parse(x509.load_pem_x509_certificate, certificate_data)
        key = key_data and _parse(lambda data: load_pem_private_key(data, None), key_data)
        if certificate_data is not None and not certificate:
            yield self._problem(what, "it is no PEM certificate", _RENEW)
        if key_data is not None and not key:
            yield self._problem(of_key, "it is no PEM private key without a password", _RENEW)
        if certificate and certificate.not_valid_after_utc < self._now:
            yield self._problem(what, f"it expired on {_day(certificate)}", _RENEW)
        if certificate and certificate.not_valid_before_utc > self._now:
            begins = certificate.not_valid_before_utc
            yield self._problem(what, f"it is not valid before {begins:%Y-%m-%d}", "see the clock")
        if certificate and key and certificate.public_key() != key.public_key():
            yield self._problem(of_key, "it does not belong to the client certificate", _RENEW)

    def _plugin(self, command: str) -> Iterator[Problem]:
        if not shutil.which(command):
            reason = f"there is no executable {command}"
            yield self._problem("exec", reason, "install it, or correct the kubeconfig")

    def _readable(
        self, what: str, file: str | None, data: str | None
    ) -> tuple[bytes | None, list[Problem]]:
        """Return the content of a file, or of the inline data in its place; None without either."""
        try:
            if data:
                return base64.b64decode(data, validate=True), []
            if file:
                return Path(self._config.abs_file(file)).read_bytes(), []
        except OSError as error:
            reason = f"cannot read {error.filename}: {error.strerror}"
            return None, [self._problem(what, reason, "put a readable file there")]
        except ValueError:
            return None, [self._problem(f"{what}-data", "it is no base64", _RENEW)]
        return None, []

    def _problem(self, what: str, reason: str, hint: str) -> Problem:
        return Problem(self._key, f"{what} in {self._where}: {reason}", hint)


def _parse(parse: Callable[[bytes], Parsed], data: bytes) -> Parsed | None:
    try:
        return parse(data)
    except (ValueError, TypeError):  # TypeError: a key with a password
        return None


def _day(certificate: x509.Certificate) -> str:
    return f"{certificate.not_valid_after_utc:%Y-%m-%d}"
