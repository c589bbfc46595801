"""The docs as a site, by Sphinx: `nox -s site`. The pages are ordinary Markdown; what only a site needs is here."""

import re
import sys
from pathlib import Path

from sphinx.application import Sphinx

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from mesh_refresh import __version__  # noqa: E402 - found by the line above

project = "mesh_refresh"
author = "The mesh_refresh developers"
project_copyright = author
release = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton", "sphinx_llms_txt"]
exclude_patterns = ["deploy/*.yml"]
html_theme = "furo"
html_title = "mesh_refresh"
html_show_sourcelink = False
myst_heading_anchors = 4
default_role = "code"  # docstrings write names in single backticks, as Markdown does
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
llms_txt_summary = (
    "Refreshes the tokens of brokerage accounts through Mesh, from Python's asyncio, and never loses one: a client for "
    "one exchange, and a keeper for a whole fleet."
)


def read_page(_app: Sphinx, page: str, source: list[str]) -> None:
    """Give the index its tree, by its own headings and links, and the page of changes the changes.

    Links out of the docs, which a site cannot follow, become plain text.
    """
    source[0] = source[0].replace("](../CHANGELOG.md", "](changes.md")
    if "/" not in page:
        source[0] = re.sub(r"\[([^\]]+)\]\((?:\.\./[^)]*\.md|[^):]*/)\)", r"\1", source[0])
    if page == "index":
        for title, section in re.findall(r"^## (.+?)$(.*?)(?=^## |\Z)", source[0], re.MULTILINE | re.DOTALL):
            pages = re.findall(r"^- \[[^\]]+\]\(([\w/.-]+)\.md\)", section, re.MULTILINE)
            source[0] += "\n".join(["", "```{toctree}", ":hidden:", f":caption: {title}", "", *pages, "```", ""])
    elif page == "changes":
        source[0] = (HERE.parent / "CHANGELOG.md").read_text().replace("](docs/", "](")


def setup(app: Sphinx) -> None:
    app.connect("source-read", read_page)
