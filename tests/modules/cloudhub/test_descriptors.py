"""Open files: as many as the system allows, and a warning where that is too few."""

from __future__ import annotations

import subprocess
import sys

import pytest

CODE = """
import logging, resource
logging.basicConfig(format="%(message)s")
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 600))
from modules.cloudhub.descriptors import raise_limit
print(raise_limit(NODES), *resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.parametrize(("nodes", "warned"), [(88, False), (89, True)])
def test_the_limit_is_raised_as_far_as_it_may_be(nodes: int, warned: bool) -> None:
    """In a process of its own: a hard limit does not go up again."""
    done = subprocess.run(
        [sys.executable, "-c", CODE.replace("NODES", str(nodes))],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert done.stdout.split() == ["600", "600", "600"]
    assert (f"too few for node_limit = {nodes}" in done.stderr) is warned
