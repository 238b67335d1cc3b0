"""The controller's copies of what the API has: of everything, or as a replica of what it needs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeVar

from modules.common.kube import Key, KubeClient, Object, Reflector, SetAside, WatchEvent
from modules.common.sync.journal import Item
from modules.common.sync.outlines import Outline, OutlineReflector
from modules.edgecontroller import messages
from modules.edgecontroller.downstream.configuration import ConfigurationEventHandler
from modules.edgecontroller.downstream.own_pods import OwnPods
from modules.edgecontroller.downstream.state import State, Store
from modules.edgecontroller.objects import RESOURCES, keeping

_CONFIGURATION: Final = (messages.CONFIGMAP, messages.SECRET)

#: Selects the pods that are bound to a node.
_PLACED: Final = "spec.nodeName!="

Kind = TypeVar("Kind", bound=Reflector)
Handle = Callable[[WatchEvent], None]


class Caches:
    """Makes the reflectors, whose stores are the state's."""

    def __init__(
        self,
        client: KubeClient,
        state: State,
        set_aside: SetAside,
        on_aside: Callable[[str, Key], None],
        *,
        namespace: str | None,
        resync: float,
    ) -> None:
        """Set up; `on_aside` is called with the type of each Reflector's `on_aside`."""
        self._client = client
        self._state = state
        self._set_aside = set_aside
        self._on_aside = on_aside
        self._namespace = namespace
        self._resync = resync
        self._own: dict[str, OutlineReflector] = {}

    def reflect(self, type_: str, handle: Handle, **options: Any) -> Reflector:
        """Return the reflector of all objects of a type."""
        return self._make(Reflector, type_, handle, **options)

    def pods(self, handle: Handle) -> Reflector:
        """Return the reflector of all pods that are bound to a node."""
        return self.reflect(messages.POD, handle, field_selector=_PLACED)

    def own_pods(self, handle: Handle) -> OwnPods:
        """Return the reflector of the pods of a replica's nodes."""
        return self._make(OwnPods, messages.POD, handle, field_selector=_PLACED)

    def configuration(self) -> list[Reflector]:
        """Return the reflectors of all ConfigMaps and Secrets."""
        return [
            self.reflect(type_, ConfigurationEventHandler(self._state, type_).handle)
            for type_ in _CONFIGURATION
        ]

    def own_configuration(self) -> list[Reflector]:
        """Return those that have whole what a replica's nodes need, and outlines of the others."""
        for type_ in _CONFIGURATION:
            handler = ConfigurationEventHandler(self._state, type_)
            self._own[type_] = self._make(
                OutlineReflector,
                type_,
                handler.handle,
                keep=handler.kept(keeping(RESOURCES[type_])),
                outline_of=Outline.of,
                is_needed=handler.is_needed,
                on_read=handler.read,
            )
        self._state.locations.on_unneeded = self._reduce
        return [*self._own.values()]

    def read_whole(self, item: Item) -> None:
        """Have an object read of which a replica has an outline, and which it needs."""
        self._own[item[0]].want(item[1:])

    def _reduce(self, item: Item) -> None:
        self._own[item[0]].reduce(item[1:])

    def _make(
        self,
        kind: type[Kind],
        type_: str,
        handle: Handle,
        *,
        store: Store | None = None,
        keep: Callable[[Any], Object] | None = None,
        **options: Any,
    ) -> Kind:
        resource = RESOURCES[type_]
        reflector = kind(
            self._client,
            resource,
            handle,
            namespace=self._namespace if resource.namespaced else None,
            keep=keep or keeping(resource),
            resync=self._resync,
            store=self._state.stores[type_] if store is None else store,
            set_aside=self._set_aside,
            on_aside=partial(self._on_aside, type_),
            **options,
        )
        self._state.aside[type_] = reflector.aside
        return reflector
