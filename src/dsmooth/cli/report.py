"""Report runs: tables, curves and a page."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Parameter

from dsmooth.cli.options import FLAG, MANY, Laws, introduce_laws
from dsmooth.console import Bar, say
from dsmooth.errors import BadParameter

if TYPE_CHECKING:
    from dsmooth.records.store import Run

__all__ = ["report"]

_LOOKED: Final = 500
"""Most images of a run, the first ones, that get pictures of noisy and denoised copies."""


def report(
    runs: Annotated[list[Path], MANY],
    /,
    *,
    radii: Annotated[list[float] | None, MANY] = None,
    out: Annotated[Path | None, Parameter(alias="-o")] = None,
    no_cohen: Annotated[bool, FLAG] = False,
    dossier: Annotated[bool, FLAG] = False,
    images: Path | None = None,
    denoiser: Annotated[str | None, Parameter(alias="-d")] = None,
    noise: Laws = None,
) -> None:
    """Report the certified accuracy of one or several runs: an HTML page, table, curve, upper envelope and TSV.

    Each run is shown under the multiclass bound and under Cohen's, from the same votes. A run in mode curve or decision is
    shown under its own bound only, because its votes depend on when it stopped; a run that evaluated every outcome of its
    noise, under the exact bound. Runs whose options were chosen after the votes, or made by an older version, are marked.
    Needs no torch, except for --images.

    Examples:

        dsmooth report runs/cifar

        dsmooth report cohen/resnet110-sigma-0.25.tsv --radii 0 0.25 0.5

        dsmooth report runs/photos --dossier

        dsmooth report runs/photos --images photos/ -d denoisers/mine

        dsmooth report runs/sigma-0.12 runs/sigma-0.25 runs/sigma-0.5 --radii 0 0.25 0.5 0.75 --out report

    Parameters
    ----------
    runs: list[Path]
        Run folders that `dsmooth certify` wrote. Several get their upper envelope, and finished ones on the same labelled
        images are compared with the first one, image by image. TSV files of other programs (idx label predict radius
        correct time) are shown as they are: without votes, nothing in them can be recomputed or checked.
    radii: list[float] | None
        The radii of the table; by default those of the run's mode, or six that the noise can reach.
    out: Path | None
        Folder for the page and the tables; RUN/report of the first run by default.
    no_cohen: bool
        Leave out Cohen's bound.
    dossier: bool
        Also write dossier.html, a page for an auditor: threat model, method, alpha, population bound, versions, digests,
        witness.
    images: Path | None
        The images that were certified. The page then also shows the first ones as the classifier saw them: noisy and
        denoised. These pictures are kept in the run folder, in looks/.
    denoiser: str | None
        With --images: the denoiser that was certified; by default the shipped one that the run names.
    noise: list[str] | None
        Noise distributions of your own that the records name, as import:package.module:factory.
    """
    from dsmooth.records.cascade import cascade_in, read_cascade
    from dsmooth.records.changed import holds_changed, read_changed
    from dsmooth.records.store import open_run
    from dsmooth.report.export import difference_table, markdown_table, saving
    from dsmooth.report.imported import imported_table, read_tsv
    from dsmooth.report.page import write_report
    from dsmooth.report.summary import summarise

    if denoiser is not None and images is None:
        raise BadParameter("-d is for pictures of noisy and denoised images: pass --images too")
    introduce_laws(noise)
    files = [run for run in runs if run.suffix == ".tsv"]
    runs = [run for run in runs if run not in files]
    if files:
        table = imported_table([read_tsv(file) for file in files], radii)
        say(
            "certified accuracy in %, as the files state it; they do not hold alpha, n, sigma or the bound",
            *table.splitlines(),
        )
    if not runs:
        return
    cohen = not no_cohen
    if cascade_in(runs[0]) is not None:
        if len(runs) > 1:
            raise BadParameter("a cascade is reported by itself: pass only its folder")
        cascade = read_cascade(runs[0])
        held = list(cascade.scales)
        summary = summarise(held, radii, cohen=cohen, together=cascade)
    elif holds_changed(runs[0]):
        if len(runs) > 1:
            raise BadParameter("a changed classifier is reported beside its former one: give its folder alone")
        changed = read_changed(runs[0])
        held = [changed.before]
        summary = summarise(held, radii, cohen=cohen, together=changed)
    else:
        held = [open_run(run) for run in runs]
        summary = summarise(held, radii, cohen=cohen)
    if images is not None:
        _look(held, images, denoiser)
    page = write_report(summary, out or runs[0] / "report", dossier=dossier)
    brackets = ", with a 95 % lower bound for the population in brackets" if summary.labelled else ""
    say(f"{summary.what} in %{brackets}", *markdown_table(summary).splitlines())
    if compared := difference_table(summary):
        say(*compared.splitlines())
    less = saving(summary.samples_if_fixed, summary.samples)
    say(f"{summary.samples:,} samples{less}; {summary.seconds:.0f} s", f"page: {page}")
    if dossier:
        say(f"dossier: {page.with_name('dossier.html')}")


def _look(runs: Sequence[Run], path: Path, spec: str | None) -> None:
    """Noisy and denoised pictures of the images of each run, as many as the page shows."""
    from dsmooth.denoisers.loading import certified_denoiser
    from dsmooth.images.opening import holds_arrays, open_images
    from dsmooth.records.record_file import in_order
    from dsmooth.runs.looks import make_looks
    from dsmooth.runs.verify import size_of_images

    listed = {run.folder: list(islice(in_order(run.records), _LOOKED)) for run in runs}
    with Bar("look", sum(map(len, listed.values())), "images") as bar:
        done = 0

        def count() -> None:
            nonlocal done
            done += 1
            bar.to(done)

        for run in runs:
            records = listed[run.folder]
            size = None if holds_arrays(path) else size_of_images(records)
            shown = open_images(path, channels=records[0].shape[2], size=size)
            cleaner = certified_denoiser(spec, run.question.denoiser, run.header.get("denoiser_name"))
            make_looks(run, shown, cleaner, records=records, on_image=count)
