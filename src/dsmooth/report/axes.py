"""Axes of a picture of shares in percent, which becomes one SVG."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["Drawing", "drawn"]


@dataclass(frozen=True)
class Drawing:
    """A picture, and where its axes lie."""

    svg: str
    """One <svg>."""
    left: float
    right: float
    """Where the horizontal axis begins and ends, in shares of the width."""

    @property
    def uri(self) -> str:
        """The picture as the source of an <img>, where no script in it would run."""
        return f"data:image/svg+xml;base64,{base64.b64encode(self.svg.encode()).decode()}"


def drawn(draw: Callable[[Any], None]) -> Drawing:
    """What `draw` puts on axes from 0 to 100 %: the same bytes for the same picture."""
    import matplotlib

    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "dsmooth", "font.size": 10}):
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure

        figure = Figure(figsize=(6.4, 3.8), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        draw(axes)
        axes.set_ylim(0.0, 100.0)
        axes.grid(alpha=0.3)
        axes.legend(frameon=False, fontsize=8)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
        place = axes.get_position()
    svg = text.getvalue()
    return Drawing(svg[svg.index("<svg") :], place.x0, place.x1)
