"""Docstrings of this project as reStructuredText: they are written to be read in an editor, not in markup.

Indented paragraphs are code; lines `name: what it is` are a list; `x` is code; nothing else is markup.
"""

from __future__ import annotations

import re
import textwrap
from typing import Any

_NAMED = re.compile(r"[a-z_][\w, ]*: ")


def marked_up(docstring: str) -> str:
    """The docstring, its indentation taken away, as reStructuredText."""
    return "\n\n".join(_paragraph(part) for part in re.split(r"\n\s*\n", docstring.strip("\n")) if part.strip())


def _paragraph(part: str) -> str:
    lines = part.splitlines()
    if lines[0].startswith("    "):
        return f".. code-block:: text\n\n{textwrap.indent(textwrap.dedent(part), '   ')}"
    if _NAMED.match(lines[0]) and all(_NAMED.match(line) or line.startswith("    ") for line in lines):
        items = re.split(r"\n(?=\S)", part)
        return "\n".join("* " + _inline(" ".join(item.split())) for item in items)
    return _inline(part)


def _inline(text: str) -> str:
    """Code between backticks, and everything that would be markup escaped elsewhere."""
    pieces = re.split(r"`([^`]*)`", text)
    for i in range(0, len(pieces), 2):
        pieces[i] = re.sub(r"([\\*|_`])", r"\\\1", pieces[i])
    for i in range(1, len(pieces), 2):
        pieces[i] = f"``{pieces[i]}``"
    return "".join(pieces)


def _process(app: Any, what: str, name: str, obj: object, options: Any, lines: list[str]) -> None:
    lines[:] = [*marked_up("\n".join(lines)).splitlines(), ""]


def setup(app: Any) -> dict[str, bool]:
    app.connect("autodoc-process-docstring", _process)
    return {"parallel_read_safe": True}
