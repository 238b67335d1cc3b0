"""The site: it is built without a warning, and needs no other host."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import ROOT

#: Seconds; on an idle machine it takes ten.
DEADLINE = 280.0

#: What a browser fetches by itself: not links that a reader follows.
FETCHED = re.compile(
    r"""<(?:script|img|iframe|source|video|audio|embed)\b[^>]*\bsrc=["']([^"']+)"""
    r"""|<link\b[^>]*\brel=["'](?:stylesheet|icon|preload|preconnect)["'][^>]*\bhref=["']([^"']+)"""
    r"""|url\(["']?([^)"']+)|@import\s+["']([^"']+)"""
)


def build(source: Path, target: Path) -> subprocess.CompletedProcess[str]:
    command = (sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html")
    done = [*command, "-d", target / "doctrees", source, target / "site"]
    return subprocess.run(
        done, cwd=ROOT, timeout=DEADLINE, check=False, capture_output=True, text=True
    )


@pytest.mark.timeout(DEADLINE + 20)
def test_it_is_built_and_fetches_nothing_from_other_hosts(tmp_path: Path) -> None:
    done = build(ROOT / "docs", tmp_path)
    assert done.returncode == 0, done.stderr
    files = [f for f in (tmp_path / "site").rglob("*") if f.suffix in {".html", ".css"}]
    assert len(files) > 30
    for file in files:
        for found in FETCHED.findall(file.read_text()):
            address = "".join(found)
            assert not re.match(r"(\w+:)?//", address), f"{file.name} fetches {address}"
    assert "generated:" not in (tmp_path / "site" / "reference" / "commands.html").read_text()


@pytest.mark.timeout(DEADLINE + 20)
def test_a_link_that_leads_nowhere_is_an_error(tmp_path: Path) -> None:
    source = tmp_path / "docs"
    source.mkdir()
    shutil.copy(ROOT / "docs" / "conf.py", source)
    (source / "index.md").write_text("# A page\n\n[link](nowhere.md) [anchor](#nothing)\n")
    done = build(source, tmp_path)
    assert done.returncode != 0
    assert "nowhere.md" in done.stderr
    assert "nothing" in done.stderr


def test_peers_is_no_recipe() -> None:
    """What cloudcore was run against is told, not how to build it."""
    text = (ROOT / "docs" / "peers.md").read_text()
    assert not re.search(r"\b(go (build|install|get)|make \w|docker|git clone|apt)\b", text)
    assert "```" not in text
