"""Certify a changed classifier: pairs of votes beside an earlier run; and what both promise when asked for again."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Final

from dsmooth.classifiers.base import Classifier
from dsmooth.classifiers.paired import PairedClassifier
from dsmooth.denoisers.base import Denoise
from dsmooth.errors import BadRun
from dsmooth.images.sets import ImageSet
from dsmooth.records.changed import BEFORE, PAIRS, ChangedRun, paired, promising, read_changed, why_not_paired
from dsmooth.records.digests import digest_image
from dsmooth.records.schema import votes_from_json
from dsmooth.records.store import Run, check_free, holds_run, read_run
from dsmooth.runs.certify import Progress, certify_run
from dsmooth.runs.replay import Replay, classifier_like
from dsmooth.runs.together import Left, promised_together
from dsmooth.runs.verify import Check
from dsmooth.smoothing.pipeline import denoiser_digest
from dsmooth.smoothing.smoothed import SmoothedClassifier
from dsmooth.theory.bounds import check_count
from dsmooth.theory.votes import selected

__all__ = ["certify_changed_run", "changed_check"]

_NOT_EVIDENCE: Final = ("lock", "attack", "report", "looks")


def certify_changed_run(
    source: Path | str,
    images: ImageSet,
    former: Classifier,
    changed: Classifier,
    denoiser: Denoise | None,
    out: Path | str,
    *,
    pairs: int = 200,
    workers: int | None = None,
    seed: int | None = None,
    resume: bool = False,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    on_notice: Callable[[str], None] = lambda notice: None,
) -> ChangedRun:
    """`out` holds a copy of the run `source` of the former classifier, and so many pairs of votes of each of its images.

    Both are asked about the same fresh noise, whose key is drawn now; `changed` may be made in any way from that run. Images
    that no such pairs could certify get none. Precision, backend and batch are those of the run, because its votes are of
    the former classifier as it ran then. Raises BadRun where the run allows no such thing, or is of other networks or
    images.
    """
    source, out, pairs = Path(source), Path(out), check_count(pairs, "pairs")
    run = read_run(source)
    if (why := why_not_paired(run)) is not None:
        raise BadRun(f"{source}: {why}")
    _check_place(run, out, resume)
    question, first = run.question, run.records[0]
    former, changed = (classifier_like(first, each) for each in (former, changed))
    given = {
        "classifier": (former.digest(), "give it as -c"),
        "denoiser": (denoiser_digest(denoiser), "give it as -d"),
        "preparation": (former.traits.preparation, "images were handed to it in another way"),
    }
    for what, (here, told) in given.items():
        if getattr(question, what) != here:
            raise BadRun(f"{source} was certified with another {what}: {told}")
    names = promising(run, pairs)
    if not names:
        raise BadRun(
            f"{source}: {pairs:,} pairs could certify none of its images, even if all agreed: more --pairs, or certify anew"
        )
    smoothed = SmoothedClassifier(
        PairedClassifier(former, changed),
        denoiser,
        law=question.law,
        dtype=question.dtype,
        backend=question.backend,
        batch=question.batch_size,
        workers=workers,
        certifier=paired(run),
    )
    with smoothed:
        smoothed.adopt(question)
        certify_run(
            smoothed,
            _chosen(run, images, names),
            out / PAIRS,
            n0=1,  # a question has a selection vote; here it selects nothing
            n=pairs,
            alpha=question.alpha,
            norm=question.norm,
            seed=seed,
            fix="images",
            thumbnails=False,
            resume=resume and holds_run(out / PAIRS),
            on_progress=on_progress,
            on_notice=on_notice,
        )
    if not holds_run(out / BEFORE):
        _copy(run, out / BEFORE)
    return read_changed(out)


def changed_check(run: ChangedRun, before: Mapping[str, Replay], pairs: Mapping[str, Replay]) -> Check:
    """What both runs' votes promise together, when all that may be wrong with them is charged against it.

    before, pairs: the replays of their images, by name; nothing is charged where votes were not asked for again.
    """
    claimed = run.certificates()
    claims = sum(not certificate.abstained for certificate in claimed)
    told = (
        f"{claims} certificates of {len(claimed)} images follow from the former votes and {run.asked:,} pairs an image"
    )
    drawn = [(record, before.get(record.name)) for record in run.before.records]
    drawn += [(record, pairs.get(record.name)) for record in run.pairs.records]

    def lefts() -> list[Left]:
        doubtful = {
            name: (replay.doubtful, pairs[name].doubtful if name in pairs else 0) for name, replay in before.items()
        }
        return [
            Left(
                record.name,
                certificate,
                left
                if selected(before[record.name].selection) == selected(votes_from_json(record.selection))
                else None,
            )
            for record, certificate, left in zip(run.records, claimed, run.certificates(doubtful), strict=True)
        ]

    return promised_together("changed", told, drawn, lefts, runs=2)


def _check_place(run: Run, out: Path, resume: bool) -> None:
    """Raises BadRun where the pairs of this run cannot be written to, or continued in, `out`."""
    if out.resolve().is_relative_to(run.folder.resolve()):
        raise BadRun(f"{out} is within the run {run.folder}: choose a folder outside of it for --out")
    if not (out / PAIRS).is_dir():
        check_free(out, resume=False)
    elif not resume:
        raise BadRun(f"{out} already holds pairs of votes: pass --resume to continue them, or choose another --out")


def _chosen(run: Run, images: ImageSet, names: Collection[str]) -> ImageSet:
    """The images of these names; raises BadRun unless they are those of the run, labels included."""
    chosen = images.named(names)
    held = {record.name: record for record in run.records}
    if missing := sorted(set(names) - set(chosen.names)):
        raise BadRun(f"{missing[0]} is not among the images: give those that were certified")
    for image in chosen:
        if digest_image(image.pixels) != held[image.name].image or image.label != held[image.name].label:
            raise BadRun(f"{image.name} has other pixels, or another label, than in the run {run.folder}")
    return chosen


def _copy(run: Run, place: Path) -> None:
    """The run lies in `place` too, but for what no certificate rests on."""
    part = place.with_name(f".{place.name}")
    try:
        shutil.rmtree(part, ignore_errors=True)
        shutil.copytree(run.folder, part, symlinks=True, ignore=shutil.ignore_patterns(*_NOT_EVIDENCE))
        part.rename(place)
    except OSError as error:
        raise BadRun(f"{place}: the run {run.folder} cannot be copied there ({error})") from error
