"""The devices and models of v1beta1, indexed by node: what each node is to have."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping

from modules.common.device_references import MODEL_TYPE
from modules.common.kube import Aside, Key, Object, key_of
from modules.devicecontroller.v1beta1.objects import model_of, node_of


class Inventory:
    """Indexes over the stores, which reflectors fill."""

    def __init__(self, known_nodes: Mapping[Key, Object]) -> None:
        """Set up; the reflectors of devices and models replace the empty stores."""
        self.devices: dict[Key, Object] = {}
        self.models: dict[Key, Object] = {}
        self.known_nodes = known_nodes
        self.aside: Mapping[Key, Aside] = {}
        self.models_aside: Mapping[Key, Aside] = {}
        self._by_node: defaultdict[str, dict[Key, None]] = defaultdict(dict)
        self._by_model: defaultdict[Key, set[Key]] = defaultdict(set)
        self._by_name: defaultdict[tuple[str, str], set[Key]] = defaultdict(set)
        #: The number of a node's devices of each model.
        self._uses: Counter[tuple[str, Key]] = Counter()

    def add(self, device: Object) -> None:
        key, node, model = key_of(device), node_of(device), model_of(device)
        if node:
            self._by_node[node][key] = None
            self._by_name[node, key[1]].add(key)
        if model:
            self._by_model[model].add(key)
            self._uses[node, model] += 1

    def remove(self, device: Object) -> None:
        """Forget a device as it was when it was added."""
        key, node, model = key_of(device), node_of(device), model_of(device)
        if node:
            self._by_node[node].pop(key, None)
            if not self._by_node[node]:
                del self._by_node[node]
            self._by_name[node, key[1]].discard(key)
            if not self._by_name[node, key[1]]:
                del self._by_name[node, key[1]]
        if model:
            self._by_model[model].discard(key)
            if not self._by_model[model]:
                del self._by_model[model]
            self._uses[node, model] -= 1
            if not self._uses[node, model]:
                del self._uses[node, model]

    def nodes(self) -> Iterator[str]:
        return iter(self._by_node)

    def on_node(self, node: str) -> list[Key]:
        """Return the devices of a node, in the order in which they were bound to it."""
        return list(self._by_node.get(node, ()))

    def models_of(self, node: str) -> list[Key]:
        """Return the models that a node's devices refer to, whether or not there are such."""
        models = (model_of(self.devices[key]) for key in self.on_node(node))
        return list(dict.fromkeys(model for model in models if model))

    def using(self, model: Key) -> list[Key]:
        """Return the devices that refer to a model."""
        return sorted(self._by_model.get(model, ()))

    def wants(self, node: str, type_: str, key: Key) -> bool:
        """Whether a node is to have a device, or a model, whether or not there is one."""
        if type_ == MODEL_TYPE:
            return (node, key) in self._uses
        return key in self._by_node.get(node, ())

    def device_at(self, node: str, name: str) -> Key | None:
        """Return the device that a node means: `NAMESPACE/NAME`, or the name up to KubeEdge 1.15.

        None if the node has no such device.
        """
        if "/" in name:
            namespace, _, name = name.partition("/")
            key = namespace, name
            return key if key in self._by_node.get(node, ()) else None
        return self.holder(node, name)

    def namesakes(self, node: str, name: str) -> set[Key]:
        """Return the devices of a node that have a name, of all namespaces."""
        return self._by_name.get((node, name), set())

    def holder(self, node: str, name: str) -> Key | None:
        """Return which of them a node has that knows devices by their names alone: the oldest."""
        return min(self.namesakes(node, name), key=self._seniority, default=None)

    def _seniority(self, key: Key) -> tuple[str, Key]:
        return self.devices[key]["metadata"].get("creationTimestamp", ""), key
