"""What all tests have in common."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from modules.common.pki.certificates import Pki

# Who runs the tests by nohup or from a script's background has these signals ignored, and
# processes inherit that: the supervisor would leave them ignored, as it should.
for _number in (signal.SIGHUP, signal.SIGQUIT):
    signal.signal(_number, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)

# Tables are as wide as they are in a pipe, whatever the terminal of who runs the tests.
os.environ.pop("COLUMNS", None)

# The same examples every time, so that a change is judged by itself; fuzzing is done apart.
settings.register_profile("same-every-time", derandomize=True, deadline=None)
settings.load_profile("same-every-time")
# `make fuzz`: other examples every time, and many; it is run again and again until its time is up.
settings.register_profile(
    "fuzz", max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """`-n auto`, as in `make test`: workers for many tests, none for a file or for chosen tests."""
    options = config.option
    if options.keyword or options.capture == "no":
        return 0
    paths = {name.partition("::")[0] for name in options.file_or_dir}
    files = len(paths) if paths and all(path.endswith(".py") for path in paths) else None
    if files == 1:
        return 0
    # Two even on one CPU: much of the time a test waits for processes.
    workers = max(2, len(os.sched_getaffinity(0)))
    return min(workers, files) if files else workers


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    """Make keys and certificates once for all tests, in a data directory that has nothing else."""
    from modules.common.pki.certificates import (
        ensure_pki,  # half a second, which few directories need
    )

    return ensure_pki(tmp_path_factory.mktemp("data") / "pki", [])
