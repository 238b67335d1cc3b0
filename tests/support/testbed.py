"""A supervisor for modules that misbehave: `testbed BASE MODULE,... [KEY=VALUE...]`.

With a file BASE/cloudcore.toml, that is the configuration, and the names are not heeded.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from supervisor import run_directory
from supervisor.api import Module
from supervisor.config import installed, load
from supervisor.fleet import trouble_watch
from supervisor.host.paths import resolve
from supervisor.main import run
from supervisor.unit import unit_status
from tests.support.badmodules import BAD
from tests.support.chaosmodules import CHAOTIC
from tests.support.goodmodules import GOOD


def _given(module: type[Module]) -> type[Module]:
    return module


def main(arguments: Sequence[str]) -> None:
    base, enabled, *sets = arguments
    names = ", ".join(f'"{name}"' for name in enabled.split(","))
    os.umask(0o022)
    run_directory.CHECK_INTERVAL = float(os.environ.get("TESTBED_LOOK", "0.1"))
    trouble_watch.INTERVAL, unit_status.FULL_LASTING = 0.1, 0.3
    file = Path(base) / "cloudcore.toml"
    load_again = partial(
        load,
        file if file.exists() else None,
        sets if file.exists() else [f"modules.enabled=[{names}]", *sets],
        {},
        modules={
            **installed.find(),
            **{module.name: partial(_given, module) for module in (*GOOD, *BAD, *CHAOTIC)},
        },
    )
    gc.disable()  # as `cloudcore run` does
    sys.exit(run(load_again(), resolve(Path(base) / "run", Path(base)), load_again))


if __name__ == "__main__":
    main(sys.argv[1:])
