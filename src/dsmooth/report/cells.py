"""Text as a cell of a table: labels, names and bounds can hold anything, and must not add cells or rows."""

from __future__ import annotations

__all__ = ["latex_cell", "markdown_cell", "one_line", "tsv_cell"]

_LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}


def tsv_cell(text: str) -> str:
    r"""On one line, without tabs: \t, \n, \u2028 and the like for what is not printable, \\ for a backslash."""
    return one_line(text.replace("\\", "\\\\"))


def markdown_cell(text: str) -> str:
    """On one line, without bars, and without tags where markdown is shown as HTML."""
    return "".join({"|": "&#124;", "<": "&lt;", "&": "&amp;"}.get(c, c) for c in one_line(text))


def latex_cell(text: str) -> str:
    """On one line, with everything escaped that LaTeX would interpret."""
    return "".join(_LATEX.get(c, f"\\{c}" if c in "&%$#_{}" else c) for c in one_line(text))


def one_line(text: str) -> str:
    r"""With \t, \n, \x01 and the like for what is not printable, which XML may not hold either."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
