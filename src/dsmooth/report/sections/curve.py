"""Certified accuracy against radius, as SVG."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
from markupsafe import Markup

from dsmooth.report.axes import Drawing, drawn
from dsmooth.report.cells import one_line
from dsmooth.report.export import index_of
from dsmooth.report.filling import filled
from dsmooth.report.sections.base import Section
from dsmooth.report.summary import Summary

__all__ = ["Curve", "curve_of", "reach_of", "slider_radii"]

_COLOURS: Final = ("#0b6e99", "#c8553d", "#588157", "#7d5ba6", "#b08900", "#444444")
_POINTS: Final = 400
_POSITIONS: Final = 1000  # of the slider, beside 0


class Curve(Section):
    """The table as a picture."""

    def _html(self, summary: Summary) -> Markup:
        return filled(Path(__file__).with_suffix(".html"), drawing=curve_of(summary), what=summary.what)


def reach_of(summary: Summary) -> float:
    """The radius at which the picture ends: a little beyond the largest."""
    largest = max((c.radius for row in summary.rows for c in row.certificates), default=0.0)
    return largest * 1.05 or max(summary.radii) or 1.0


def slider_radii(summary: Summary) -> list[str]:
    """The radii at which the slider can stand, from 0 to the end of the picture, as they are shown."""
    return [f"{radius:.4f}" for radius in np.linspace(0.0, reach_of(summary), 1 + _POSITIONS)]


def curve_of(summary: Summary) -> Drawing:
    """A line for each run (dotted: the same votes under Cohen's bound), and the envelope of several runs behind them."""
    radii = np.linspace(0.0, reach_of(summary), _POINTS)

    def draw(axes: Any) -> None:
        if summary.envelope:
            best = [100.0 * max(row.share(radius) for row in summary.rows if row.main) for radius in radii]
            axes.step(radii, best, color="#d5dadf", linewidth=6.0, where="pre", label="upper envelope", zorder=1)
        for row in summary.rows:
            shares = [100.0 * row.share(radius) for radius in radii]
            axes.step(
                radii,
                shares,
                color=_COLOURS[row.run % len(_COLOURS)],
                linestyle="-" if row.main else ":",
                linewidth=1.8 if row.main else 1.2,
                where="pre",
                label=one_line(f"{row.noise}: {row.name}").replace("$", r"\$") if row.main else None,
            )
        if not all(row.main for row in summary.rows):
            axes.plot([], [], color="grey", linestyle=":", linewidth=1.2, label="the same votes, Cohen's bound")
        axes.set_xlabel(f"$\\ell_{{{index_of(summary.norm)}}}$ radius")
        axes.set_ylabel(f"{summary.what} (%)")
        axes.set_xlim(0.0, radii[-1])

    return drawn(draw)
