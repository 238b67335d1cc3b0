"""What `cloudcore doctor` checks for CloudHub: certificates, open files, the CA in the cluster."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from pathlib import Path

from modules.cloudhub import open_files
from modules.cloudhub.config import CloudHubConfig
from modules.cloudhub.joining.authority import authority_files
from modules.cloudhub.joining.rights import RIGHTS
from modules.cloudhub.other_replicas import other_replicas
from modules.cloudhub.replicas import rights as replicas_rights
from modules.common.kube import KubeClient
from modules.common.kube.api_checks import api_check, replica_rights_check, rights_check
from modules.common.kubeedge_secrets import CA_NAME, CA_SECRET, NAMESPACE, authority_of, read_secret
from modules.common.pki import checks as pki_checks
from modules.common.pki.authority import AuthorityFiles, fingerprint, load_authority
from modules.common.pki.certificates import Pki
from modules.common.pki.host_names import served_names
from supervisor.api import Check, Finding, Settings

Command = Callable[..., str]


def checks(config: CloudHubConfig, settings: Settings, command: Command) -> list[Check]:
    def files() -> Iterator[Finding]:
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        needed = config.node_limit + open_files.OTHERS
        if resource.RLIM_INFINITY != hard < needed:
            text = (
                f"the limit of open files, {hard}, is too low for node_limit = {config.node_limit}"
            )
            more = f"{text}; raise it (LimitNOFILE of systemd)"
            yield Finding.wrong(more, f"ulimit -Hn {needed}")
        else:
            yield Finding.ok(f"open files are enough for node_limit = {config.node_limit}")

    found = [
        Check("the limit of open files for edges", files),
        *_certificates(config, settings, command),
    ]
    if config.https:
        found.append(rights_check("cloudhub", settings, RIGHTS))
        authority = authority_files(config, settings.data_dir)
        found.append(_authority_in_cluster(authority, settings))
    if settings.replicas.enabled:
        found.append(replica_rights_check("cloudhub", settings, replicas_rights.RIGHTS))
        found.append(other_replicas(config, settings))
    return found


def _certificates(config: CloudHubConfig, settings: Settings, command: Command) -> list[Check]:
    names = served_names(config.names, config.address)
    if config.ca:
        files = authority_files(config, settings.data_dir)

        def configured() -> Iterator[Finding]:
            # Which of the host's own addresses edges dial is not known.
            named = config.names
            yield from pki_checks.configured_files(
                files, Path(config.cert), Path(config.key), named
            )

        return [Check("the configured certificates", configured)]
    pki = Pki(settings.data_dir / "pki")
    return [
        Check("the CA", lambda: pki_checks.own_authority(pki)),
        Check("the certificates", lambda: pki_checks.own_certificates(pki, names, command)),
    ]


def _authority_in_cluster(files: AuthorityFiles | Path, settings: Settings) -> Check:
    async def look(client: KubeClient) -> list[Finding]:
        data = await read_secret(client, CA_SECRET)
        if data is None:
            return [Finding.ok(f"{CA_NAME} does not exist: cloudcore makes it")]
        try:
            theirs = fingerprint(authority_of(data).certificate)
            ours = _own_fingerprint(files)
        except (ValueError, OSError) as error:
            return [Finding.wrong(str(error), _show_secret())]
        if ours is None:
            return [Finding.ok(f"{CA_NAME} has the CA, which cloudcore takes at its start")]
        if ours == theirs:
            return [Finding.ok(f"{CA_NAME} has the CA of this cloudcore")]
        text = (
            f"{CA_NAME} has another CA (SHA-256 fingerprint {theirs}) than this cloudcore "
            f"({ours}): edges of one are refused by the other, and so are its tokens. "
            "If the edges trust the secret's, stop cloudcore and move the files away (pki and "
            "pki.fingerprint in the data directory); if they trust the files, delete the secret"
        )
        return [Finding.wrong(text, f"kubectl -n {NAMESPACE} delete secret {CA_SECRET}")]

    return api_check("the CA in the cluster", settings, look)


def _own_fingerprint(files: AuthorityFiles | Path) -> str | None:
    if isinstance(files, Path) or not files.cert.exists():
        return None
    return fingerprint(load_authority(files).certificate)


def _show_secret() -> str:
    return f"kubectl -n {NAMESPACE} get secret {CA_SECRET} -o yaml"
