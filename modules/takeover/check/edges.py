"""Which edges come over, and what each is sent, by KubeEdge's record of what it has."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from modules.common.crds.device_versions import DeviceVersions
from modules.common.device_references import DEVICE_TYPE, MODEL_TYPE, selected_node
from modules.common.edge_versions import V1_15, EdgeVersion
from modules.common.kube import (
    CLUSTEROBJECTSYNCS,
    CONFIGMAPS,
    DEVICEMODELS_V1BETA1,
    DEVICES,
    DEVICES_V1BETA1,
    NODES,
    OBJECTSYNCS,
    PODS,
    SECRETS,
    KubeClient,
    Object,
    Resource,
    served_resources,
)
from modules.common.pod_references import CONFIGMAP, SECRET
from modules.common.sync.sync_form import Sync, read_sync
from modules.takeover.check.difference import (
    DEVICE_KINDS,
    KINDS,
    Recorded,
    Wanted,
    difference,
    recorded,
    wanted,
)
from modules.takeover.check.subject import RECORD, Subject
from supervisor.api import Check, Finding

#: Edges of which each has a line.
_LISTED: Final = 20

_PLACED: Final = "spec.nodeName!="


def checks(subject: Subject) -> list[Check]:
    async def records(client: KubeClient) -> list[Finding]:
        return list(_records(subject, await _served(client), await _syncs(client)))

    async def devices(client: KubeClient) -> list[Finding]:
        found = await _read_devices(client, DEVICES, DEVICES_V1BETA1)
        return list(_devices(await DeviceVersions.read(client), found))

    async def edges(client: KubeClient) -> list[Finding]:
        fleet = await _read_fleet(client, subject)
        return [*_edges(subject, fleet), *_certificates(subject, fleet.nodes)]

    return [
        subject.api_check("ObjectSyncs: KubeEdge's record of what edges have", records),
        subject.api_check("devices", devices),
        subject.api_check("the edges that come over", edges),
    ]


@dataclass(frozen=True)
class _Fleet:
    """The edges, what each is to have, and what is known that it has."""

    nodes: list[Object]
    wanted: Wanted
    has: Recorded
    old_devices: Counter[str] = field(default_factory=Counter)
    """The numbers of devices of v1alpha1, by node."""


async def _read_fleet(client: KubeClient, subject: Subject) -> _Fleet:
    nodes = await client.list(NODES, label_selector=subject.selector)
    pods = await client.list(PODS, field_selector=_PLACED)
    devices = await _read_devices(client, DEVICES, DEVICES_V1BETA1, DEVICEMODELS_V1BETA1)
    others = {
        CONFIGMAP: (await client.list(CONFIGMAPS)).items,
        SECRET: (await client.list(SECRETS)).items,
        DEVICE_TYPE: devices.get(DEVICES_V1BETA1, []),
        MODEL_TYPE: devices.get(DEVICEMODELS_V1BETA1, []),
    }
    return _Fleet(
        nodes.items,
        wanted(pods.items, others),
        recorded(await _syncs(client), _kept(subject)),
        Counter(selected_node(device) for device in devices.get(DEVICES, ())),
    )


async def _served(client: KubeClient) -> bool:
    served = await served_resources(client, OBJECTSYNCS.group)
    needed = {OBJECTSYNCS.plural, CLUSTEROBJECTSYNCS.plural}
    return needed <= served.get(OBJECTSYNCS.version, set())


async def _syncs(client: KubeClient) -> list[Sync]:
    if not await _served(client):
        return []
    found = []
    for resource in (OBJECTSYNCS, CLUSTEROBJECTSYNCS):
        async for page in client.pages(resource):
            found += [sync for obj in page.items if (sync := read_sync(obj))]
    return found


async def _read_devices(client: KubeClient, *resources: Resource) -> dict[Resource, list[Object]]:
    """Return the objects of each of the resources whose version is served."""
    versions = await DeviceVersions.read(client)
    return {
        resource: (await client.list(resource)).items
        for resource in resources
        if resource.version in versions.served
    }


def _records(subject: Subject, are_served: bool, syncs: list[Sync]) -> Iterator[Finding]:
    if not are_served:
        text = "the cluster has no CRDs of ObjectSyncs: each edge is sent all that it is to have"
        yield Finding.note(text)
        return
    nodes = {sync.node for sync in syncs}
    kinds = Counter(sync.kind for sync in syncs)
    listed = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
    what = f"{len(syncs)} ObjectSyncs of {len(nodes)} edges{f': {listed}' if listed else ''}"
    if subject.records:
        yield Finding.ok(f"{what}; this cloudcore goes on from them")
    elif syncs:
        yield Finding.note(
            f"{what}; this cloudcore does not read them: each edge is sent all that it is to have, "
            "and deletions while nobody serves are not noticed. Set the record to ObjectSyncs",
            subject.command("run", *RECORD),
        )
    else:
        yield Finding.ok(what)
    kept = {NODES.kind, *(each.kind for each in _kept(subject).values())}
    others = sum(count for kind, count in kinds.items() if kind not in kept)
    if others:
        text = f"{others} ObjectSyncs of other kinds stay as they are: cloudcore sends these anew"
        yield Finding.note(text)


def _kept(subject: Subject) -> dict[str, Resource]:
    """Return the kinds of which this cloudcore goes on from ObjectSyncs."""
    of_objects = KINDS if subject.records else {}
    return of_objects | (DEVICE_KINDS if subject.records_devices else {})


def _devices(versions: DeviceVersions, devices: dict[Resource, list[Object]]) -> Iterator[Finding]:
    counts = ", ".join(f"{len(found)} of {each.version}" for each, found in devices.items())
    if versions.are_known:
        yield Finding.ok(f"{versions}" + (f". There are {counts}" if counts else ""))
    elif versions.served:
        text = f"{versions}. cloudcore serves devices of v1alpha1 and v1beta1 alone"
        yield Finding.wrong(f"{text}: convert them", "cloudcore crds | kubectl apply -f -")
    else:
        yield Finding.note(f"{versions}; cloudcore needs them for devices alone")


def _edges(subject: Subject, fleet: _Fleet) -> Iterator[Finding]:
    if not fleet.nodes:
        yield Finding.note(f"no Node is an edge by its labels ({subject.selector})")
        return
    rest: defaultdict[str, int] = defaultdict(int)
    for number, node in enumerate(sorted(fleet.nodes, key=lambda each: each["metadata"]["name"])):
        name, version = node["metadata"]["name"], EdgeVersion.of(node)
        change = difference(name, fleet.wanted, fleet.has)
        if number >= _LISTED:
            rest["edges"] += 1
            rest["messages"] += change.messages
            continue
        what = f"{name} ({_described(node, version)})"
        if version and not version.knows_object_syncs:
            text = f"{what} is sent {_everything(name, fleet)}: edges of it have no record"
        else:
            text = f"{what} {change}"
        if version and not version.is_tried:
            text += ". This version was not tried with cloudcore"
        yield Finding.ok(text) if version and version.is_tried else Finding.note(text)
    if rest:
        yield Finding.ok(f"{rest['edges']} more edges are sent {rest['messages']} objects in all")


def _certificates(subject: Subject, nodes: list[Object]) -> Iterator[Finding]:
    """Say which edges have certificates that name no node, as far as their versions tell."""
    versions = {node["metadata"]["name"]: EdgeVersion.of(node) for node in nodes}
    if not (versions and subject.strict):
        return
    nameless = sorted(
        name for name, version in versions.items() if version and not version.is_in_its_certificate
    )
    if nameless:
        listed = ", ".join(nameless[:_LISTED]) + (" ..." if len(nameless) > _LISTED else "")
        yield Finding.wrong(
            f"certificates of edges up to KubeEdge {V1_15} name no node, and "
            f'modules.cloudhub.authorization = "strict" refuses them: {len(nameless)} '
            f"edge{'s' * (len(nameless) != 1)} ({listed}). Accept every certificate of the CA "
            "until each has one of its own: by joining again, or from `cloudcore certs issue`",
            subject.command("run", "--set", 'modules.cloudhub.authorization="any-trusted"'),
        )
    if len(nameless) < len(versions):
        yield Finding.note(
            f"an edge that joined with KubeEdge up to {V1_15}, and was upgraded since, has a "
            "certificate that names no node unless it has got another one: it is refused, too"
        )


def _everything(node: str, fleet: _Fleet) -> str:
    """Return what an edge is sent that knows devices of v1alpha1 alone."""
    objects = sum(type_ not in DEVICE_KINDS for type_, *_ in fleet.wanted.get(node, {}))
    devices = fleet.old_devices[node]
    return f"all its {objects} objects" + (f" and {devices} devices" if devices else "")


def _described(node: Object, version: EdgeVersion | None) -> str:
    conditions = (node.get("status") or {}).get("conditions") or ()
    ready = any(each.get("type") == "Ready" and each.get("status") == "True" for each in conditions)
    of = f"KubeEdge {version}" if version else "version not reported"
    return f"{of}, {'ready' if ready else 'not ready'}"
