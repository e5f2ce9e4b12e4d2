"""Axes of a picture of shares in percent, which becomes one inline <svg>."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["axes_of_shares"]


@contextmanager
def axes_of_shares() -> Iterator[tuple[Any, list[str]]]:
    """Axes from 0 to 100 %; afterwards the list holds them as one <svg>, the same bytes for the same picture."""
    import matplotlib

    drawn: list[str] = []
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "dsmooth", "font.size": 10}):
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure

        figure = Figure(figsize=(6.4, 3.8), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        yield axes, drawn
        axes.set_ylim(0.0, 100.0)
        axes.grid(alpha=0.3)
        axes.legend(frameon=False, fontsize=8)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
    svg = text.getvalue()
    drawn.append(svg[svg.index("<svg") :])
