"""Certified accuracy against radius, as SVG."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
from markupsafe import Markup

from dsmooth.report.axes import axes_of_shares
from dsmooth.report.export import index_of
from dsmooth.report.filling import filled
from dsmooth.report.sections.base import Section
from dsmooth.report.summary import Summary

__all__ = ["Curve", "curve_svg"]

_COLOURS: Final = ("#0b6e99", "#c8553d", "#588157", "#7d5ba6", "#b08900", "#444444")
_POINTS: Final = 400


class Curve(Section):
    """The picture beside the table."""

    def _html(self, summary: Summary) -> Markup:
        return filled(Path(__file__).with_suffix(".html"), svg=Markup(curve_svg(summary)))


def curve_svg(summary: Summary) -> str:
    """One inline <svg>: a line for each run (dotted: the same votes under Cohen's bound), and the envelope of several."""
    with axes_of_shares() as (axes, drawn):
        reach = max((c.radius for row in summary.rows for c in row.certificates), default=0.0) * 1.05 or max(
            summary.radii, default=1.0
        )
        radii = np.linspace(0.0, reach, _POINTS)
        for row in summary.rows:
            shares = [100.0 * row.share(radius) for radius in radii]
            axes.step(
                radii,
                shares,
                color=_COLOURS[row.run % len(_COLOURS)],
                linestyle="-" if row.main else ":",
                linewidth=1.8 if row.main else 1.2,
                where="pre",
                label=f"{row.noise}: {row.name}".replace("$", r"\$") if row.main else None,
            )
        if summary.envelope:
            best = [100.0 * max(row.share(radius) for row in summary.rows if row.main) for radius in radii]
            axes.step(radii, best, color="black", linewidth=0.8, linestyle="--", where="pre", label="upper envelope")
        if not all(row.main for row in summary.rows):
            axes.plot([], [], color="grey", linestyle=":", linewidth=1.2, label="the same votes, Cohen's bound")
        axes.set_xlabel(f"$\\ell_{{{index_of(summary.norm)}}}$ radius")
        axes.set_ylabel(f"{summary.what} (%)")
        axes.set_xlim(0.0, reach)
    return drawn[0]
