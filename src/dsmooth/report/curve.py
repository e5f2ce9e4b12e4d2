"""Certified accuracy against radius, and accuracy against the strength of an attack, as SVG."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from dsmooth.audit.findings import Curve
from dsmooth.report.summary import Summary

__all__ = ["attack_svg", "curve_svg"]

_COLOURS = ("#0b6e99", "#c8553d", "#588157", "#7d5ba6", "#b08900", "#444444")
_POINTS = 400


def curve_svg(summary: Summary) -> str:
    """One inline <svg>: a line for each run (dotted: the same votes under Cohen's bound), and the envelope of several."""
    with _axes() as (axes, drawn):
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
        axes.set_xlabel(f"$\\ell_{{{'∞' if summary.norm == float('inf') else f'{summary.norm:g}'}}}$ radius")
        axes.set_ylabel(f"{summary.what} (%)")
        axes.set_xlim(0.0, reach)
    return drawn[0]


def attack_svg(curve: Curve) -> str:
    """One inline <svg>: accuracy against the strength of the attack, without defence, smoothed, and certified."""
    lines = (
        ("classifier alone, attacked", curve.undefended, "#c8553d", "--"),
        ("smoothed, attacked", curve.smoothed, "#0b6e99", "-"),
        ("certified: no attack goes below", curve.certified, "#588157", ":"),
    )
    with _axes() as (axes, drawn):
        for label, shares, colour, style in lines:
            axes.plot(
                curve.strengths,
                [100.0 * share for share in shares],
                color=colour,
                linestyle=style,
                marker="o",
                label=label,
            )
        axes.set_xlabel(f"strength of the attack ($\\ell_{curve.norm:g}$)")
        axes.set_ylabel("accuracy (%)")
        axes.set_xlim(left=0.0)
    return drawn[0]


@contextmanager
def _axes() -> Iterator[tuple[Any, list[str]]]:
    """Axes for shares in percent; afterwards the list holds them as one <svg>."""
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
