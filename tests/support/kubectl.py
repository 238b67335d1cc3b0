"""The real kubectl, with the API server of a test."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

KUBECTL_SECONDS = 20
Kubectl = Callable[..., Any]


def program() -> str:
    """Return the path of kubectl: the one that `make kubectl` has installed, or another one."""
    beside = Path(sys.executable).parent / "kubectl"
    found = str(beside) if beside.exists() else shutil.which("kubectl")
    assert found, "kubectl is missing: set up with `make kubectl`"
    return found


def runner(home: Path, kubeconfig: Path) -> Kubectl:
    """Return a function that runs kubectl, and returns its output, stderr included."""
    path = program()

    async def run(*arguments: str, stdin: Any = None, expect: int = 0, editor: str = "") -> str:
        process = await asyncio.create_subprocess_exec(
            path,
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(home),
                "KUBECONFIG": str(kubeconfig),
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

    return run
