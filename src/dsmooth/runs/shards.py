"""One run on many machines: planned once, done in shards that share nothing but a folder, merged into one run.

A vote is determined by its address and the networks, whichever machine draws it: the records of merged shards are those of a
run on one machine, except for times and versions. RUN holds the settings and the key of all shards; RUN/shards/03-of-16
is a run folder about the same images, of which it does every 16th, starting with the fourth.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dsmooth.errors import BadParameter, BadRun
from dsmooth.records.clean_answers import add_clean_answer, clean_answers
from dsmooth.records.files import make_folder, read_bounded, write_whole
from dsmooth.records.keys import read_secret
from dsmooth.records.sidecar import read_sidecar
from dsmooth.records.store import Run, RunWriter, check_same, holds_run, open_run
from dsmooth.records.thumbnails import THUMBNAILS

__all__ = ["SHARDS", "Shard", "merge_shards", "plan_of", "shard_of_environment"]

SHARDS: Final = "shards"

_MOST: Final = 100_000  # shards of a run
_MOST_VOTES: Final = 64 << 20
"""Most bytes of a file of packed votes: 33 million of them take that much unpacked."""

_ENVIRONMENTS: Final = (
    # index, count, the least index
    ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT", "SLURM_ARRAY_TASK_MIN"),
    ("SLURM_PROCID", "SLURM_NTASKS", None),
    ("RANK", "WORLD_SIZE", None),
    ("JOB_COMPLETION_INDEX", "JOB_COMPLETIONS", None),
    ("AWS_BATCH_JOB_ARRAY_INDEX", "AWS_BATCH_JOB_ARRAY_SIZE", None),
)
"""SLURM arrays and tasks, torchrun, Kubernetes indexed jobs (which say no count: --shard auto/16), AWS Batch arrays."""


@dataclass(frozen=True, slots=True)
class Shard:
    """Number `number` (from 0) of `count` shards of a run."""

    number: int
    count: int

    def __post_init__(self) -> None:
        if not (0 <= self.number < self.count <= _MOST):
            raise BadParameter(
                f"expected a shard from 0/N to N-1/N, N at most {_MOST:,}, got {self.number}/{self.count}"
            )

    @classmethod
    def parse(cls, text: str) -> Shard:
        """The shard that 3/16 names, counted from 0; auto, auto/16: the one that the cluster's environment names."""
        number, slash, count = text.partition("/")
        try:
            if number == "auto":
                return shard_of_environment(os.environ, int(count) if slash else None)
            return cls(int(number), int(count))
        except BadParameter:
            raise
        except ValueError:
            raise BadParameter(f"shard must be NUMBER/COUNT, as 3/16, or auto, or auto/16, got {text[:80]!r}") from None

    def folder(self, run: Path) -> Path:
        """Where its records go."""
        width = len(str(self.count - 1))
        return run / SHARDS / f"{self.number:0{width}d}-of-{self.count}"

    def positions(self, images: int) -> range:
        """Which images of the run it does."""
        return range(self.number, images, self.count)


def shard_of_environment(variables: Mapping[str, str], of: int | None = None) -> Shard:
    """The shard that a cluster's environment names, of so many; raises BadParameter where it names none."""
    for index, count, least in _ENVIRONMENTS:
        if index not in variables:
            continue
        told = {name: variables.get(name, "") for name in (index, count)}
        try:
            number = int(told[index]) - int(variables.get(least or "", "0"))
            return Shard(number, int(told[count]) if of is None else of)
        except ValueError:
            shown = ", ".join(f"{name}={value[:20]}" for name, value in told.items())
            raise BadParameter(
                f"expected {index} and {count} to name a shard, got {shown}: pass --shard 3/16"
            ) from None
    names = ", ".join(index for index, *_ in _ENVIRONMENTS)
    raise BadParameter(f"--shard auto needs one of {names} in the environment: pass --shard 3/16 otherwise")


def plan_of(run: Path, header: Mapping[str, Any]) -> tuple[dict[str, Any], bytes]:
    """Header and key of the plan in `run`; raises BadRun unless it asks the same of the same images."""
    if not holds_run(run):
        raise BadRun(f"{run} holds no plan: make one with --plan first, so that all shards have one key")
    plan = open_run(run)
    if plan.key is not None:
        raise BadRun(f"{run} is finished: there is nothing left to do")
    check_same(run, plan, header)
    return dict(plan.header), read_secret(run, str(plan.header["key_commitment"]))


def merge_shards(run: Path, *, on_progress: Callable[[int], None] = lambda done: None) -> Run:
    """The finished run: the records of all shards in the order of the images, sealed, and the key revealed.

    Raises BadRun, with what is missing, until every image has its record in some shard; what was merged before a crash
    is not merged twice. The shards are gone afterwards: their votes are in the run.
    """
    if not holds_run(run):
        raise BadRun(f"{run} holds no run: pass the --out folder of --plan")
    plan = open_run(run)
    folders = sorted(path.parent for path in (run / SHARDS).glob("*/run.json"))
    if (run / SHARDS).is_symlink() or any(folder.is_symlink() for folder in folders):
        raise BadRun(f"{run / SHARDS}: symbolic links within a run are not followed")
    shards = [open_run(folder) for folder in folders]
    if not shards and plan.key is None:
        raise BadRun(f"{run} has no shards yet: run `dsmooth certify ... --shard 0/N --out {run}` and so on first")
    for shard in shards:
        if {**shard.header} != {**plan.header}:
            raise BadRun(f"{shard.folder} is no shard of {run}: it was begun with other settings, key or date")
        if shard.torn:
            raise BadRun(f"{shard.folder} has an unfinished record: run that shard again, it continues there")
    found: dict[int, tuple[Run, int]] = {}
    names: set[str] = set()
    for shard in shards:
        for place, record in enumerate(shard.records):
            if record.votes["file"] != f"votes/{record.index:06d}.votes":
                raise BadRun(
                    f"{shard.folder}: expected the votes of {record.name!r} in the file of its index, got another"
                )
            found[record.index] = shard, place
            names.add(record.name)
    recorded = sum(len(shard.records) for shard in shards)
    if recorded != len(found):
        raise BadRun(f"{run}: expected each image in one shard, found one in several: the counts of the shards differ")
    if recorded != len(names):
        raise BadRun(f"{run}: expected each image in one shard, found one name twice")
    held = {record.index for record in plan.records}
    missing = [i for i in range(plan.images) if i not in found and i not in held]
    if missing:
        raise BadRun(
            f"{run}: {len(missing)} of {plan.images} images have no record yet, the first of them number {missing[0]}: "
            "wait for their shards, or run them again"
        )
    key = plan.key or read_secret(run, str(plan.header["key_commitment"]))
    alone = {shard.folder: clean_answers(shard.folder, shard.records) for shard in shards}
    with RunWriter(run, plan.header, key, resume=True) as writer:
        for index in sorted(found.keys() - held):
            shard, place = found[index]
            record = shard.records[place]
            name = str(record.votes["file"])
            make_folder((run / name).parent, inside=run)
            write_whole(run / name, read_bounded(shard.folder / name, _MOST_VOTES, inside=shard.folder), inside=run)
            THUMBNAILS.copy(shard.folder, run, index)
            if record.image in alone[shard.folder]:
                add_clean_answer(run, record.image, alone[shard.folder][record.image])
            writer.append(record)
            on_progress(len(writer.records))
        writer.finish()
        merged = writer.run()
    for record in merged.records:  # the shards are the only other copies
        read_sidecar(run, record.votes, record.selection["trials"] + record.estimation["trials"])
    shutil.rmtree(run / SHARDS, ignore_errors=True)
    return merged
