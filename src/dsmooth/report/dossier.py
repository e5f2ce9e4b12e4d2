"""One page for an auditor: claim, threat model, method, confidence and evidence of runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dsmooth.records.repeats import mark
from dsmooth.records.store import Run
from dsmooth.records.witness import key_line
from dsmooth.report.export import index_of, percent
from dsmooth.report.filling import TEMPLATES, page
from dsmooth.report.summary import DELTA, Summary, marked

__all__ = ["dossier_of"]


def dossier_of(summary: Summary) -> str:
    """The page: figures are recomputed from the recorded votes, everything else is what the runs state."""
    return page(
        TEMPLATES / "dossier.html",
        styles=("style.css",),
        names=", ".join(marked(run) for run in summary.runs),
        summary=summary,
        confidence=f"{100 * (1 - DELTA):g}",
        norm=index_of(summary.norm),
        runs=[_told(summary, place, run) for place, run in enumerate(summary.runs)],
    )


def _told(summary: Summary, place: int, run: Run) -> dict[str, Any]:
    question, header = run.question, run.header
    rows = [row for row in summary.rows if row.run == place]
    return {
        "name": marked(run),
        "doubts": list(_doubts(run)),
        "law": str(question.law),
        "also": ", ".join(question.law.allowed(1.0)),
        "against": "" if question.mode.against is None else f"{question.mode.against.words}; {_makers(run)}",
        "law_norm": index_of(question.law.norm),
        "n0": f"{question.n0:,}",
        "n": f"{question.n:,}",
        "mode": question.mode.name,
        "images": len(run.records),
        "different": len({mark(record.image) for record in run.records}),
        "results": [
            {
                "bound": row.certifier,
                "abstained": percent(row.abstained, up=True),
                "cells": [
                    (percent(cell.share), "" if cell.bound is None else percent(cell.bound)) for cell in row.cells
                ],
            }
            for row in rows
        ],
        "subject": {
            "classifier": (header.get("classifier_name") or "not recorded", question.classifier),
            "denoiser": (header.get("denoiser_name") or "not recorded", question.denoiser)
            if question.denoiser is not None
            else ("none", None),
            "preprocessing from denoiser to classifier": (question.preparation, None),
            "images and labels": (
                f"{run.images:,} images, {_sizes(run)}",
                run.data or "digest recorded at the end of the run",
            ),
            "image preprocessing before the noise": (_steps(run), None),
            "precision, backend": (f"{question.dtype}, {question.backend}", None),
            "random generator": (question.generator, None),
            "started": (str(header.get("created", "not recorded")), None),
        },
        "versions": sorted({(name, value) for record in run.records for name, value in record.versions.items()}),
        "evidence": {
            "commitment to the noise key": str(header.get("key_commitment", "not recorded")),
            "key": f"{header.get('key_source') or 'source not recorded'}; {key_line(header, question.law)}",
            "attempt at these settings": str(header.get("attempt", "not recorded")),
            "end": "sealed, the key is revealed" if run.key is not None else "open: the key is still secret",
            "digest of the last record": run.records[-1].digest or "not recorded",
            "format of the records": f"schema {run.schema}",
        },
    }


def _doubts(run: Run) -> Iterator[str]:
    """What weakens the figures as evidence, in sentences."""
    if len(run.records) != run.images:
        yield f"The run is unfinished: {len(run.records):,} of {run.images:,} images have a record."
    if run.chosen_afterwards:
        yield "An option that affects the certificates was chosen after the votes were known: alpha does not hold."
    if not run.addressed:
        yield "The run was made by an older version: its settings could have been chosen after the votes were known."
    if run.header.get("key_source") == "seed":
        yield "The noise key is a seed: anyone who knew it knew the noise in advance."
    if (attempt := run.header.get("attempt", 1)) > 1:
        yield f"This was attempt {attempt} with the same settings: every attempt is another chance for a false certificate."
    if run.late:
        yield "The digest of the images' pixels was recorded only at the end of the run, when its key was known."
    if loose := sum(record.nondeterministic for record in run.records):
        yield f"Images with identical inputs that the classifier answered differently: {loose:,}."


def _makers(run: Run) -> str:
    """The software that made the images of a family."""
    return "; ".join(sorted({str(record.cover["by"]) for record in run.records if record.cover is not None}))


def _sizes(run: Run) -> str:
    sizes = sorted({record.shape for record in run.records})
    told = [" x ".join(map(str, shape)) for shape in sizes[:3]]
    return ", ".join([*told, f"{len(sizes) - 3} other sizes"] if len(sizes) > 3 else told)


def _steps(run: Run) -> str:
    return "; ".join(sorted({step for record in run.records for step in record.decoding})) or "nothing"
