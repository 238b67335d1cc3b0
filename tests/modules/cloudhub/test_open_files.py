"""The limit on open files: a warning if it is too low for node_limit."""

from __future__ import annotations

import resource

import pytest

from modules.cloudhub.open_files import check_limit


@pytest.mark.parametrize(("nodes", "warned"), [(88, False), (89, True)])
def test_too_few_for_the_nodes_is_told(
    nodes: int, warned: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (600, 600))
    assert check_limit(nodes) == 600
    assert (f"too few for node_limit = {nodes}" in caplog.text) is warned
