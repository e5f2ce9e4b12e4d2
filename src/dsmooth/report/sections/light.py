"""How far brightness, colour and side light may change, where the noise includes them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Final

from markupsafe import Markup

from dsmooth.records.store import Run
from dsmooth.report.export import percent
from dsmooth.report.filling import filled
from dsmooth.report.sections.base import RunSection
from dsmooth.report.summary import Summary, marked
from dsmooth.theory.certifiers import Certificate
from dsmooth.theory.grid import LEVELS

__all__ = ["Light"]

_SHOWN: Final = (4, 8, 16, 24, 32, 48, 64)
"""Levels of 255."""


class Light(RunSection):
    """Certified accuracy against the change of each lighting parameter alone; nothing for noise without any."""

    def _html(self, summary: Summary, run: Run) -> Markup | None:
        if not run.question.law.allowed(1.0):
            return None
        row = next(row for row in summary.rows if row.main and summary.runs[row.run] is run)
        further: Counter[tuple[str, int]] = Counter()
        for label, certificate in zip(row.labels, row.certificates, strict=True):
            if not isinstance(certificate, Certificate) or certificate.answer is None:
                continue
            if label in (None, certificate.answer):
                extents = certificate.extents.items()
                further.update((what, level) for what, each in extents for level in _SHOWN if LEVELS * each > level)
        return filled(
            Path(__file__).with_suffix(".html"),
            name=marked(run),
            rule=row.certifier,
            labelled=summary.labelled,
            levels=_SHOWN,
            of=LEVELS,
            rows=[
                (what, [percent(further[what, level] / len(row.labels)) for level in _SHOWN])
                for what in run.question.law.allowed(1.0)
            ],
        )
