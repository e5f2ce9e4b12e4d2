"""Results of a run by class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from markupsafe import Markup

from dsmooth.records.store import Run
from dsmooth.report.export import index_of, percent
from dsmooth.report.filling import filled
from dsmooth.report.sections.base import RunSection
from dsmooth.report.summary import Summary, marked
from dsmooth.theory.cascade import CascadeCertificate
from dsmooth.theory.certifiers import Certificate
from dsmooth.theory.votes import Label

__all__ = ["Classes"]

_OPEN: Final = 20  # more classes than these are folded away


class Classes(RunSection):
    """A row for each true class, in order; nothing where labels are missing or all the same."""

    def _html(self, summary: Summary, run: Run) -> Markup | None:
        row = next(row for row in summary.rows if row.main and summary.runs[row.run] is run)
        if None in row.labels:
            return None
        members: dict[int, _Members] = {}
        for label, certificate in zip(row.labels, row.certificates, strict=True):
            if label is not None:
                members.setdefault(label, _Members(label, [0] * len(summary.radii))).add(certificate, summary.radii)
        if len(members) < 2:
            return None
        return filled(
            Path(__file__).with_suffix(".html"),
            name=marked(run),
            rule=row.certifier,
            norm=index_of(summary.norm),
            radii=[f"{radius:.12g}" for radius in summary.radii],
            rows=[members[label].row(run) for label in sorted(members)],
            unfolded=len(members) <= _OPEN,
        )


@dataclass
class _Members:
    """The images of one class, counted."""

    label: int
    right: list[int]
    """Certified beyond each radius."""
    images: int = 0
    abstained: int = 0
    wrong: Counter[Label] = field(default_factory=Counter)

    def add(self, certificate: Certificate | CascadeCertificate, radii: Sequence[float]) -> None:
        self.images += 1
        if certificate.answer is None:
            self.abstained += 1
        elif certificate.answer != self.label:
            self.wrong[certificate.answer] += 1
        else:
            self.right = [
                count + (certificate.radius > radius) for count, radius in zip(self.right, radii, strict=True)
            ]

    def row(self, run: Run) -> dict[str, Any]:
        mistaken = ", ".join(f"{run.label_name(answer)} {count}" for answer, count in self.wrong.most_common(2))
        return {
            "name": run.label_name(self.label),
            "images": self.images,
            "shares": [percent(count / self.images) for count in self.right],
            "wrong": percent(self.wrong.total() / self.images, up=True),
            "abstained": percent(self.abstained / self.images, up=True),
            "mistaken": mistaken,
        }
