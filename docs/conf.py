"""How Sphinx builds the site and the man pages (`make docs`)."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from supervisor.version import current  # noqa: E402 - from the checkout

project = "cloudcore"
author = "The cloudcore authors"
copyright = "the cloudcore authors"  # noqa: A001 - Sphinx's name for it
version = release = current()

extensions = ["myst_parser", "docs.generate"]
exclude_patterns = ["generate"]
myst_enable_extensions = ["deflist"]
#: Headings down to this level can be linked to, with the anchors that they have on a code host.
myst_heading_anchors = 4
#: Names that no lexer knows, such as a configuration of edgecore, are shown as they are.
suppress_warnings = ["misc.highlighting_failure"]

html_theme = "furo"
html_title = "cloudcore"
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False

man_pages = [
    ("man/cloudcore", "cloudcore", "run and control the cloud side of KubeEdge", [author], 1),
    ("man/cloudcore.toml", "cloudcore.toml", "configuration of cloudcore", [author], 5),
]
