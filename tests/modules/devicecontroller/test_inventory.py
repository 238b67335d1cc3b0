"""Who is where."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from modules.common.kube import key_of
from modules.devicecontroller.v1alpha1.device import model_of
from modules.devicecontroller.v1alpha1.sync.inventory import (
    DeviceSlot,
    Inventory,
    Profile,
    slot_of,
)
from tests.modules.devicecontroller.samples import NODE, device


def inventory_of(*devices: dict[str, Any]) -> Inventory:
    inventory = Inventory({key_of(one): one for one in devices}, {}, {})
    for one in devices:
        inventory.add(one)
    return inventory


def test_oldest_of_one_name_has_the_slot() -> None:
    old = device("d", namespace="z", created="2026-01-01T00:00:00Z")
    new = device("d", namespace="a", created="2026-01-02T00:00:00Z")
    inventory = inventory_of(new, old)
    assert inventory.at(DeviceSlot(NODE, "d")) is old
    assert inventory.on_node(NODE) == [old]
    assert inventory.in_profile(Profile(NODE, "a")) == []
    inventory.remove(old)
    assert inventory.at(DeviceSlot(NODE, "d")) is new


def test_same_name_on_two_nodes() -> None:
    here, there = device("d", namespace="a"), device("d", namespace="b", node="other")
    inventory = inventory_of(here, there)
    assert inventory.on_node(NODE) == [here]
    assert inventory.on_node("other") == [there]


def test_profiles_are_by_namespace() -> None:
    first, second = device("a", namespace="x"), device("b", namespace="y")
    inventory = inventory_of(first, second)
    assert inventory.in_profile(Profile(NODE, "x")) == [first]
    assert inventory.in_profile(Profile(NODE, "y")) == [second]


names = st.sampled_from(["a", "b", "c"])
devices = st.builds(
    device,
    names,
    node=st.sampled_from([None, "n1", "n2"]),
    namespace=st.sampled_from(["x", "y"]),
    model=names,
    created=st.sampled_from(["1", "2"]),
)


@given(st.lists(st.tuples(st.booleans(), devices)))
def test_indexes_follow_the_store(changes: list[tuple[bool, dict[str, Any]]]) -> None:
    store: dict[tuple[str, str], dict[str, Any]] = {}
    inventory = Inventory(store, {}, {})
    for add, changed in changes:
        key = key_of(changed)
        if key in store:
            inventory.remove(store.pop(key))
        if add:
            store[key] = changed
            inventory.add(changed)
    slots = {slot for one in store.values() if (slot := slot_of(one))}
    assert set(inventory.slots()) == slots
    assert inventory.nodes == len({slot.node for slot in slots})
    for slot in slots:
        claimants = [one for one in store.values() if slot_of(one) == slot]
        assert inventory.claimants(slot) == {key_of(one) for one in claimants}
        assert inventory.at(slot) in claimants
    for one in store.values():
        assert one in inventory.using(model_of(one))
