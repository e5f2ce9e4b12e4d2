"""Runs as tables for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from dsmooth.cli.options import MANY, Laws, introduce_laws
from dsmooth.console import say
from dsmooth.errors import BadParameter, BadRun

__all__ = ["export"]


def export(
    runs: Annotated[list[Path], MANY],
    /,
    *,
    csv: Path | None = None,
    parquet: Path | None = None,
    noise: Laws = None,
) -> None:
    """Export one or several runs as a table with a row per image: label, radius, votes and settings.

    Needs no torch. In Python: dsmooth.read_run(RUN).to_pandas().

    Examples:

        dsmooth export runs/photos --csv photos.csv

        dsmooth export runs/sigma-0.25 runs/sigma-0.5 --parquet both.parquet

    Parameters
    ----------
    runs: list[Path]
        Run folders that `dsmooth certify` wrote.
    csv: Path | None
        The CSV file to write. Text that begins with = + - @, a tab or a carriage return gets a leading apostrophe, so that
        spreadsheets do not run it as a formula.
    parquet: Path | None
        The Parquet file to write (extra `table`).
    noise: list[str] | None
        Noise distributions of your own that the records name, as import:package.module:factory.
    """
    from dsmooth.records.files import write_whole
    from dsmooth.records.store import holds_run, open_run
    from dsmooth.records.table import csv_of, parquet_of

    wanted = [(path, make) for path, make in ((csv, csv_of), (parquet, parquet_of)) if path is not None]
    if not wanted:
        raise BadParameter("expected a file to write, got none: pass --csv FILE or --parquet FILE")
    for path, make in wanted:
        ending = ".csv" if make is csv_of else ".parquet"
        if path.suffix != ending:  # or a run's own files could be written over
            raise BadParameter(f"expected a file that ends in {ending}, got {path}")
    introduce_laws(noise)
    read = [open_run(run) for run in runs]
    for path, content in [(path, make(read)) for path, make in wanted]:
        try:
            write_whole(path, content, inside=path.parent if holds_run(path.parent) else None)
        except OSError as error:
            raise BadRun(f"{path}: cannot be written ({error.strerror})") from error
        say(f"{sum(len(run.records) for run in read):,} images: {path}")
