"""One self-contained HTML page of one or several runs, and the files beside it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from markupsafe import Markup

from dsmooth.errors import BadRun
from dsmooth.records.files import make_folder, write_whole
from dsmooth.records.store import holds_run
from dsmooth.registry import Registry
from dsmooth.report.dossier import dossier_of
from dsmooth.report.export import latex_table, markdown_table, tsv
from dsmooth.report.filling import TEMPLATES, page
from dsmooth.report.sections.base import RunSection, Section
from dsmooth.report.sections.curve import curve_of
from dsmooth.report.sections.known import SECTIONS, sections_in
from dsmooth.report.summary import Summary, marked, names_of

__all__ = ["page_of", "write_report"]


def write_report(summary: Summary, out: Path, *, dossier: bool = False) -> Path:
    """`out` holds report.html (everything in one page), curve.svg, table.md, table.tex and a TSV for each run.

    With `dossier` also dossier.html, the page for an auditor.

    Raises BadRun where it cannot be written, or where a symbolic link within a run leads there.
    """
    files: dict[str, str | Iterator[str]] = {
        "report.html": page_of(summary),
        "curve.svg": f'<?xml version="1.0" encoding="utf-8"?>\n{curve_of(summary).svg}',
        "table.md": markdown_table(summary),
        "table.tex": latex_table(summary),
    }
    if dossier:
        files["dossier.html"] = dossier_of(summary)
    for run, name in zip(summary.runs, names_of(summary.runs), strict=True):
        files[f"{name}.tsv"] = tsv(run)
    inside = out.parent if holds_run(out.parent) else None
    try:
        if inside is None:
            out.mkdir(parents=True, exist_ok=True)
        else:
            make_folder(out, inside=inside)
        for name, text in files.items():
            write_whole(out / name, text, inside=inside)
    except OSError as error:
        raise BadRun(f"{out}: the report cannot be written there ({error.strerror})") from error
    return out / "report.html"


def page_of(summary: Summary, sections: Registry = SECTIONS) -> str:
    """The page of these sections, in their order; Registry("section", {**SECTIONS, "mine": "module:Mine"}) adds one."""
    return page(
        TEMPLATES / "report.html",
        styles=("style.css", "report.css"),
        script="report.js",
        title=", ".join(names_of(summary.runs)),
        parts=list(_parts(summary, sections_in(sections))),
    )


def _parts(summary: Summary, sections: list[Section | RunSection]) -> Iterator[tuple[str, Markup]]:
    """Pairs of a heading (empty for sections of all runs, which bring their own) and HTML."""
    for _, neighbours in groupby(sections, key=lambda section: isinstance(section, RunSection)):
        group = list(neighbours)
        shown = [section.html(summary) for section in group if isinstance(section, Section)]
        yield from (("", html) for html in shown if html is not None)
        of_run = [section for section in group if isinstance(section, RunSection)]
        for run in summary.runs if of_run else ():
            shown = [section.html(summary, run) for section in of_run]
            yield marked(run), Markup("\n").join(html for html in shown if html is not None)
