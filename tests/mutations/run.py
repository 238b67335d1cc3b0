"""Whether the tests notice single changes of the code: a sample of mutations.

    python -m tests.mutations.run [NUMBER ...]

Each mutation of mutations.toml is applied to a copy of the tree, one at a time, and the tests that
it names run on the copy: they have to fail. Before that, all of them have to pass without a
mutation. The results are printed as a table for docs/engineering/testing.md. The exit status is 1
if a mutation was not noticed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec
import tomli

ROOT: Final = Path(__file__).parents[2]
LIST: Final = Path(__file__).parent / "mutations.toml"

#: Seconds that the tests of one mutation may take; a mutation that makes them hang is noticed.
_TIMEOUT: Final = 300.0
#: Seconds that all tests may take without a mutation.
_BASELINE: Final = 1800.0
#: Exit status of pytest for failed tests.
_FAILED: Final = 1

_LEFT_OUT: Final = shutil.ignore_patterns(
    ".git", ".venv*", ".*_cache", ".hypothesis", "out", "*.pyc"
)


class Mutation(msgspec.Struct, frozen=True):
    """A change of one place in a file, and the test files that have to notice it."""

    file: str
    old: str
    new: str
    tests: list[str]

    def applied_to(self, text: str) -> str:
        """Return the changed text; raises ValueError unless `old` is there exactly once."""
        if (count := text.count(self.old)) != 1:
            text = f"{self.file}: {self.old!r} is there {count} times; correct {LIST.name}"
            raise ValueError(text)
        return text.replace(self.old, self.new)


def load() -> list[Mutation]:
    return msgspec.convert(tomli.loads(LIST.read_text("utf-8"))["mutation"], list[Mutation])


@contextmanager
def copy_of_tree() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="mutations-") as directory:
        copy = Path(directory) / "tree"
        shutil.copytree(ROOT, copy, ignore=_LEFT_OUT, symlinks=True)
        yield copy


def is_noticed(mutation: Mutation, tree: Path) -> bool:
    """Run the tests of a mutation on a copy of the tree, and restore the copy.

    Raises RuntimeError if pytest itself fails.
    """
    file = tree / mutation.file
    original = file.read_text("utf-8")
    _replace(file, mutation.applied_to(original))
    try:
        return _tests_fail(mutation.tests, tree, _TIMEOUT)
    finally:
        _replace(file, original)


def _replace(file: Path, text: str) -> None:
    """Replace a file's text; a later time of modification makes Python compile it again."""
    modified = file.stat().st_mtime + 2
    file.write_text(text, "utf-8")
    os.utime(file, (modified, modified))


def check_baseline(mutations: Sequence[Mutation], tree: Path) -> None:
    """Raise RuntimeError if a test fails without a mutation."""
    tests = sorted({test for mutation in mutations for test in mutation.tests})
    if _tests_fail(tests, tree, _BASELINE):
        raise RuntimeError("the tests fail without a mutation; run them first")


def _tests_fail(tests: Sequence[str], tree: Path, timeout: float) -> bool:
    # The packages of the copy come before the installed ones, in child processes too.
    environment = os.environ | {"PYTHONPATH": str(tree)}
    command = (sys.executable, "-m", "pytest", "-q", "-x", "-n", "0", "-p", "no:cacheprovider")
    try:
        done = subprocess.run(
            (*command, *tests),
            cwd=tree,
            env=environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return True
    if done.returncode not in {0, _FAILED, 2}:  # 2: the mutation breaks the collection of tests
        raise RuntimeError(f"pytest exited with {done.returncode}:\n{done.stdout[-2000:]}")
    return done.returncode != 0


def main(numbers: Sequence[str]) -> int:
    """Run the mutations of these numbers, or all."""
    chosen = {int(number) for number in numbers}
    mutations = {n: each for n, each in enumerate(load(), 1) if not chosen or n in chosen}
    missed = 0
    print("| | file | change | tests | |\n|---|---|---|---|---|", flush=True)
    with copy_of_tree() as tree:
        check_baseline(list(mutations.values()), tree)
        for number, mutation in mutations.items():
            began = time.monotonic()
            noticed = is_noticed(mutation, tree)
            missed += not noticed
            change = f"`{_one_line(mutation.old)}` → `{_one_line(mutation.new)}`"
            tests = ", ".join(Path(test).name for test in mutation.tests)
            result = "noticed" if noticed else "**not noticed**"
            print(f"| {number} | `{mutation.file}` | {change} | {tests} | {result} |", flush=True)
            print(f"{number}: {time.monotonic() - began:.1f} s", file=sys.stderr, flush=True)
    return 1 if missed else 0


def _one_line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|") or "nothing"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
