"""Tables, curves and a page of runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from dsmooth.cli.options import FLAG, MANY, Laws, introduce_laws
from dsmooth.console import say
from dsmooth.errors import BadParameter

__all__ = ["report"]


def report(
    runs: Annotated[list[Path], MANY],
    /,
    *,
    radii: Annotated[list[float] | None, MANY] = None,
    out: Annotated[Path | None, Parameter(alias="-o")] = None,
    dossier: Annotated[bool, FLAG] = False,
    noise: Laws = None,
) -> None:
    """Certified accuracy of one or several runs: table, curve, upper envelope, TSV, in one HTML page.

    Each run is shown under the multiclass bound and under Cohen's, from the same votes; a run in mode curve or decision
    under its own, the only one that votes which were looked at allow; noise all of whose outcomes were asked for under the
    exact one. What was chosen after the votes, or made by an older version, is marked. Needs no torch.

    Examples:

        dsmooth report runs/cifar

        dsmooth report cohen/resnet110-sigma-0.25.tsv --radii 0 0.25 0.5

        dsmooth report runs/photos --dossier

        dsmooth report runs/sigma-0.12 runs/sigma-0.25 runs/sigma-0.5 --radii 0 0.25 0.5 0.75 --out report

    Parameters
    ----------
    runs: list[Path]
        Run folders that `dsmooth certify` wrote; several are compared, and their upper envelope is added. TSV files of
        other programs (idx label predict radius correct time) are shown as they stand: without votes nothing in them
        can be derived again or checked.
    radii: list[float] | None
        The radii of the table; those in question, or six that the noise can reach, by default.
    out: Path | None
        Where the page and the tables go; RUN/report of the first run by default.
    dossier: bool
        Also write dossier.html, a page for an auditor: declared threat, method, alpha, population bound, versions, digests,
        witness.
    noise: list[str] | None
        Laws of noise of your own that the records name, as import:package.module:factory.
    """
    from dsmooth.records.cascade import cascade_in, read_cascade
    from dsmooth.records.store import read_run
    from dsmooth.report.export import markdown_table, saving
    from dsmooth.report.imported import imported_table, read_tsv
    from dsmooth.report.page import write_report
    from dsmooth.report.summary import summarise

    introduce_laws(noise)
    files = [run for run in runs if run.suffix == ".tsv"]
    runs = [run for run in runs if run not in files]
    if files:
        table = imported_table([read_tsv(file) for file in files], radii)
        say("certified accuracy in %, as the files say: alpha, n, sigma and bound are not in them", *table.splitlines())
    if not runs:
        return
    if cascade_in(runs[0]) is not None:
        if len(runs) > 1:
            raise BadParameter("a cascade is reported by itself: give its folder alone")
        cascade = read_cascade(runs[0])
        summary = summarise(cascade.scales, radii, cascade=cascade)
    else:
        summary = summarise([read_run(run) for run in runs], radii)
    page = write_report(summary, out or runs[0] / "report", dossier=dossier)
    brackets = ", with a 95 % lower bound for the population in brackets" if summary.labelled else ""
    say(f"{summary.what} in %{brackets}", *markdown_table(summary).splitlines())
    less = saving(summary.samples_if_fixed, summary.samples)
    say(f"{summary.samples:,} samples{less}; {summary.seconds:.0f} s", f"page: {page}")
    if dossier:
        say(f"dossier: {page.with_name('dossier.html')}")
