from __future__ import annotations

import asyncio
import io
import json
import os
import shutil
import ssl
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Self

import aiohttp
import pytest

from modules.apiserver.catalog import Catalog
from modules.apiserver.http.server import Server
from modules.apiserver.kinds.builtin import BUILTIN
from modules.apiserver.registry.registry import Registry
from modules.apiserver.storage.store import Store
from modules.common.pki.certificates import Pki
from tests.support.apiserver import running_server
from tests.support.pki import copy_pki

KUBECTL_SECONDS = 20


def tls(pki: Pki, *, certificate: str = "admin") -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(pki.ca_cert))
    if certificate:
        directory = pki.directory
        context.load_cert_chain(directory / f"{certificate}.crt", directory / f"{certificate}.key")
    return context


class Api:
    """Requests to the server, over real HTTPS."""

    def __init__(self, server: Server, session: aiohttp.ClientSession) -> None:
        self.server = server
        self.session = session

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        expect: int | None = None,
        content_type: str = "application/json",
        accept: str = "application/json",
    ) -> Any:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        async with self.session.request(
            method,
            self.server.url + path,
            # From memory as a file: aiohttp warns of large bodies that are bytes.
            data=None if body is None else io.BytesIO(data),
            headers={"Content-Type": content_type, "Accept": accept},
        ) as response:
            answer = await response.json(content_type=None)
            if expect is None:
                assert response.ok, answer
            else:
                assert response.status == expect, answer
            return answer

    async def patch(self, path: str, body: Any, kind: str = "merge-patch", **options: Any) -> Any:
        return await self.call(
            "PATCH", path, body, content_type=f"application/{kind}+json", **options
        )

    async def create(self, path: str, **obj: Any) -> Any:
        return await self.call("POST", path, obj, expect=201)

    def watch(self, path: str) -> WatchStream:
        return WatchStream(self.session, self.server.url + path)


class WatchStream:
    """`async with api.watch(…) as watch: await watch.next()`."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._request = session.get(url)

    async def __aenter__(self) -> Self:
        self.response = await self._request.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        self.response.close()

    async def next(self) -> Any:
        """Return the next event; None at the end of the stream."""
        async with asyncio.timeout(5):
            line = await self.response.content.readline()
        return json.loads(line) if line else None


@pytest.fixture
async def server(tmp_path: Path, pki: Pki) -> AsyncIterator[Server]:
    copy_pki(pki, tmp_path / "data")
    async with running_server(tmp_path / "data") as running:
        yield running


@pytest.fixture
async def api(server: Server) -> AsyncIterator[Api]:
    connector = aiohttp.TCPConnector(ssl=tls(server.pki))
    async with aiohttp.ClientSession(connector=connector, read_bufsize=2**22) as session:
        yield Api(server, session)


@pytest.fixture
def registry(tmp_path: Path) -> AsyncIterator[Registry]:
    store = Store(tmp_path / "apiserver.db")
    yield Registry(store, Catalog(BUILTIN), "CA")
    store.close()


Kubectl = Callable[..., Any]


@pytest.fixture
def kubectl(server: Server, tmp_path: Path) -> Kubectl:
    """Run the real kubectl; returns its output, stderr included."""
    beside = Path(sys.executable).parent / "kubectl"
    program = str(beside) if beside.exists() else shutil.which("kubectl")
    assert program, "kubectl is missing: set up with `make kubectl`"

    async def run(*arguments: str, stdin: Any = None, expect: int = 0, editor: str = "") -> str:
        process = await asyncio.create_subprocess_exec(
            program,
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(tmp_path),
                "KUBECONFIG": str(tmp_path / "data" / "kubeconfig"),
                "KUBE_EDITOR": editor,
            },
        )
        text = b"" if stdin is None else json.dumps(stdin).encode()
        try:
            async with asyncio.timeout(KUBECTL_SECONDS):
                output, _ = await process.communicate(text)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert process.returncode == expect, output.decode()
        return output.decode()

    run.program = program  # type: ignore[attr-defined]
    return run


def pod(name: str = "p", *, node: str = "", **spec: Any) -> dict[str, Any]:
    obj: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"containers": [{"name": "c", "image": "nginx:1.25"}], **spec},
    }
    if node:
        obj["spec"]["nodeName"] = node
    return obj
