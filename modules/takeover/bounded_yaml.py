"""YAML at a cost that the size of its text bounds.

A few lines with aliases of aliases stand for millions of values ("billion laughs"), an alias may
stand within what it names, and a number of a million digits takes minutes to read.
"""

from __future__ import annotations

import math
from typing import Any, Final

import yaml

#: Characters of a number, or of a time.
_LONGEST_NUMBER: Final = 100
_TEXT: Final = "tag:yaml.org,2002:str"


def read_yaml(text: str) -> Any:
    """Return the value of a document; raises yaml.YAMLError, or ValueError for a value."""
    try:
        loader = yaml.SafeLoader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            if _size(node, {}) > len(text):
                raise ValueError("its aliases (*NAME) stand for too much: write the values out")
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _size(node: yaml.Node, known: dict[yaml.Node, float]) -> float:
    """Return the number of values that a node stands for; infinite if it contains itself."""
    if node in known:
        return known[node]
    known[node] = math.inf  # while it is not known, only an alias within it asks
    size = 1.0
    if isinstance(node, yaml.MappingNode):
        size += sum(_size(each, known) for pair in node.value for each in pair)
    elif isinstance(node, yaml.SequenceNode):
        size += sum(_size(each, known) for each in node.value)
    elif node.tag != _TEXT and len(node.value) > _LONGEST_NUMBER:
        raise ValueError(
            f"line {node.start_mark.line + 1}: a number of {len(node.value)} characters"
        )
    known[node] = size
    return size
