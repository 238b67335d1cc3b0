"""The interface that modules are written against is the one that they are given."""

import inspect
from typing import Any

import pytest

from ipc import AsyncContext, Context
from supervisor.api import BlockingModuleContext, ModuleContext
from supervisor.unit.context import SupervisedBlockingContext, SupervisedContext

#: Operations of a context that are for whoever runs the module, or for channels without one.
NOT_FOR_MODULES = {
    *("stop", "close", "add_module", "add_module_group", "cleanup"),
    "unmatched_answers",
}

PAIRS = pytest.mark.parametrize(
    ("protocol", "given", "channels"),
    [
        (ModuleContext, SupervisedContext, AsyncContext),
        (BlockingModuleContext, SupervisedBlockingContext, Context),
    ],
    ids=["async", "blocking"],
)


@PAIRS
def test_a_context_takes_the_arguments_that_its_protocol_names(
    protocol: Any, given: Any, channels: Any
) -> None:
    for name in methods(protocol):
        promised = inspect.signature(getattr(protocol, name)).parameters.values()
        taken = inspect.signature(getattr(given, name)).parameters.values()
        assert [(p.name, p.kind, p.default) for p in promised] == [
            (p.name, p.kind, p.default) for p in taken
        ], name


@PAIRS
def test_what_a_context_offers_is_in_its_protocol(protocol: Any, given: Any, channels: Any) -> None:
    assert public(given) - public(protocol) <= NOT_FOR_MODULES


def public(cls: type) -> set[str]:
    return {name for name in dir(cls) if not name.startswith("_")}


def methods(cls: type) -> set[str]:
    return {name for name in public(cls) if inspect.isfunction(getattr(cls, name))}
