"""The list of mutations fits the code, so that running it never stops half-way."""

from __future__ import annotations

import pytest

from .run import ROOT, Mutation, load


@pytest.mark.parametrize("mutation", load(), ids=lambda each: f"{each.file}:{each.old.strip()}")
def test_a_mutation_changes_one_place_and_names_tests(mutation: Mutation) -> None:
    text = (ROOT / mutation.file).read_text("utf-8")
    assert mutation.applied_to(text) != text
    assert [test for test in mutation.tests if not (ROOT / test).exists()] == []
