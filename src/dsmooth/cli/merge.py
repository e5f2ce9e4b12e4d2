"""Make one run of its shards."""

from __future__ import annotations

from pathlib import Path

from dsmooth.console import Bar, say

__all__ = ["merge"]


def merge(run: Path, /) -> None:
    """Merge the shards of `dsmooth certify --shard` into one run: in the order of the images, sealed, with the key revealed.

    The records are those of a run on one machine. Until all shards are done it says what is missing; after an interruption,
    merge again.

    Examples:

        dsmooth merge runs/large

    Parameters
    ----------
    run: Path
        The folder that --plan was given.
    """
    from dsmooth.records.store import open_run
    from dsmooth.runs.shards import merge_shards

    head = open_run(run)
    with Bar("merge", head.images, "images") as bar:
        merged = merge_shards(run, on_progress=bar.to)
    say(f"{len(merged.records)} images merged", f"run: {run}", f"next: dsmooth report {run}")
