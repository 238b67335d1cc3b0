"""`cloudcore dashboard`: a link that logs a browser in."""

from __future__ import annotations

from typing import Any, Final

import click

from supervisor import client
from supervisor.cli.asking import asking
from supervisor.cli.commands import Command
from supervisor.cli.options import Globals, output_option, run_dir_option

_REACHABLE: Final = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}
_HINT: Final = (
    "enable it with `cloudcore enable dashboard`, or name it in modules.enabled of the "
    "configuration"
)


@click.command("dashboard", cls=Command)
@output_option("text")
@run_dir_option
@click.pass_obj
def dashboard(options: Globals, output: str) -> None:
    """Print a link that logs a browser in to the dashboard.

    It can be used once, within ten minutes. Keep it to yourself: who opens it may control
    cloudcore.
    """
    from modules.dashboard.access.links import LIFETIME, LoginLinks

    run_dir = options.paths().run_dir
    with asking():
        status = client.request(options.paths().admin_socket, "GET", "/status")
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
