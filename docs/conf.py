"""The documentation site: `make docs` builds it into docs/_build without a network; every warning is an error."""

import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

import dsmooth

project, author, copyright = "dsmooth", "The dsmooth authors", "The dsmooth authors"
version = release = dsmooth.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.doctest",
    "cyclopts.sphinx_ext",
    "plain_docstrings",
    "gallery",
]
exclude_patterns = ["_build", "_made*", "notebooks"]
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]
suppress_warnings = ["toc.not_included"]  # decisions/README.md lists its pages by itself

autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}

smartquotes = False  # two hyphens begin an option
html_theme = "furo"
html_title = f"dsmooth {version}"

doctest_global_setup = """
import numpy as np, torch
from torch import nn
torch.manual_seed(0)
"""


def _linked(text: str) -> str:
    """Links to files of the root lead to the pages that include them."""
    found = r"\]\(((?:\.\./)*?)(?:\.\./)?(SECURITY|CONTRIBUTING|CHANGELOG)\.md"
    return re.sub(found, lambda match: f"]({match[1]}{match[2].lower()}.md", text)


def setup(app: Any) -> None:
    def in_page(app: Any, name: str, content: list[str]) -> None:
        content[0] = _linked(content[0])

    def in_included(app: Any, path: Path, parent: str, content: list[str]) -> None:
        content[0] = _linked(content[0])

    app.connect("source-read", in_page)
    app.connect("include-read", in_included)
