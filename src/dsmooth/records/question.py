"""Question: all settings that a certificate answers, in one frozen value.

Run parameters, records, the check on resuming, the count of attempts, the keys of all noise, the format of certificates and
the options of `dsmooth certify` are derived from the fields here; nothing else lists them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from enum import StrEnum
from typing import Any, Final, Self

from dsmooth.errors import BadParameter
from dsmooth.theory.bounds import check_count, check_level
from dsmooth.theory.laws.base import EnumeratedLaw, Law
from dsmooth.theory.laws.known import law_from_json
from dsmooth.theory.modes import FIXED, Demand, Mode, Plan
from dsmooth.theory.rules import certifier_named
from dsmooth.theory.top_k import top_k_named
from dsmooth.theory.votes import Phase, is_utf8

__all__ = ["DTYPES", "PREDICTION", "Question", "Role"]

PREDICTION: Final = "prediction"
"""The bound of a question for the most probable label, without a radius."""

DTYPES: Final = ("fp32", "bf16", "tf32")
"""Precisions in which networks run."""

_TEXTS: Final = ("classifier", "denoiser", "preparation", "bound", "dtype", "backend", "generator")
_KINDS: Final = {Law: "a noise distribution (Law)", Mode: "a Mode", str: "text"}


class Role(StrEnum):
    """What a field of a Question decides."""

    SUBJECT = "subject"
    """What is certified: other runs with the same subject, under other keys, are further attempts."""
    CLAIM = "claim"
    """What the certificate states, and at what cost."""
    CIRCUMSTANCE = "circumstance"
    """How it was computed: recorded, and kept when a run is resumed, but the noise does not depend on it."""


def asked(role: Role, help: str, **default: Any) -> Any:
    return field(metadata={"role": role, "help": help}, **default)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """The settings under which each image is certified.

    Subject and claim enter the key of every noise stream: changing one of them changes the noise, so nothing can be chosen
    after the votes are known. Circumstances do not: a batch that is halved for lack of memory keeps its noise. Raises
    BadParameter for values that are invalid, alone or together.
    """

    law: Law = asked(Role.SUBJECT, "The noise.")
    classifier: str = asked(Role.SUBJECT, "Digest of the classifier, or why there is none.")
    denoiser: str | None = asked(Role.SUBJECT, "Digest of the denoiser, or why there is none; null for no denoiser.")
    preparation: str = asked(Role.SUBJECT, "The preprocessing of a denoised image for the classifier.")
    n0: int = asked(Role.CLAIM, "Votes that choose the label.", default=100)
    n: int = asked(Role.CLAIM, "Votes that bound its probability; the maximum if the mode is not fixed.", default=1000)
    alpha: float = asked(
        Role.CLAIM, "Failure probability: an upper bound on the chance that a certificate is wrong.", default=0.001
    )
    norm: float = asked(
        Role.CLAIM,
        "Norm of the radius, from 1 to inf; by default the native one of the noise (2 for Gaussian, 1 for uniform).",
    )
    mode: Mode = asked(Role.CLAIM, "How the number of votes is decided.", default=FIXED)
    bound: str = asked(
        Role.CLAIM,
        "For modes fixed and radius. multiclass certifies more; cohen is what papers report; dsmooth report shows both. "
        "-randomised: a random number per image makes the bound exact, for larger radii, if the key can be trusted.",
        default="multiclass",
    )
    dtype: str = asked(Role.CIRCUMSTANCE, "Precision of the networks.")
    backend: str = asked(Role.CIRCUMSTANCE, "Runtime of the networks.")
    batch_size: int | None = asked(Role.CIRCUMSTANCE, "Rows per batch, if chosen.", default=None)
    batch_area: int = asked(Role.CIRCUMSTANCE, "Height x width x rows of a batch, if rows were not chosen.")
    generator: str = asked(Role.CIRCUMSTANCE, "The random generator.")

    def __post_init__(self) -> None:
        self._check_types()
        if isinstance(self.law, EnumeratedLaw):
            if self.mode.against is not None:
                raise BadParameter(f"a cover is measured in l2, under Gaussian noise, got noise {self.law.name}")
            if top_k_named(self.bound) is not None:
                raise BadParameter(
                    f"all outcomes of noise {self.law.name} say which label is the first, got {self.bound}"
                )
            self._set(n0=0, n=self.law.samples, alpha=0.0, mode=FIXED, bound="exact")
        elif self.bound == PREDICTION:
            self._set(n0=0, n=check_count(self.n, "n"), alpha=check_level(self.alpha), mode=FIXED)
        else:
            n0, n, alpha = check_count(self.n0, "n0"), check_count(self.n, "n"), check_level(self.alpha)
            mode = self.mode.settled(self.law, n)
            self._set(n0=n0, n=n, alpha=alpha, mode=mode, bound=certifier_named(self.bound).name)
            self.law.norm_or_own(self.norm)
            _ = self.plan
        self._set(norm=self.law.norm_or_own(self.norm))

    def _check_types(self) -> None:
        """Counts and levels are checked where they are used; here is what nothing else would notice."""
        for name, kind in (("law", Law), ("mode", Mode), *((name, str) for name in _TEXTS)):
            value = getattr(self, name)
            if not isinstance(value, kind) and not (name == "denoiser" and value is None):
                raise BadParameter(f"{name} must be {_KINDS[kind]}, got {type(value).__name__}")
            if isinstance(value, str) and not is_utf8(value):
                raise BadParameter(f"{name} must be text that UTF-8 can hold, got {value!r:.80}")
        if self.dtype not in DTYPES:
            raise BadParameter(f"dtype must be one of {', '.join(DTYPES)}, got {self.dtype[:40]!r}")
        if self.batch_size is not None:
            self._set(batch_size=check_count(self.batch_size, "batch_size"))
        self._set(batch_area=check_count(self.batch_area, "batch_area", most=10**12))

    def _set(self, **values: Any) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def plan(self) -> Plan:
        """The rule for how many estimation votes an image gets, and for the certificate that follows from them."""
        if self.bound == PREDICTION:
            raise BadParameter("a prediction has no certificate: certify the image")
        return self.mode.plan(self.bound, self.law, n=self.n, alpha=self.alpha, norm=self.norm)

    @property
    def rule(self) -> str:
        """The rule that a certificate rests on: the bound, or the mode that looks at votes on the way."""
        return self.plan.name

    @property
    def demand(self) -> dict[Phase, Demand]:
        """How many votes each phase takes, or what decides that."""
        if self.bound == PREDICTION:
            return {Phase.PREDICTION: self.n}
        if isinstance(self.law, EnumeratedLaw):
            return {Phase.ESTIMATION: self.law.samples}
        return {Phase.SELECTION: self.n0, Phase.ESTIMATION: self.plan.demand}

    @property
    def streams(self) -> tuple[Phase, ...]:
        """What has its own random stream: the phases of the votes, and W where the bound is randomised."""
        with_weight = self.bound != PREDICTION and self.plan.randomised
        return (*self.demand, *((Phase.BOUND,) if with_weight else ()))

    def check_evaluated(self, other: Question, *, service: bool = True) -> None:
        """Raises BadParameter unless answers to this question can be evaluated as answers to the other one.

        They can if only the number of votes (fewer), alpha or the bound differ; for a `service`, whose complete answers are
        logged, also the voting rule, which is part of its classifier.
        """
        free = {"n0", "n", "alpha", "bound", *(("classifier",) if service else ())}
        mine, others = self.to_json(), other.to_json()
        if strange := next((name for name in mine if name not in free and mine[name] != others[name]), None):
            raise BadParameter(f"expected the {strange} that the votes were drawn for, got another")
        if other.plan.randomised and not self.plan.randomised:
            raise BadParameter(f"the bound {other.bound} must be chosen before the votes: its W follows from the key")
        if other.n0 > self.n0 or other.n > self.n:
            raise BadParameter(f"expected at most {self.n0} and {self.n} votes, as drawn, got {other.n0} and {other.n}")

    def to_json(self, *roles: Role) -> dict[str, Any]:
        """The fields of these roles (all, where none is named) as JSON."""
        return {f.name: _spelled(getattr(self, f.name)) for f in self.having(*roles)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """The question again; raises BadParameter for anything that `to_json` does not write."""
        if not isinstance(value, Mapping) or value.keys() != {f.name for f in fields(cls)}:
            names = sorted(set(value) ^ {f.name for f in fields(cls)}) if isinstance(value, Mapping) else value
            raise BadParameter(f"expected the fields of a question, differing in {names}")
        question = cls(
            **{
                **value,
                "law": law_from_json(value["law"]),
                "mode": Mode.from_json(value["mode"]),
            }
        )
        if question.to_json() != value:
            raise BadParameter("expected a question in its normal form, got another")
        return question

    @classmethod
    def having(cls, *roles: Role) -> list[Field[Any]]:
        """The fields of these roles; all, where none is named."""
        return [f for f in fields(cls) if not roles or f.metadata["role"] in roles]


def _spelled(value: Any) -> Any:
    if isinstance(value, Law | Mode):
        return value.to_json()
    return "inf" if value == float("inf") else value
