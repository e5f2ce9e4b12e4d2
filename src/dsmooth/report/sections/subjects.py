"""What was smoothed in each run, and its clean accuracy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from markupsafe import Markup

from dsmooth.records.clean_answers import clean_answers
from dsmooth.records.store import Run
from dsmooth.report.export import percent
from dsmooth.report.filling import filled
from dsmooth.report.sections.base import Section
from dsmooth.report.summary import Summary
from dsmooth.theory.bounds import round_down

__all__ = ["Subjects"]


class Subjects(Section):
    """A row for each run: classifier and denoiser by name, noise, votes, accuracy of the majority."""

    def _html(self, summary: Summary) -> Markup:
        main = {row.run: row for row in summary.rows if row.main}
        rows = [
            {**_row(run), "name": main[place].name, "average": round_down(main[place].average_radius)}
            for place, run in enumerate(summary.runs)
        ]
        return filled(Path(__file__).with_suffix(".html"), rows=rows, labelled=summary.labelled)


def _row(run: Run) -> dict[str, Any]:
    question = run.question
    denoiser = "none" if question.denoiser is None else run.header.get("denoiser_name")
    right = sum([[pair[0] for pair in record.estimation["counts"][:1]] == [record.label] for record in run.records])
    alone = clean_answers(run.folder, run.records)
    alone_right = sum(alone.get(record.image) == record.label for record in run.records)
    known = all(record.image in alone for record in run.records)
    return {
        "classifier": str(run.header.get("classifier_name") or "not recorded"),
        "denoiser": str(denoiser or "not recorded"),
        "noise": str(question.law),
        "votes": f"{question.n0:,} + {question.n:,}" if question.n0 else f"{question.n:,}",
        "mode": question.mode.name,
        "images": f"{len(run.records):,}",
        "alone": percent(alone_right / len(run.records)) if known else "not recorded",
        "majority": percent(right / len(run.records)),
    }
