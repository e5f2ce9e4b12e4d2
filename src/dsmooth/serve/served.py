"""A smoothed classifier behind a name: loaded, probed and warmed once, and what may be asked of it."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from dsmooth.errors import BadParameter
from dsmooth.images.pixels import Pixels
from dsmooth.records.digests import digest_json
from dsmooth.records.question import PREDICTION, Question, Role
from dsmooth.serve.admission import Queue
from dsmooth.serve.refusals import Refused
from dsmooth.smoothing.chunks import MasterKey
from dsmooth.smoothing.smoothed import SmoothedClassifier
from dsmooth.smoothing.sources.known import source_of
from dsmooth.theory.laws.base import EnumeratedLaw
from dsmooth.theory.modes import FIXED, Mode
from dsmooth.theory.votes import Label

__all__ = ["Limits", "Served"]

_CHOSEN: Final = ("n0", "n", "alpha", "mode", "radius", "radii")
_TERMS: Final = (*_CHOSEN, "norm")
_MOST_RADII: Final = 32
_CHANNELS: Final = 3
_JOB_SECONDS: Final = 3600.0
_PAID_RATE: Final = 10.0  # samples a second that are expected of a billed service before any was asked


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What clients may ask for, and how many may wait."""

    most_votes: int = 10_000
    """n0 + n of one request; a job may have 100 times as many."""
    most_alpha: float = 0.05
    deadline: float = 60.0
    """Seconds within which a request is answered or refused."""
    most_requests: int = 256
    """Most requests waiting at a time."""
    most_jobs: int = 16
    """Most unfinished jobs."""


class Served:
    """A smoothed classifier, warm, under a name.

    terms: n0, n, alpha, norm and mode of a question that names none; where the mode bounds the rival too, so do those that
    clients name. Images have one size: `size` (pixels a side), by default the one that the classifier was trained for.
    Raises BadParameter where neither is known.
    """

    def __init__(
        self,
        name: str,
        smoothed: SmoothedClassifier,
        *,
        terms: Mapping[str, Any],
        limits: Limits,
        size: int | None = None,
    ) -> None:
        side = size or smoothed.classifier.input_size
        if not side:
            raise BadParameter(f"{smoothed.classifier.name} takes images of any size: set one with --size")
        self.name, self.smoothed, self.terms, self.limits = name, smoothed, dict(terms), limits
        self.size, self.shape = side, (side, side, _CHANNELS)
        smoothed.question(**self.terms)  # complains of bad numbers before anything is warmed
        smoothed.settle(self.shape)
        rate, usual = self._warm(), self.usual
        self.queue = Queue(most_requests=limits.most_requests, deadline=limits.deadline, rate=rate, usual=usual)
        self.jobs = Queue(most_requests=limits.most_jobs, deadline=_JOB_SECONDS, rate=rate, usual=usual)

    def _warm(self) -> float:
        """The noise has passed its self-test and the networks have answered; samples a second, roughly."""
        question = self.smoothed.question(**self.terms)
        source_of(self.smoothed.law).self_test(MasterKey.draw().noise(question, "self-test"), self.shape)
        if self.smoothed.classifier.traits.billed:
            return _PAID_RATE
        self._ask_about_grey()
        started = time.monotonic()
        return self._ask_about_grey() / max(1e-6, time.monotonic() - started)

    def _ask_about_grey(self) -> int:
        """A grey image was asked about, with as many samples as keep every worker busy; how many those were."""
        samples = 2 * self.smoothed.sizes.rows(self.shape) * self.smoothed.session.workers
        grey: Pixels = np.full(self.shape, 128, np.uint8)
        asked = self.smoothed.question(n=samples, alpha=0.05, bound=PREDICTION)
        return self.smoothed.submit(grey, question=asked).result().drawn

    @property
    def classes(self) -> int | None:
        """How many classes there are, where they have names."""
        names = self.smoothed.classifier.class_names
        return None if names is None else len(names)

    def class_name(self, answer: Label | None) -> str | None:
        """The name of the class with this index; None where it has none."""
        names = self.smoothed.classifier.class_names
        if names is None or not isinstance(answer, int) or not 0 <= answer < len(names):
            return None
        return str(names[answer])

    def named(self, answer: Label | None) -> str | None:
        """What people call this answer, its index where it has no name; None for an abstention."""
        return None if answer is None else self.class_name(answer) or str(answer)

    @property
    def usual(self) -> int:
        """Samples of a question that names no terms, at most."""
        question = self.smoothed.question(**self.terms)
        return question.n0 + question.n

    @property
    def exact(self) -> bool:
        """Whether the noise has so few outcomes that all are asked for: then neither votes nor mode are anybody's choice."""
        return isinstance(self.smoothed.law, EnumeratedLaw)

    @property
    def version(self) -> str:
        """What clients may compare to see whether they still speak with the same function: of its digest, 12 digits."""
        asked = self.smoothed.question(**self.terms).to_json(Role.SUBJECT)
        return digest_json(asked)[:12]

    @property
    def service(self) -> dict[str, Any] | None:
        """What a record says of a classifier that is a service."""
        classifier = self.smoothed.classifier
        return {**classifier.description, "version": classifier.version} if classifier.traits.logged else None

    @property
    def ready(self) -> bool:
        """Whether it answers, as far as is known: canaries are answered as at the start, and no service failed lately."""
        return self.smoothed.session.failed is None and self.smoothed.classifier.available

    def dollars(self, samples: int) -> float:
        """What so many samples cost at the list price of a service, retries aside; 0 where the price is not known."""
        classifier = self.smoothed.classifier
        return samples * (classifier.limits.price or 0.0) / 1000 if classifier.traits.billed else 0.0

    def question(self, asked: Mapping[str, object], *, job: bool = False) -> Question:
        """The question with these terms, and the operator's where none are named; raises Refused for what is not offered."""
        self._check_names(asked, _TERMS)
        terms = {**self.terms, **{name: _number(asked, name) for name in ("n0", "n", "alpha", "norm") if name in asked}}
        if "mode" in asked or "radius" in asked or "radii" in asked:
            terms["mode"] = _mode(asked, rivals=self.terms.get("mode", FIXED).rivals)
        try:
            question = self.smoothed.question(**terms)
        except BadParameter as error:
            raise Refused("bad_request", str(error)) from error
        return self._within(question, job)

    def prediction(self, asked: Mapping[str, object]) -> Question:
        """The question for the most probable answer alone."""
        self._check_names(asked, ("n", "alpha"))
        terms: dict[str, Any] = {name: self.terms[name] for name in ("n", "alpha") if name in self.terms}
        terms.update({name: _number(asked, name) for name in asked})
        try:
            question = self.smoothed.question(**terms, bound=PREDICTION)
        except BadParameter as error:
            raise Refused("bad_request", str(error)) from error
        return self._within(question, False)

    def seconds(self, asked: object) -> float:
        """The deadline that a client asks for; raises Refused for one that is none, or beyond the operator's."""
        seconds = float(_number({"deadline": asked}, "deadline"))
        if not 0.0 < seconds <= self.limits.deadline:
            raise Refused(
                "bad_request", f"deadline must be above 0 and at most {self.limits.deadline:g} s, got {seconds:g}"
            )
        return seconds

    def _check_names(self, asked: Mapping[str, object], known: tuple[str, ...]) -> None:
        if "seed" in asked:
            raise Refused(
                "bad_request", "a seed is not accepted: the noise comes from a new random key that nobody could choose"
            )
        if unknown := sorted(set(asked) - set(known)):
            raise Refused("bad_request", f"expected parameters among {', '.join(known)}, got {unknown[0][:40]!r}")
        if self.exact and (chosen := sorted(set(asked) & set(_CHOSEN))):
            raise Refused(
                "bad_request",
                f"all outcomes of {self.smoothed.law} are asked for, without chance: leave {chosen[0]} out",
            )

    def _within(self, question: Question, job: bool) -> Question:
        most = self.limits.most_votes * (100 if job else 1)
        if question.n0 + question.n > most:
            raise Refused(
                "bad_request",
                f"expected at most {most:,} votes (n0 + n), got {question.n0 + question.n:,}: request fewer",
            )
        if question.alpha > self.limits.most_alpha:
            raise Refused("bad_request", f"alpha must be at most {self.limits.most_alpha:g}, got {question.alpha:g}")
        return question

    def close(self) -> None:
        """Nothing is asked any more."""
        self.smoothed.close()
        self.smoothed.classifier.close()


def _number(asked: Mapping[str, object], name: str) -> int | float:
    """The parameter as a number, whole where it must be."""
    value = asked[name]
    try:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ValueError
        if name in ("n0", "n"):
            whole = int(value)
            if isinstance(value, float) and whole != value:
                raise ValueError
            return whole
        number = float(value)
    except (OverflowError, ValueError):
        kind = "a whole number" if name in ("n0", "n") else "a number"
        raise Refused("bad_request", f"{name} must be {kind}, got {str(value)[:40]!r}") from None
    if math.isnan(number):
        raise Refused("bad_request", f"{name} must be a number, got nan")
    return number


def _mode(asked: Mapping[str, object], *, rivals: bool) -> Mode:
    name = str(asked.get("mode", "curve" if "radii" in asked else "decision"))
    radii: tuple[float, ...] = ()
    if "radius" in asked and "radii" in asked:
        raise Refused("bad_request", "radius is for mode decision and radii for mode curve: pass one of them")
    if "radius" in asked:
        radii = (float(_number(asked, "radius")),)
    elif "radii" in asked:
        parts = str(asked["radii"]).split(",")
        if len(parts) > _MOST_RADII:
            raise Refused("bad_request", f"expected at most {_MOST_RADII} radii, got {len(parts)}")
        radii = tuple(float(_number({"radii": part.strip()}, "radii")) for part in parts)
    try:
        return Mode(name[:40], radii, rivals=rivals and bool(radii))
    except BadParameter as error:
        raise Refused("bad_request", str(error)) from error
