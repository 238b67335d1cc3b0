"""`cloudcore crds`: the CustomResourceDefinitions of devices and of ObjectSyncs."""

from __future__ import annotations

import click

from modules.common.crds import manifests as definitions
from supervisor.cli.commands import Command, option


@click.command(cls=Command, name="crds")
@option(
    "--status-subresource/--without-status-subresource",
    default=True,
    show_default=True,
    help="Whether a device's status is a subresource of it, or part of the object as in "
    "KubeEdge 1.1.",
)
def crds(*, status_subresource: bool) -> None:
    """Print the CustomResourceDefinitions that the controllers need.

      cloudcore crds | kubectl apply -f -

    The embedded API server has them built in. In another cluster, install them once, or let
    cloudcore do it with modules.devicecontroller.install_crds = true. A cluster with those of
    KubeEdge 1.15 to 1.23 needs no others. ObjectSync and ClusterObjectSync are needed with
    modules.edgecontroller.record = "objectsync" alone.

    With the status subresource of v1alpha1, the default, Kubernetes ignores status.twins in
    `kubectl apply -f` of a device; DeviceController takes the desired values from the annotation
    that kubectl sets.
    To change them later, apply the device again, or use

      kubectl edit devices.v1alpha1.devices.kubeedge.io NAME --subresource=status
    """
    click.echo(definitions.manifest(status_subresource=status_subresource), nl=False)
