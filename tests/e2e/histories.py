"""Histories that are tried: what people do to objects, and what fate does to processes."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Final

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

from tests.support.forwarder import BOTH

from .fleet import DELETABLE, EDGES, NAMES, NEW_EDGES, OLD_EDGES, VICTIMS

#: Examples that are tried; more than the usual few are others every time.
SOAK: Final = int(os.environ.get("SOAK", "0"))

names, edges, values = st.sampled_from(NAMES), st.sampled_from(EDGES), st.sampled_from("xyz")
new_edges = st.sampled_from(NEW_EDGES)
replicas, seconds = st.integers(0, 2), st.sampled_from((0.2, 1.0))
ways = st.sampled_from((("to",), ("from",), BOTH))

Steps = st.SearchStrategy[tuple[Any, ...]]

#: What is done to pods and what they need; a pod is what most of it turns on.
_of_pods: Final = st.one_of(
    st.tuples(st.just("pod"), names, edges, names),
    st.tuples(st.just("pod"), names, edges, names),
    st.tuples(st.just("configmap"), names, values),
    st.tuples(st.just("secret"), names, values),
    st.tuples(st.just("delete"), st.sampled_from(("pod", "configmap", "secret")), names),
    st.tuples(st.just("wait"), st.sampled_from((0.0, 0.05, 0.3))),
)
people = st.one_of(
    _of_pods,
    st.tuples(st.just("service"), names, values),
    st.tuples(st.just("device"), names, st.sampled_from(OLD_EDGES), values),
    st.tuples(st.just("todays_device"), names, new_edges, values, names),
    st.tuples(st.just("todays_device"), names, new_edges, values, names),
    st.tuples(st.just("todays_model"), names, values),
    st.tuples(st.just("report"), names, new_edges, values),
    st.tuples(st.just("delete"), st.sampled_from(sorted(DELETABLE)), names),
)
#: What may happen to edges, whatever serves them.
torn: Final = (
    st.tuples(st.just("drop"), edges),
    st.tuples(st.just("restart"), edges),
    st.tuples(st.just("lose"), new_edges),
)
of_one: Final = st.one_of(
    *torn,
    st.tuples(st.just("kill"), st.sampled_from(VICTIMS)),
    st.tuples(st.just("outage"), seconds),
)
of_replicas: Final = st.one_of(
    *torn,
    st.tuples(st.just("move"), edges, replicas),
    st.tuples(st.just("move"), edges, replicas),
    st.tuples(st.just("kill_module"), replicas, st.sampled_from(VICTIMS[1:])),
    st.tuples(st.just("kill_api")),
    st.tuples(st.just("kill_replica"), replicas),
    st.tuples(st.just("stop_replica"), replicas),
    st.tuples(st.just("freeze"), replicas, st.booleans()),
    st.tuples(st.just("cut"), replicas, ways, seconds),
    st.tuples(st.just("cut_edge"), edges, ways, seconds),
    st.tuples(st.just("outage"), seconds),
)


def histories(people: Steps, fate: Steps) -> st.SearchStrategy[list[tuple[Any, ...]]]:
    """Return lists of steps; people do more than fate."""
    return st.lists(st.one_of(people, people, people, fate), min_size=15, max_size=40)


def tried(examples: int) -> Callable[[Any], Any]:
    """Return the settings for a test with real processes that tries this many, or SOAK's."""
    return settings(
        max_examples=SOAK or examples,
        derandomize=not SOAK,
        database=None,
        # What went wrong once with real processes may not do so again: no shrinking.
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
