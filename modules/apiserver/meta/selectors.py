"""Label and field selectors (k8s.io/apimachinery/pkg/labels and pkg/fields)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from modules.apiserver.meta.numbers import integer
from modules.apiserver.meta.status import bad_request, short

_REQUIREMENT = re.compile(
    r"""\s*(?:
        (?P<absent>!)\s*(?P<absent_key>[\w./-]+)
      | (?P<key>[\w./-]+)\s*(?:
            (?P<set>in|notin)\s*\((?P<values>[^()]*)\)
          | (?P<operator>==|=|!=|>|<)\s*(?P<value>[\w.-]*)
        )?
    )\s*(?:,|$)""",
    re.VERBOSE,
)
_FIELD_TERM = re.compile(r"([^=!]+)(==|=|!=)(.*)", re.DOTALL)


@dataclass(frozen=True)
class LabelRequirement:
    key: str
    operator: str
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        value = labels.get(self.key)
        match self.operator:
            case "in":
                return value in self.values
            case "notin":
                return value not in self.values
            case "exists":
                return value is not None
            case "absent":
                return value is None
        (limit,) = self.values
        number, bound = integer(value or ""), integer(limit)
        if number is None or bound is None:
            return False
        return number > bound if self.operator == ">" else number < bound


@dataclass(frozen=True)
class FieldRequirement:
    field: str
    equal: bool
    value: str

    def matches(self, fields: Mapping[str, str]) -> bool:
        return (fields.get(self.field, "") == self.value) is self.equal


@dataclass(frozen=True)
class Selector:
    """The label and field selectors of a list or watch; an empty one matches everything."""

    labels: tuple[LabelRequirement, ...] = ()
    fields: tuple[FieldRequirement, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.labels or self.fields)

    def matches(self, labels: Mapping[str, str], fields: Mapping[str, str]) -> bool:
        return all(requirement.matches(labels) for requirement in self.labels) and all(
            requirement.matches(fields) for requirement in self.fields
        )


def parse_labels(text: str) -> tuple[LabelRequirement, ...]:
    """Parse a labelSelector; raises ApiError (400)."""
    requirements = []
    position = 0
    while position < len(text):
        found = _REQUIREMENT.match(text, position)
        if found is None or found.end() == position:
            raise bad_request(
                f"unable to parse requirement: {text[position:]!r} in the label selector {text!r}; "
                "examples: a=b, a!=b, a in (b,c), a notin (b,c), a, !a"
            )
        requirements.append(_label_requirement(found, text))
        position = found.end()
    return tuple(requirements)


def _label_requirement(found: re.Match[str], text: str) -> LabelRequirement:
    if found["absent"]:
        return LabelRequirement(found["absent_key"], "absent")
    key = found["key"]
    if found["set"]:
        values = frozenset(value.strip() for value in found["values"].split(","))
        return LabelRequirement(key, found["set"], values)
    match found["operator"]:
        case None:
            return LabelRequirement(key, "exists")
        case "=" | "==":
            return LabelRequirement(key, "in", frozenset({found["value"]}))
        case "!=":
            return LabelRequirement(key, "notin", frozenset({found["value"]}))
    if integer(found["value"]) is None:
        raise bad_request(
            f"for '{found['operator']}' the value must be an integer: {short(text)!r}"
        )
    return LabelRequirement(key, found["operator"], frozenset({found["value"]}))


def parse_fields(text: str, supported: frozenset[str]) -> tuple[FieldRequirement, ...]:
    """Parse a fieldSelector; raises ApiError (400) for a field that is not in `supported`."""
    requirements = []
    for term in filter(None, text.split(",")):
        found = _FIELD_TERM.fullmatch(term)
        if found is None:
            raise bad_request(f"invalid selector: {text!r}; can't understand {term!r}")
        field, operator, value = found.groups()
        if field not in supported:
            raise bad_request(f'field label not supported: "{field}"')
        requirements.append(FieldRequirement(field, operator != "!=", value))
    return tuple(requirements)
