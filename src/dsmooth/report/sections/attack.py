"""What `dsmooth attack` found in a run, with accuracy against the strength of the attack as SVG."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from markupsafe import Markup

from dsmooth.audit.findings import FOLDER, Curve, Finding, check_of_run, curve_of, read_findings
from dsmooth.records.store import Run
from dsmooth.report.axes import drawn
from dsmooth.report.export import index_of, percent
from dsmooth.report.filling import filled
from dsmooth.report.sections.base import RunSection
from dsmooth.report.summary import Summary, marked

__all__ = ["UnderAttack"]


class UnderAttack(RunSection):
    """Answers that a certificate rules out, and accuracy under attack; nothing where the run was not attacked."""

    def _html(self, summary: Summary, run: Run) -> Markup | None:
        folder = run.folder / FOLDER
        if not folder.is_dir():
            return None
        findings = read_findings(folder)
        check_of_run(findings, run)
        curve = curve_of(findings)
        rows = []
        if curve is not None:
            columns = zip(curve.strengths, curve.undefended, curve.smoothed, curve.certified, strict=True)
            rows = [(f"{strength:g}", *map(percent, shares)) for strength, *shares in columns]
        return filled(
            Path(__file__).with_suffix(".html"),
            name=marked(run),
            images=len(findings.images),
            norms=list(dict.fromkeys(_searched(finding) for finding in findings.all if finding.inside)),
            inside=sum(finding.inside for finding in findings.all),
            flips=len(findings.flips),
            parameters=findings.parameters,
            norm=None if curve is None else index_of(curve.norm),
            rows=rows,
            picture=_drawn(curve) if curve is not None and rows else None,
        )


def _searched(finding: Finding) -> Markup:
    """A ball by its norm, or a family by its name."""
    if finding.in_ball:
        return Markup("l<sub>{}</sub>").format(index_of(float(finding.norm)))
    return Markup("{}").format(finding.norm)


def _drawn(curve: Curve) -> str:
    """Accuracy against the strength of the attack, without defence, smoothed, and certified: the source of an <img>."""
    lines = (
        ("undefended classifier, attacked", curve.undefended, "#c8553d", "--"),
        ("smoothed, attacked", curve.smoothed, "#0b6e99", "-"),
        ("certified: lower bound for any attack", curve.certified, "#588157", ":"),
    )

    def draw(axes: Any) -> None:
        for label, shares, colour, style in lines:
            axes.plot(
                curve.strengths,
                [100.0 * share for share in shares],
                color=colour,
                linestyle=style,
                marker="o",
                label=label,
            )
        axes.set_xlabel(f"strength of the attack ($\\ell_{{{index_of(curve.norm)}}}$)")
        axes.set_ylabel("accuracy (%)")
        axes.set_xlim(left=0.0)

    return drawn(draw).uri
