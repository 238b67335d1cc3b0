"""Which Pythons `make try-dist` tries packages on."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from deploy import try_dist


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    pythons: list[str] = []

    def attempt(python: str, *_: object) -> str:
        pythons.append(python)
        return "cloudcore 0"

    monkeypatch.setattr(try_dist, "attempt", attempt)
    return pythons


@pytest.fixture
def dist(tmp_path: Path) -> Path:
    (tmp_path / "cloudcore-0-py3-none-any.whl").touch()
    return tmp_path


def test_a_named_python_that_is_not_here_is_an_error(
    dist: Path, tried: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert try_dist.main(dist, [sys.executable, "python3.99"]) == 1
    assert "not here, or without venv and ensurepip: python3.99\n" in capsys.readouterr().out
    assert not tried


def test_of_all_versions_those_that_are_here_are_tried(
    dist: Path,
    tried: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(try_dist, "PYTHONS", ("python3.99", sys.executable))
    assert try_dist.main(dist, []) == 0
    assert tried == [sys.executable]
    assert "python3.99" in capsys.readouterr().out


def test_without_packages_it_says_where_they_come_from(
    tmp_path: Path, tried: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert try_dist.main(tmp_path, [sys.executable]) == 1
    assert "make dist" in capsys.readouterr().out
    assert not tried
