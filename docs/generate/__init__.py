"""The parts of the reference that are made from the code when the site is built.

A page has a line `<!-- generated: NAME -->`, which is replaced by what the function NAME of PARTS
returns, as Markdown. The page itself says what the part is about.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from docs.generate import commands, configuration, events, http_api, messages, metrics

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

PARTS: Final[dict[str, Callable[[], str]]] = {
    "commands": commands.render,
    "configuration": configuration.render,
    "metrics": metrics.render,
    "states": events.states,
    "reasons": events.reasons,
    "http-api": http_api.render,
    "messages-up": messages.up,
    "messages-requests": messages.requests_table,
    "messages-down": messages.down,
    "messages-inside": messages.inside,
}
MARK: Final = re.compile(r"^<!-- generated: ([\w-]+) -->$", re.MULTILINE)


def fill(text: str) -> str:
    """Return a page with its generated parts; raises KeyError for a part that does not exist."""
    return MARK.sub(lambda mark: PARTS[mark[1]](), text)


def setup(app: Sphinx) -> dict[str, Any]:
    """Make Sphinx fill each page when it is read."""

    def read(_app: Sphinx, _page: str, source: list[str]) -> None:
        source[0] = fill(source[0])

    app.connect("source-read", read)

    def made_from_code(_app: Sphinx, env: BuildEnvironment, *_: Any) -> list[str]:
        pages = {page: Path(env.doc2path(page)) for page in env.found_docs}
        return [page for page, path in pages.items() if MARK.search(path.read_text())]

    # The code is not among the sources, so Sphinx cannot see that it has changed.
    app.connect("env-get-outdated", made_from_code)
    return {"parallel_read_safe": True}
