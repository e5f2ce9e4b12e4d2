"""Text as a cell of a table: labels, names and bounds can hold anything, and must not add cells or rows; estimates."""

from __future__ import annotations

import math

__all__ = ["latex_cell", "markdown_cell", "one_line", "p_value_cell", "tsv_cell", "with_error"]

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


def with_error(value: float, error: float) -> str:
    """A difference and its standard error, both to the second digit of the error; without it where it is unknown (NaN)."""
    if math.isnan(error):
        return f"{value:+.2g}"
    places = max(0, 1 - math.floor(math.log10(error))) if error > 0.0 else 0
    return f"{round(value, places) + 0.0:+.{places}f} ± {error:.{places}f}"  # + 0.0: no minus zero


def p_value_cell(value: float) -> str:
    """Two digits, rounded up."""
    if value < 1e-4:
        return "< 0.0001"
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    return f"{math.ceil(value / unit - 1e-9) * unit:.2g}"
