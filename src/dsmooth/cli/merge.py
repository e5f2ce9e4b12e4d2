"""Merge the shards of a run."""

from __future__ import annotations

from pathlib import Path

from dsmooth.console import Bar, say

__all__ = ["merge"]


def merge(run: Path, /) -> None:
    """Merge the shards of `dsmooth certify --shard` into one run, sealed, with the key revealed.

    The records are the same, in the same order, as those of a run on one machine. Until all shards are done, merge says what
    is missing; after an interruption, run it again.

    Examples:

        dsmooth merge runs/large

    Parameters
    ----------
    run: Path
        The --out folder of `dsmooth certify --plan`.
    """
    from dsmooth.records.store import open_run
    from dsmooth.runs.shards import merge_shards

    head = open_run(run)
    with Bar("merge", head.images, "images") as bar:
        merged = merge_shards(run, on_progress=bar.to)
    say(f"{len(merged.records)} images merged", f"run: {run}", f"next: dsmooth report {run}")
