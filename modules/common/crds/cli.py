"""`cloudcore crds`: the definitions of Device and DeviceModel."""

from __future__ import annotations

import click
import cloup

from modules.common.crds import manifests as definitions


@cloup.command("crds")
@cloup.option(
    "--status-subresource/--without-status-subresource",
    default=True,
    show_default=True,
    help="Whether a device's status is a subresource of it, or part of the object as in "
    "KubeEdge 1.1.",
)
def crds(*, status_subresource: bool) -> None:
    """Print the CustomResourceDefinitions that DeviceController needs.

      cloudcore crds | kubectl apply -f -

    The embedded API server has them. In another cluster they are needed once, or cloudcore
    installs them itself with modules.devicecontroller.install_crds = true. They are not for a
    cluster that has devices of KubeEdge 1.15 or later (v1beta1).

    With the status subresource, which is Kubernetes' way, `kubectl apply -f` of a device takes
    the desired values that it has in status.twins from the annotation that kubectl leaves; they
    are changed later by applying it again, or with

      kubectl edit devices NAME --subresource=status
    """
    click.echo(definitions.manifest(status_subresource=status_subresource), nl=False)
