"""`cloudcore dashboard`: a link that logs a browser in."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click

from supervisor import client
from supervisor.cli.commands import Command, option
from supervisor.cli.options import output_option

_REACHABLE: Final = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}
_HINT: Final = (
    "enable it with `cloudcore enable dashboard`, or name it in modules.enabled of the "
    "configuration"
)


def _run_dir(context: click.Context, _: click.Parameter, value: Path | None) -> Path:
    """Return the run directory of the option, or else that of the configuration."""
    if value is None and context.obj is None:
        raise click.UsageError("no run directory given; use --run-dir")
    return value or Path(context.obj.paths().run_dir)


@click.command("dashboard", cls=Command)
@output_option("text")
@option(
    "--run-dir",
    type=click.Path(file_okay=False, path_type=Path),
    callback=_run_dir,
    help="cloudcore's run directory, which holds its sockets.",
)
def dashboard(output: str, run_dir: Path) -> None:
    """Print a link that logs a browser in to the dashboard.

    It can be used once, within ten minutes. Keep it to yourself: who opens it may control
    cloudcore.
    """
    from modules.dashboard.access.links import LIFETIME, LoginLinks

    try:
        status = client.request(run_dir / "admin.sock", "GET", "/status")
    except (client.NotRunning, client.AdminError) as error:
        raise click.ClickException(str(error)) from error
    address = _address(status)
    try:
        code = LoginLinks(run_dir).create()
    except OSError as error:
        raise click.ClickException(f"cannot write to {run_dir}: {error.strerror}") from error
    link = f"http://{address}/login#{code}"
    if output == "json":
        import json

        click.echo(json.dumps({"link": link, "expires_seconds": LIFETIME}))
    else:
        click.echo(link)


def _address(status: dict[str, Any]) -> str:
    """Return HOST:PORT at which this machine reaches the dashboard."""
    for module in status["modules"]:
        if module["name"] == "dashboard":
            listening = module["details"].get("listen", {}).get("http")
            if module["state"] != "ready" or not listening:
                reason = f" ({module['reason']})" if module["reason"] else ""
                hint = f"; {_HINT}" if not module["enabled"] else ""
                raise click.ClickException(f"the dashboard is {module['state']}{reason}{hint}")
            host, _, port = listening.rpartition(":")
            return f"{_REACHABLE.get(host, host)}:{port}"
    raise click.ClickException(f"this cloudcore has no dashboard; {_HINT}")
