"""How the documents become a site: `make docs`."""

from typing import Any

project = "Tandem"
author = "Tandem's authors"
extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
# Links to headings, as they are on the pages of a repository.
myst_heading_anchors = 4
exclude_patterns = ["site"]
html_theme = "furo"
html_title = "Tandem"
# The layers of imports are in no language.
suppress_warnings = ["misc.highlighting_failure"]


def _home(_: Any, __: str, source: list[str]) -> None:
    """The site's first page has what README says."""
    source[0] = source[0].replace("(../README.md#", "(index.md#")


def setup(app: Any) -> None:
    """Sphinx's hook."""
    app.connect("source-read", _home)
