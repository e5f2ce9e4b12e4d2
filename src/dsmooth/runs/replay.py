"""Recompute recorded votes with the same noise, networks and batch shape, and judge the result."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from dsmooth.classifiers.base import MIRRORED, Classifier
from dsmooth.classifiers.specs import load_classifier
from dsmooth.denoisers.base import Denoise
from dsmooth.errors import BadParameter, MissingPackage
from dsmooth.images.sets import ImageSet, LabelledImage
from dsmooth.records.digests import digest_image
from dsmooth.records.schema import Record
from dsmooth.runs.agreement import CONFIDENCE, FALSE_ALARM, missed, most_wrong, tolerated
from dsmooth.runs.covers import chosen_cover
from dsmooth.runs.identity import same_networks
from dsmooth.runs.recount import Recount, charged, charged_at_centres
from dsmooth.runs.verify import Check, Evidence, Outcome, image_of, recounted
from dsmooth.runs.weaker import Weaker, less_of, weakest
from dsmooth.smoothing.chunks import stream_at
from dsmooth.smoothing.smoothed import SmoothedClassifier
from dsmooth.theory.certifiers import Certificate
from dsmooth.theory.covers import CoverVotes
from dsmooth.theory.laws.base import EnumeratedLaw
from dsmooth.theory.threats.covering import Cover
from dsmooth.theory.votes import Label, Phase, Votes, counted, selected

__all__ = ["Replay", "classifier_like", "replay_votes", "replayed", "smoothed_like", "votes_in"]

_LEAST = 100
"""Estimation votes of an image that are asked for again at least: fewer show too little."""
_INVENTED = (0.1, 0.3)
"""Parts of the votes whose invention is spoken of."""
_MOST_AREA = 1 << 24
"""Height x width x rows of a batch that is asked for again, at most: 334 photographs of 224 pixels."""
_UNBELIEVED = "without a witness the key, and with it W, may have been chosen: only what holds without W is verified"


@dataclass(frozen=True)
class Replay:
    """A replay of some of the votes of one image."""

    asked: int
    different: int
    chance: bool
    """The classifier answers the same rows differently."""
    certificate: Certificate
    """What is left of the claim when all votes that may be wrong are charged against it."""
    selection: Votes
    """The recomputed selection votes."""
    selected: bool
    """Whether they choose the same label, and the same cover where there is one."""
    doubtful: int
    """How many of all estimation votes may be wrong, with confidence 1 - CONFIDENCE."""


def classifier_like(record: Record, classifier: Classifier) -> Classifier:
    """The classifier asked about mirror images too, where the record says that it was."""
    return classifier.mirrored() if record.asked.preparation == MIRRORED else classifier


def smoothed_like(
    record: Record, classifier: Classifier | str, denoiser: Denoise | str | None, *, workers: int | None = 1
) -> SmoothedClassifier:
    """The smoothed classifier that this record's votes are of, as far as that can be had here: else in plain torch."""
    question, (height, width, _) = record.asked, record.shape
    loaded = classifier_like(record, load_classifier(classifier) if isinstance(classifier, str) else classifier)
    # a record may say any batch, and memory is taken for all of it
    rows = min(record.batch[0], max(1, _MOST_AREA // (height * width)))

    def made(backend: str, dtype: str) -> SmoothedClassifier:
        return SmoothedClassifier(
            loaded, denoiser, law=record.law, dtype=dtype, backend=backend, batch=rows, workers=workers
        )

    try:
        return made(question.backend, question.dtype)
    except (BadParameter, MissingPackage):  # another machine's backend
        return made("eager", "bf16" if question.dtype == "bf16" else "fp32")


def votes_in(record: Record, share: float) -> int:
    """How many votes a replay recomputes: all selection votes, and this share of the estimation votes."""
    return int(record.selection["trials"]) + _part(record, record.estimation["trials"], share)


def replay_votes(
    smoothed: SmoothedClassifier,
    record: Record,
    found: Recount,
    labels: Sequence[Label | None],
    image: LabelledImage,
    share: float,
    *,
    witnessed: bool,
    on_votes: Callable[[int], None] = lambda count: None,
) -> Replay:
    """The selection votes and a random `share` of the estimation votes (1: all), asked again, beside those recorded.

    Which ones is decided here and now, by nobody who made the record. `witnessed`: nobody chose the key. Who did could
    have chosen W of a randomised bound too, without asking the networks anything: then it counts as 1.
    """
    if isinstance(found.estimation, CoverVotes):
        return _replay_cover(smoothed, record, found, found.estimation, labels, image, on_votes)
    first, later = found.selection.trials, found.last.trials
    chosen = np.random.default_rng().choice(later, _part(record, later, share), replace=False).tolist()
    samples = [(Phase.SELECTION, i) for i in range(first)] + [(Phase.ESTIMATION, i) for i in sorted(chosen)]
    expected = [*labels[:first], *(labels[first + i] for i in sorted(chosen))]
    streams = {phase: bytes.fromhex(record.key[phase.value]) for phase in record.asked.demand}
    chance: list[bool] = []
    answers = []
    for label in smoothed.replay(image, streams, samples, on_chance=chance.append):
        answers.append(label)
        on_votes(1)
    label = found.certificate.answer
    wrong = [answer != told for answer, told in zip(answers, expected, strict=True)]
    held = 0 if label is None else found.last.of(label)
    lost, moved = (
        most_wrong(sum(wrong[place] for place in places), len(places), of, CONFIDENCE / 2)
        for places, of in (
            ([place for place in range(first, len(expected)) if expected[place] == label], held),
            ([place for place in range(first, len(expected)) if expected[place] != label], later - held),
        )
    )
    selection = counted(answers[:first])
    own = selected(selection) if first else label
    return Replay(
        asked=len(answers),
        different=sum(wrong),
        chance=any(chance),
        certificate=charged(record.question, found, lost, image.pixels.size, moved, weight=None if witnessed else 1.0),
        selection=selection,
        selected=own == label,
        doubtful=lost + moved,
    )


def _replay_cover(
    smoothed: SmoothedClassifier,
    record: Record,
    found: Recount,
    votes: CoverVotes,
    labels: Sequence[Label | None],
    image: LabelledImage,
    on_votes: Callable[[int], None],
) -> Replay:
    """All votes at the image and at the centres made again: each centre stops as soon as it holds, and has none to spare."""
    first, label = found.selection.trials, found.certificate.answer
    streams = {Phase.SELECTION: bytes.fromhex(record.key[Phase.SELECTION.value])}
    chance: list[bool] = []
    own = list(smoothed.replay(image, streams, [(Phase.SELECTION, i) for i in range(first)], chance.append))
    on_votes(first)
    asked, different = first, sum(a != b for a, b in zip(own, labels[:first], strict=True))
    wrong: list[int] = []
    many = [part.last.trials for part in votes.parts]
    for answers in _answers_at_centres(smoothed, record, found.cover, many) if found.cover is not None else ():
        expected = labels[asked : asked + len(answers)]
        others = [told == label for answer, told in zip(answers, expected, strict=True) if answer != told]
        wrong.append(sum(others))
        asked, different = asked + len(answers), different + len(others)
        on_votes(len(answers))
    return Replay(
        asked=asked,
        different=different,
        chance=any(chance),
        certificate=charged_at_centres(record.question, found, wrong, image.pixels.size),
        selection=counted(own),
        selected=selected(counted(own)) == label and _rho(chosen_cover(record, image, counted(own))) == votes.rho,
        doubtful=sum(wrong),
    )


def _answers_at_centres(
    smoothed: SmoothedClassifier, record: Record, cover: Cover, votes: Sequence[int]
) -> Iterator[list[Label | None]]:
    """For each of the first centres: the answers to so many samples of its noise, asked again."""
    stream = bytes.fromhex(record.key[Phase.ESTIMATION.value])
    for pixels, trials in zip(cover.centres, votes, strict=False):
        streams = {Phase.ESTIMATION: stream_at(stream, digest_image(pixels))}
        samples = [(Phase.ESTIMATION, i) for i in range(trials)]
        yield list(smoothed.replay(LabelledImage(record.name, pixels), streams, samples))


def _rho(cover: Cover | None) -> float:
    return 0.0 if cover is None else cover.rho


def replayed(
    evidence: Evidence,
    images: ImageSet | None,
    classifier: Classifier,
    denoiser: Denoise | None,
    share: float,
    *,
    witnessed: bool = False,
    on_votes: Callable[[int], None] = lambda count: None,
    on_replay: Callable[[Record, Replay], None] = lambda record, replay: None,
) -> Iterator[Check]:
    """Whether these are the networks, and a replay of a random share of the votes of each image.

    `witnessed`: it is known that nobody chose the key. `on_replay` gets the replay of each image whose votes match the
    networks' up to rounding.
    """
    yield from same_networks(evidence, classifier, denoiser)
    if images is None:
        yield Check("replay", Outcome.OPEN, "recomputing votes needs the images", "--images")
    elif classifier.traits.billed:
        yield Check("replay", Outcome.OPEN, "votes of a service are not recomputed", "--again, within a budget")
    else:
        if not witnessed and _is_randomised(evidence):
            yield Check("weight", Outcome.TOLD, _UNBELIEVED)
        yield _judged(evidence, images, classifier, denoiser, share, witnessed, on_votes, on_replay)


def _judged(
    evidence: Evidence,
    images: ImageSet,
    classifier: Classifier,
    denoiser: Denoise | None,
    share: float,
    witnessed: bool,
    on_votes: Callable[[int], None],
    on_replay: Callable[[Record, Replay], None],
) -> Check:
    made: dict[tuple[object, ...], SmoothedClassifier] = {}
    asked = different = claims = kept = 0
    weaker: list[Weaker] = []
    samples: list[tuple[int, int, int]] = []
    elsewhere = ""
    for record in evidence.records:
        image = image_of(images, record, alone=evidence.run is None)
        found = "it is not among the images" if image is None else recounted(evidence, record, image)
        if image is None or isinstance(found, str):
            return Check("replay", Outcome.OPEN, f"{record.name}: its votes cannot be recomputed")
        if record.cover is not None and record.cover["centres"] and found.cover is None:
            return Check("replay", Outcome.OPEN, f"{image.name}: its centres cannot be recomputed here")
        circumstances = (record.law, record.asked.backend, record.asked.dtype, record.batch[0])
        if circumstances not in made:
            for old in made.values():
                old.close()
            made = {circumstances: smoothed_like(record, classifier, denoiser)}
            elsewhere = _elsewhere(record, made[circumstances]) or elsewhere
        labels = evidence.labels(record)
        replay = replay_votes(
            made[circumstances], record, found, labels, image, share, witnessed=witnessed, on_votes=on_votes
        )
        if replay.chance != record.nondeterministic:
            return Check(
                "replay", Outcome.FAILS, f"{image.name}: it states wrongly whether the classifier is deterministic"
            )
        if replay.chance:
            return Check("replay", Outcome.OPEN, "the classifier is not deterministic", "--again")
        asked, different = asked + replay.asked, different + replay.different
        limit = tolerated(replay.asked, record.asked.dtype, FALSE_ALARM / max(1, evidence.count))
        # whoever invents votes does it in the estimation: of the selection all are asked for again
        samples.append((replay.asked - found.selection.trials, limit, found.last.trials))
        if replay.different > limit:
            return Check(
                "replay",
                Outcome.FAILS,
                f"{image.name}: {replay.different} of {replay.asked} votes differ from those of the networks; rounding "
                f"explains at most {limit}",
            )
        on_replay(record, replay)
        if found.certificate.answer is not None:
            claims += 1
            strict = record.question.mode.name == "radius" and replay.different > 0
            if replay.selected and not strict and not replay.certificate.abstained:
                kept += 1
                if replay.certificate.radius < found.certificate.radius:
                    weaker.append(Weaker(image.name, found.certificate.radius, replay.certificate))
    for smoothed in made.values():
        smoothed.close()
    if different > tolerated(asked, _dtype(evidence)):
        return Check("replay", Outcome.FAILS, f"{different} of {asked:,} votes differ: more than rounding explains")
    needed = "a larger --share, or --all"
    if not witnessed and _is_randomised(evidence):
        needed = f"{needed}; a witnessed key, with --timestamp-roots"
    return _told(asked, different, claims, kept, weaker, samples, elsewhere, needed)


def _elsewhere(record: Record, smoothed: SmoothedClassifier) -> str:
    """A remark where votes are recomputed under other circumstances than the record states, which cannot be checked."""
    here, asked = smoothed.pipeline.backend, record.asked
    if (here.name, here.dtype, smoothed.batch) == (asked.backend, asked.dtype, record.batch[0]):
        return ""
    told = f"{asked.backend!r:.40} in {asked.dtype}, {record.batch[0]} rows at once"
    return f", recomputed by {here.name} in {here.dtype}, {smoothed.batch} rows at once, where the file states {told}"


def _told(
    asked: int,
    different: int,
    claims: int,
    kept: int,
    weaker: Sequence[Weaker],
    samples: Sequence[tuple[int, int, int]],
    elsewhere: str,
    needed: str,
) -> Check:
    same = f"{asked - different:,} of {asked:,} votes are the same{elsewhere}"
    told = (
        f"{part:.0%} with probability {max((missed(n, limit, part, of) for n, limit, of in samples), default=1.0):.2g}"
        for part in _INVENTED
    )
    certain = all(n == of for n, _, of in samples)
    if certain:
        detail = f"{same}, which is all votes"
    else:
        detail = f"{same}; made-up shares of an image's estimation votes would have been missed: {', '.join(told)}"
    if kept < claims:
        lost = f"{detail}; {claims - kept} of {claims} claims fail if votes that may be wrong are charged against them"
        return Check("replay", Outcome.OPEN, lost, needed)
    added = "" if certain or not weaker else f"; with {CONFIDENCE:g} added to alpha"
    return Check("replay", Outcome.HOLDS, f"{detail}{weakest(weaker)}{added}", less=less_of(len(weaker), claims))


def _part(record: Record, trials: int, share: float) -> int:
    """How many of the estimation votes are recomputed."""
    if isinstance(record.law, EnumeratedLaw) or record.cover is not None:
        return trials
    return min(trials, max(_LEAST, round(share * trials)))


def _is_randomised(evidence: Evidence) -> bool:
    first = evidence.first
    return first is not None and first.question.plan.randomised


def _dtype(evidence: Evidence) -> str:
    first = evidence.first
    return "fp32" if first is None else first.asked.dtype
