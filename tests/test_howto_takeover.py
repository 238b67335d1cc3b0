"""docs/howto/takeover.md: its commands of cloudcore are run as they stand there."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from modules.common.kube import KubeClient
from modules.common.kubeedge_secrets import authority_data, create_secret
from modules.common.pki.authority import new_authority
from modules.common.pki.certificates import Pki
from supervisor.api import KubernetesSettings, Settings
from supervisor.cli.app import cloudcore
from tests.support.apiserver import embedded_apiserver

PAGE = (Path(__file__).parents[1] / "docs" / "howto" / "takeover.md").read_text()

#: Those that need a cloudcore that runs; tests/e2e/test_takeover.py moves a fleet with them.
RUNNING = {"run", "stop", "nodes"}


def commands() -> list[list[str]]:
    """Return the words of each command line of cloudcore in the page."""
    blocks = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    found = [shlex.split(line.partition("#")[0]) for line in lines]
    return [words[1:] for words in found if words and words[0] == "cloudcore"]


@pytest.fixture
async def kubeconfig(
    tmp_path: Path, pki: Pki, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Path]:
    """A cluster with the secret of KubeEdge, and its configuration in the working directory."""
    async with embedded_apiserver(tmp_path, pki) as (path, _):
        monkeypatch.chdir(tmp_path)
        files = dict.fromkeys(
            ("tlsCAFile", "tlsCAKeyFile", "tlsCertFile", "tlsPrivateKeyFile"), "/no"
        )
        hub = {**files, "advertiseAddress": ["127.0.0.1"]}
        document = {
            "kind": "CloudCore",
            "kubeAPIConfig": {"kubeConfig": str(path)},
            "modules": {"cloudHub": hub},
        }
        Path("cloudcore.yaml").write_text(json.dumps(document))
        old: dict[str, Any] = {
            "controller": {"kube": {"kubeconfig": str(path)}},
            "cloudhub": {"ca": "/no", "cert": "/no", "key": "/no"},
        }
        Path("controller.yaml").write_text(json.dumps(old))
        Path("modules.yaml").write_text('modules: {enabled: ["cloudhub"]}')
        Path("logging.yaml").write_text("loggerLevel: INFO")
        settings = Settings(tmp_path, tmp_path, KubernetesSettings(kubeconfig=str(path)))
        async with KubeClient.connect(settings) as api:
            await create_secret(api, "casecret", authority_data(new_authority()))
        yield path


async def invoke(words: list[str], kubeconfig: Path) -> Result:
    """Run a command in the working directory; its output goes to the FILE of `> FILE`."""
    target = None
    if ">" in words:
        at = words.index(">")
        words, target = words[:at], Path(words[at + 1])
    said = [
        word.replace("admin.conf", str(kubeconfig)).replace("/etc/kubeedge/config/", "")
        for word in words
    ]
    if words[0] in {"doctor", "takeover"}:
        said += ["--run-dir", "run", "--data-dir", "data"]
    result = await asyncio.to_thread(CliRunner().invoke, cloudcore, said)
    if target:
        target.write_text(result.stdout)
    return result


async def test_the_commands(kubeconfig: Path) -> None:
    seen = set()
    for words in commands():
        name = " ".join(words[:2]) if words[0] in {"config", "takeover"} else words[0]
        seen.add(name)
        if name in RUNNING:
            assert name in cloudcore.list_commands(click.Context(cloudcore))
            continue
        result = await invoke(words, kubeconfig)
        assert result.exit_code in {0, 1}, (words, result.output)
        assert result.exception is None or isinstance(result.exception, SystemExit), words
        if name == "takeover check" and "controller.yaml" not in words:
            assert "takes the CA of the secret kubeedge/casecret at its" in result.stdout
        elif name in {"config convert", "config check"}:
            assert result.exit_code == 0, (words, result.output)
    assert seen == {"config convert", "config check", "takeover check", "doctor", *RUNNING}


def test_the_sample_has_the_form_of_the_report() -> None:
    [sample] = [block for block in PAGE.split("```")[1::2] if block.startswith("\n")]
    marks = re.compile(r"  (ok|note|wrong|unclear) +\S| {11}\S|\S")
    assert all(marks.match(line) for line in sample.splitlines() if line)
    assert max(map(len, sample.splitlines())) <= 80
