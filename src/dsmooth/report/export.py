"""Tables for papers and readme files, and Cohen's TSV."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import timedelta

from dsmooth.records.record_file import in_order
from dsmooth.records.schema import certificate_of
from dsmooth.records.store import Run
from dsmooth.report.cells import latex_cell, markdown_cell, one_line, p_value_cell, tsv_cell, with_error
from dsmooth.report.differences import differences
from dsmooth.report.summary import Cell, Summary
from dsmooth.theory.bounds import round_down
from dsmooth.theory.certifiers import Certifier

__all__ = [
    "difference_cells",
    "difference_table",
    "index_of",
    "latex_table",
    "markdown_table",
    "percent",
    "saving",
    "table_cells",
    "tsv",
]


def table_cells(summary: Summary) -> tuple[list[str], list[list[str]]]:
    """Heading and rows of the table, as text: shares in percent, with lower bounds in brackets."""
    heading = ["run", "noise", "bound", "abstained", *_radius_headings(summary)]
    certain = " (certain)" if summary.certain else ""
    rows = [
        [
            row.name,
            row.noise,
            row.certifier + certain,
            percent(row.abstained, up=True),
            *map(_cell, row.cells),
        ]
        for row in summary.rows
    ]
    if summary.envelope:
        rows += [
            ["upper envelope", "", name + certain, "", *map(_cell, cells)] for name, cells in summary.envelope.items()
        ]
    return heading, rows


def markdown_table(summary: Summary) -> str:
    """The table in markdown."""
    return _markdown(*table_cells(summary))


def difference_cells(summary: Summary) -> tuple[list[str], list[list[str]]]:
    """Heading and rows of the comparison with the first run, as text; no rows where nothing can be compared."""
    heading = ["run", "bound", "average radius: difference ± standard error", *_radius_headings(summary)]
    certain = " (certain)" if summary.certain else ""
    rows = [
        [
            each.name,
            each.certifier + certain,
            with_error(each.average_radius.mean, each.average_radius.standard_error),
            *(f"+{change.gained} -{change.lost} (p {p_value_cell(change.p_value)})" for change in each.exchanges),
        ]
        for each in differences(summary)
    ]
    return heading, rows


def difference_table(summary: Summary) -> str:
    """What is compared, and the comparison with the first run in markdown; empty where nothing can be compared."""
    heading, rows = difference_cells(summary)
    if not rows:
        return ""
    told = (
        f"compared with {one_line(summary.rows[0].name)}: + images that only the run certifies for the right label, "
        "- images that only the first one does, p of the exact sign test"
    )
    return f"{told}\n{_markdown(heading, rows)}"


def latex_table(summary: Summary) -> str:
    """The table as a LaTeX tabular (booktabs)."""
    heading, rows = table_cells(summary)
    body = "".join(" & ".join(map(latex_cell, row)) + " \\\\\n" for row in rows)
    return (
        f"\\begin{{tabular}}{{lllr{'r' * len(summary.radii)}}}\n\\toprule\n"
        f"{' & '.join(map(latex_cell, heading))} \\\\\n\\midrule\n{body}\\bottomrule\n\\end{{tabular}}\n"
    )


def index_of(norm: float) -> str:
    """The index of the l of a norm: 2, or ∞."""
    return "∞" if math.isinf(norm) else f"{norm:g}"


def saving(fixed: int, samples: int) -> str:
    """A suffix that compares the number of samples with mode fixed; empty where it is the same."""
    return f", {fixed / samples:.1f} times fewer than the {fixed:,} of mode fixed" if 0 < samples < fixed else ""


def tsv(run: Run, certifier: Certifier | None = None) -> Iterator[str]:
    """The run under the given bound (by default its own), in Cohen's format, line by line.

    idx, label, predict, radius, correct, time; -1 stands for an abstention or an unknown label. Labels that are text are
    escaped (tsv_cell).
    """
    yield "idx\tlabel\tpredict\tradius\tcorrect\ttime\n"
    for record in in_order(run.records):
        certificate = certificate_of(record, certifier)
        predicted = "-1" if certificate.answer is None else tsv_cell(str(certificate.answer))
        label = -1 if record.label is None else record.label
        correct = int(certificate.answer is not None and certificate.answer == record.label)
        radius, elapsed = round_down(certificate.radius, 6), timedelta(seconds=record.seconds)
        yield f"{record.index}\t{label}\t{predicted}\t{radius}\t{correct}\t{elapsed}\n"


def _radius_headings(summary: Summary) -> list[str]:
    return [f"l{summary.norm:g} r = {radius:.12g}" for radius in summary.radii]


def _markdown(heading: list[str], rows: list[list[str]]) -> str:
    lines = [heading, ["---"] * len(heading), *rows]
    return "".join(f"| {' | '.join(map(markdown_cell, line))} |\n" for line in lines)


def _cell(cell: Cell) -> str:
    return percent(cell.share) + ("" if cell.bound is None else f" [{percent(cell.bound)}]")


def percent(share: float, *, up: bool = False) -> str:
    """One decimal, rounded down (or up); the 1e-9 absorbs the rounding error of 100 * share."""
    tenths = math.ceil(1000.0 * share - 1e-9) if up else math.floor(1000.0 * share + 1e-9)
    return f"{tenths / 10:.1f}"
