"""Names of objects (k8s.io/apimachinery/pkg/util/validation)."""

from __future__ import annotations

import secrets
from typing import Final

SUBDOMAIN_RULE: Final = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or "
    "'.', and must start and end with an alphanumeric character (e.g. 'example.com')"
)
# No vowels and nothing that looks like another letter (k8s.io/apimachinery/pkg/util/rand).
_SUFFIX_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
_LONGEST_GENERATED_BASE = 58


def generate_name(base: str) -> str:
    suffix = "".join(secrets.choice(_SUFFIX_LETTERS) for _ in range(5))
    return base[:_LONGEST_GENERATED_BASE] + suffix
