"""Make one run of its shards."""

from __future__ import annotations

from pathlib import Path

from dsmooth.console import Bar, say

__all__ = ["merge"]


def merge(run: Path, /) -> None:
    """Make one run of the shards that `dsmooth certify --shard` did: in the order of the images, sealed, the key revealed.

    The records are those of a run on one machine. Says what is missing until all shards are done; merging again after an
    interruption goes on.

    Examples:

        dsmooth merge runs/large

    Parameters
    ----------
    run: Path
        The folder that --plan was given.
    """
    from dsmooth.records.store import open_run
    from dsmooth.runs.shards import merge_shards

    head, _ = open_run(run)
    with Bar("merge", head.images, "images") as bar:
        merged = merge_shards(run, on_progress=bar.to)
    say(f"{len(merged.records)} images merged", f"run: {run}", f"next: dsmooth report {run}")
