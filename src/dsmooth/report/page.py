"""One self-contained HTML page of one or several runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dsmooth.audit.findings import FOLDER, curve_of, read_findings
from dsmooth.errors import BadRun
from dsmooth.records.files import write_whole
from dsmooth.records.store import Run
from dsmooth.report.curve import attack_svg, curve_svg
from dsmooth.report.export import latex_table, markdown_table, percent, saving, table_cells, tsv
from dsmooth.report.summary import Summary
from dsmooth.theory.bounds import round_down

__all__ = ["render", "write_report"]

_SHOWN = 200  # images listed on the page, a run; the records have all


def render(template: str, **values: Any) -> str:
    """A template of templates/, with everything that is put into it escaped."""
    import jinja2

    loader = jinja2.FileSystemLoader(Path(__file__).parent / "templates")
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
    environment.filters["down"] = round_down
    return environment.get_template(template).render(**values)


def write_report(summary: Summary, out: Path) -> Path:
    """`out` holds report.html (everything in one page), curve.svg, table.md, table.tex and a TSV for each run."""
    svg = curve_svg(summary)
    heading, rows = table_cells(summary)
    page = render(
        "report.html",
        summary=summary,
        saving=saving(summary.samples_if_fixed, summary.samples),
        heading=heading,
        rows=rows,
        svg=svg,
        runs=[_listing(run) for run in summary.runs],
        shown=_SHOWN,
        inf=float("inf"),
    )
    files = {
        "report.html": page,
        "curve.svg": f'<?xml version="1.0" encoding="utf-8"?>\n{svg}',
        "table.md": markdown_table(summary),
        "table.tex": latex_table(summary),
    }
    for run, name in zip(summary.runs, _names(summary), strict=True):
        files[f"{name}.tsv"] = tsv(run)
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            write_whole(out / name, text)
    except OSError as error:
        raise BadRun(f"{out}: the report cannot be written there ({error.strerror})") from error
    return out / "report.html"


def _names(summary: Summary) -> list[str]:
    names = [run.folder.resolve().name for run in summary.runs]
    return [name if names.count(name) == 1 else f"{name}-{i}" for i, name in enumerate(names, start=1)]


def _listing(run: Run) -> dict[str, Any]:
    names = run.header.get("class_names")

    def called(label: int | str | None) -> str:
        if isinstance(label, int) and names is not None and label < len(names):
            return f"{names[label]} ({label})"
        return "abstain" if label is None else str(label)

    records = sorted(run.records, key=lambda record: record.index)
    return {
        "attack": _attack(run),
        "name": run.folder.resolve().name,
        "question": run.question.to_json(),
        "chosen_afterwards": run.chosen_afterwards,
        "schema": run.schema,
        "commitment": run.header.get("key_commitment", ""),
        "count": len(records),
        "records": [
            {
                "name": record.name,
                "label": "" if record.label is None else called(record.label),
                "answer": called(record.answer),
                "right": record.label is not None and record.answer == record.label,
                "radius": record.radius,
                "votes": ", ".join(f"{called(label)} {count}" for label, count in record.estimation["counts"][:3]),
                "missing": record.estimation["missing"],
                "samples": record.drawn,
            }
            for record in records[:_SHOWN]
        ],
    }


def _attack(run: Run) -> dict[str, Any] | None:
    """What `dsmooth attack` found, where it was run."""
    folder = run.folder / FOLDER
    if not folder.is_dir():
        return None
    findings = read_findings(folder)
    curve = curve_of(findings)
    rows = []
    if curve is not None:
        columns = zip(curve.strengths, curve.undefended, curve.smoothed, curve.certified, strict=True)
        rows = [(f"{strength:g}", *map(percent, shares)) for strength, *shares in columns]
    return {
        "images": len(findings.images),
        "inside": sum(finding.inside for finding in findings.all),
        "flips": len(findings.flips),
        "steps": findings.parameters["steps"],
        "draws": findings.parameters["draws"],
        "norm": None if curve is None else f"{curve.norm:g}",
        "rows": rows,
        "svg": attack_svg(curve) if curve is not None and rows else None,
    }
