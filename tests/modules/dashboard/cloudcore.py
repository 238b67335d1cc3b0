"""A cloudcore with a dashboard."""

from __future__ import annotations

from pathlib import Path

from tests.support import zygote
from tests.support.running import Running

# The process that is forked imports it once, and not each supervisor that it becomes.
zygote.preload("modules.dashboard.main")

#: The token of the admin interface in these tests.
TOKEN = "a-token-of-tests"

#: Seconds for importing what all modules need, on a busy machine.
IMPORTS = 90.0


def begin(base: Path, *modules: str, sets: tuple[str, ...] = ()) -> Running:
    """Start a cloudcore with a dashboard and other modules of the testbed."""
    token = base / "token"
    token.write_text(TOKEN)
    names = ",".join(("dashboard", *modules))
    running = Running(
        base,
        names,
        sets=("modules.dashboard.port=0", f"admin.token_file={token}", *sets),
    )
    running.wait_for("starting module", IMPORTS)
    running.ready("dashboard", *modules)
    return running
