"""Certify again what somebody else certified, with a new key, so that nothing depends on what the file states."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from dsmooth.errors import BadParameter
from dsmooth.images.sets import ImageSet
from dsmooth.records.schema import Record, votes_from_json
from dsmooth.runs.agreement import FALSE_ALARM
from dsmooth.runs.verify import Evidence, image_of
from dsmooth.runs.weaker import Weaker
from dsmooth.smoothing.chunks import MasterKey
from dsmooth.smoothing.smoothed import SmoothedClassifier
from dsmooth.theory.certifiers import Certificate
from dsmooth.theory.votes import Votes

__all__ = ["Anew", "certified_anew", "chance_of_as_many"]


@dataclass(frozen=True)
class Anew:
    """One image certified by the verifier, beside what the file claims of it."""

    name: str
    """Of the verifier's image."""
    record: Record
    certificate: Certificate
    """By the verifier's own votes."""
    chance: float
    """At most the probability that votes of the same networks differ so much in the file's favour."""

    @property
    def plausible(self) -> bool:
        """Whether the file's votes can be of the same classifier."""
        return self.chance > FALSE_ALARM

    @property
    def confirms(self) -> bool:
        """Whether the verifier's own certificate has the label that the file claims, where it claims one."""
        return self.record.answer is None or self.certificate.answer == self.record.answer

    @property
    def weaker(self) -> Weaker | None:
        """What is left of a claim that it confirms, where its radius is a smaller one."""
        claimed = float(self.record.radius)
        confirmed = self.record.answer is not None and self.confirms
        return Weaker(self.name, claimed, self.certificate) if confirmed and self.certificate.radius < claimed else None


def certified_anew(
    evidence: Evidence,
    images: ImageSet,
    smoothed: Callable[[Record], SmoothedClassifier],
    *,
    on_votes: Callable[[int], None] = lambda count: None,
) -> Iterator[Anew]:
    """The verifier's own certificate of each image, in answer to the question that the file says was asked.

    `smoothed` makes the classifier for the law of a record; it is kept as long as the law is the same.
    """
    key, held, law = MasterKey.draw(), None, None
    for record in evidence.records:
        image = image_of(images, record, alone=evidence.run is None)
        if image is None:
            raise BadParameter(f"{record.name} is not among the images: pass the images that were certified")
        if held is None or law != record.law:
            held, law = smoothed(record), record.law
            held.settle(image.pixels.shape)
        asked = record.question
        terms = {"n0": asked.n0, "n": asked.n, "alpha": asked.alpha, "norm": asked.norm, "mode": asked.mode}
        question = held.question(**terms, bound=asked.bound)
        (tally,) = held.tallies([image], question, key, on_votes=lambda tally, chunk, labels: on_votes(len(labels)))
        certificate = tally.certificate(question)
        told, own = votes_from_json(record.estimation), certificate.estimation
        if record.cover is not None:  # another selection may have chosen other centres; the image itself is the same
            told, own = votes_from_json(record.selection), certificate.selection
        yield Anew(image.name, record, certificate, chance_of_as_many(record, told, own))


def chance_of_as_many(record: Record, told: Votes, own: Votes) -> float:
    """The probability that as many of the told votes, or more, are for the claimed label, if both are of one classifier.

    Fisher's exact test, one-sided; 1 where there is no claim.
    """
    if record.answer is None or not own.trials:
        return 1.0
    from scipy import stats  # half a second, needed only here

    hits, mine = told.of(record.answer), own.of(record.answer)
    return float(stats.hypergeom.sf(hits - 1, told.trials + own.trials, hits + mine, told.trials))
