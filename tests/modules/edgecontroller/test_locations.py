from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from modules.common.kube import Key
from modules.common.pod_references import references
from modules.common.sync.journal import Item
from modules.edgecontroller.downstream.locations import LocationCache


def pod(spec: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"namespace": "ns", "name": "p"}, "spec": spec}


def names(spec: dict[str, Any]) -> set[tuple[str, str]]:
    items = references(pod(spec))
    assert all(namespace == "ns" for _, namespace, _ in items)
    return {(type_, name) for type_, _, name in items}


def test_volumes() -> None:
    volumes = [
        {"name": "a", "configMap": {"name": "cm"}},
        {"name": "b", "secret": {"secretName": "s"}},
        {
            "name": "c",
            "projected": {
                "sources": [
                    {"configMap": {"name": "pcm"}},
                    {"secret": {"name": "ps"}},
                    {"downwardAPI": {"items": []}},
                ]
            },
        },
        {"name": "d", "csi": {"driver": "x", "nodePublishSecretRef": {"name": "csi"}}},
        {"name": "e", "cephfs": {"secretRef": {"name": "ceph"}}},
        {"name": "f", "azureFile": {"secretName": "azure", "shareName": "x"}},
        {"name": "g", "emptyDir": {}},
        {"name": "h", "hostPath": {"path": "/"}},
    ]
    assert names({"volumes": volumes}) == {
        ("configmap", "cm"),
        ("secret", "s"),
        ("configmap", "pcm"),
        ("secret", "ps"),
        ("secret", "csi"),
        ("secret", "ceph"),
        ("secret", "azure"),
    }


def test_environment_of_all_containers() -> None:
    def container(suffix: str) -> dict[str, Any]:
        return {
            "name": suffix,
            "envFrom": [
                {"configMapRef": {"name": f"cmf{suffix}"}},
                {"secretRef": {"name": f"sf{suffix}"}},
            ],
            "env": [
                {"name": "A", "value": "plain"},
                {"name": "B", "valueFrom": {"configMapKeyRef": {"name": f"cm{suffix}"}}},
                {"name": "C", "valueFrom": {"secretKeyRef": {"name": f"s{suffix}"}}},
                {"name": "D", "valueFrom": {"fieldRef": {"fieldPath": "x"}}},
            ],
        }

    kinds = {"containers": "1", "initContainers": "2", "ephemeralContainers": "3"}
    spec = {kind: [container(suffix)] for kind, suffix in kinds.items()}
    expected = set()
    for suffix in kinds.values():
        expected |= {("configmap", f"cmf{suffix}"), ("configmap", f"cm{suffix}")}
        expected |= {("secret", f"sf{suffix}"), ("secret", f"s{suffix}")}
    assert names(spec) == expected


def test_image_pull_secrets_and_nulls() -> None:
    spec = {
        "imagePullSecrets": [{"name": "pull"}, {}],
        "volumes": None,
        "containers": [{"name": "c", "env": None, "envFrom": None}],
        "initContainers": None,
    }
    assert names(spec) == {("secret", "pull")}


def using(node: str, configmaps: set[str]) -> dict[str, Any]:
    volumes = [{"name": name, "configMap": {"name": name}} for name in configmaps]
    return pod({"nodeName": node, "volumes": volumes})


steps = st.lists(
    st.tuples(
        st.sampled_from(["p1", "p2", "p3"]),
        st.sampled_from(["n1", "n2"]),
        st.none() | st.sets(st.sampled_from(["a", "b", "c"])),
    ),
    max_size=30,
)


@given(steps)
def test_cache_equals_what_the_pods_say(steps: list[tuple[str, str, set[str] | None]]) -> None:
    """And each step returns exactly the needs that it has begun or ended."""
    cache = LocationCache()
    pods: dict[Key, dict[str, Any]] = {}

    def needs() -> set[tuple[str, Item]]:
        return {(p["spec"]["nodeName"], item) for p in pods.values() for item in references(p)}

    for name, node, configmaps in steps:
        key, before = ("ns", name), needs()
        if configmaps is None:
            if key not in pods:
                continue
            changed = cache.remove(key, pods.pop(key))
        else:
            node = pods[key]["spec"]["nodeName"] if key in pods else node  # noqa: PLW2901
            pods[key] = using(node, configmaps)
            changed = cache.place(key, pods[key])
        assert changed == before ^ needs()
    for node in ("n1", "n2"):
        items = {item for n, item in needs() if n == node}
        assert cache.items_for(node) == sorted(items)
        on_node = sorted(key for key, p in pods.items() if p["spec"]["nodeName"] == node)
        assert cache.pods_on(node) == on_node
        for item in items:
            assert cache.needs(node, item)
            assert node in cache.nodes_of(item)
    assert not cache.needs("n1", ("configmap", "ns", "never"))
    assert cache.nodes_of(("configmap", "ns", "never")) == []
