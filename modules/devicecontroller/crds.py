"""Seeing to it that the API server knows Device and DeviceModel."""

from __future__ import annotations

import logging
from contextlib import aclosing
from typing import Final

from modules.common import crds
from modules.common.kube import (
    CUSTOMRESOURCEDEFINITIONS,
    DEVICEMODELS,
    DEVICES,
    AlreadyExists,
    ApiError,
    KubeClient,
    NotFound,
    Resource,
    retry,
)

_NEEDED: Final = (DEVICES, DEVICEMODELS)

log = logging.getLogger(__name__)


async def see_to_crds(client: KubeClient, namespace: str | None, *, install: bool) -> str:
    """Say plainly which CRDs are missing, or install them; return the names still missing.

    Waits while the API server is away.
    """
    missing = [each for each in _NEEDED if not await _is_served(client, each, namespace)]
    if install:
        missing = [each for each in missing if not await _install(client, each)]
    names = ", ".join(f"{each.plural}.{each.group}" for each in missing)
    if names:
        log.error(
            f"no device can be synchronized: the cluster lacks the CRDs {names}. Install them "
            f"with `cloudcore crds | kubectl apply -f -`, or let cloudcore do it: "
            f"modules.devicecontroller.install_crds = true"
        )
    return names


async def _install(client: KubeClient, resource: Resource) -> bool:
    definition = crds.load(resource.plural)
    name = definition["metadata"]["name"]
    try:
        await retry(lambda: client.create(CUSTOMRESOURCEDEFINITIONS, definition), client.health)
    except AlreadyExists:
        log.debug("the CRD %s is there already, and about to be served", name)
    except ApiError as error:
        log.error(f"cannot install the CRD {name}: {error}")
        return False
    else:
        log.info(f"installed the CRD {name}")
    return True


async def _is_served(client: KubeClient, resource: Resource, namespace: str | None) -> bool:
    async def first_page() -> None:
        async with aclosing(client.pages(resource, namespace)) as pages:
            await anext(pages)

    try:
        await retry(first_page, client.health)
    except NotFound:
        return False
    except ApiError as error:
        log.warning(f"cannot tell whether {resource.plural} are served: {error}")
    return True
