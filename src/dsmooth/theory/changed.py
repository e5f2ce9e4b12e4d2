"""What a changed classifier is certified to do, by the former one's votes and a few pairs of votes of both."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

from dsmooth.errors import BadParameter
from dsmooth.theory.bounds import check_level, clopper_pearson_upper
from dsmooth.theory.certifiers import Certificate, Certifier, conclude, settled
from dsmooth.theory.laws.base import Law
from dsmooth.theory.votes import Label, Votes, check_label, selected

__all__ = ["Paired", "certify_changed", "is_promising", "pair_of", "paired_label", "paired_named", "votes_of_changed"]

_NAME: Final = re.compile(r"paired-([0-9a-f]{64})")
_SHARE: Final = 0.5
"""Of alpha, for the former classifier's votes; the rest is for the pairs."""


@dataclass(frozen=True, slots=True)
class Paired(Certifier):
    """What pairs of votes are drawn for: its name says beside which earlier run. Alone they certify nothing.

    earlier: digest of that run: its question, images, keys and counts.
    """

    earlier: str

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise BadParameter(f"expected the digest of a run as 64 hexadecimal digits, got {self.earlier!r:.80}")

    @property
    def name(self) -> str:
        """As it stands in questions: paired-, and the digest."""
        return f"paired-{self.earlier}"

    def _bounds(
        self, label: Label, selection: Votes, estimation: Votes, law: Law, *, alpha: float, weight: float
    ) -> tuple[float, float]:
        """Those of an abstention, whatever the votes are."""
        return 1.0, 1.0


def paired_named(bound: str) -> Paired | None:
    """What a bound of this name belongs to; None for every other name."""
    named = _NAME.fullmatch(bound)
    return None if named is None else Paired(named[1])


def paired_label(former: Label | None, changed: Label | None) -> str | None:
    """Both answers to one sample as one label; None where there is neither."""
    if former is None and changed is None:
        return None
    return json.dumps([former, changed], separators=(",", ":"), ensure_ascii=False)


def pair_of(label: Label) -> tuple[Label | None, Label | None]:
    """The answers that `paired_label` made a label of; raises BadParameter for any other label."""
    try:
        given: Any = json.loads(label) if isinstance(label, str) else None
        former, changed = (None if answer is None else check_label(answer) for answer in given)
    except (TypeError, ValueError, RecursionError) as error:
        raise BadParameter(f"expected a pair of answers, got {label!r:.80}") from error
    if paired_label(former, changed) != label:
        raise BadParameter(f"expected a pair of answers in its one spelling, got {label!r:.80}")
    return former, changed


def votes_of_changed(pairs: Votes) -> Votes:
    """The changed classifier's own votes among the pairs."""
    counts: Counter[Label] = Counter()
    for label, count in pairs.counts.items():
        _, changed = pair_of(label)
        if changed is not None:
            counts[changed] += count
    return Votes(counts, pairs.trials)


def certify_changed(
    selection: Votes,
    estimation: Votes,
    pairs: Votes,
    law: Law,
    *,
    alpha: float,
    norm: float | None = None,
    dim: int,
    doubtful: tuple[int, int] = (0, 0),
) -> Certificate:
    """The changed classifier's certificate. selection, estimation: the former one's votes, their number fixed in advance.

    pairs: answers of both to the same samples of noise, drawn when everything else was fixed, by `paired_label`.
    doubtful: how many votes of the estimation, and how many pairs, may be wrong; they are charged against the claim.

    Source: a union of two Clopper-Pearson bounds, as in Ugare et al. 2024 (arXiv 2305.19521); docs/theory.md, claim 30.
    """
    alpha, answer, tail = check_level(alpha), settled(selection, estimation), 1.0
    if answer is not None and pairs.trials:
        misses = (estimation.trials - estimation.of(answer), _left(pairs, answer))
        levels = (_SHARE * alpha, (1.0 - _SHARE) * alpha)
        tail = min(
            1.0,
            sum(
                clopper_pearson_upper(min(count + more, votes.trials), votes.trials, level)
                for votes, count, more, level in zip((estimation, pairs), misses, doubtful, levels, strict=True)
            ),
        )
    return conclude(
        certifier="changed",
        answer=answer,
        tail=tail,
        rival=tail,
        selection=selection,
        estimation=votes_of_changed(pairs),
        law=law,
        alpha=alpha,
        norm=norm,
        dim=dim,
    )


def is_promising(selection: Votes, estimation: Votes, pairs: int, law: Law, *, alpha: float) -> bool:
    """Whether so many pairs would certify anything if all of them agreed."""
    answer = selected(selection)
    if answer is None:
        return False
    agreed = Votes({str(paired_label(answer, answer)): pairs}, pairs)
    return not certify_changed(selection, estimation, agreed, law, alpha=alpha, dim=1).abstained


def _left(pairs: Votes, answer: Label) -> int:
    """Pairs in which the former classifier gave this answer, or may have, and the changed one did not, or may not have."""
    harmless = 0
    for label, count in pairs.counts.items():
        former, changed = pair_of(label)
        harmless += count * (changed == answer or former not in (None, answer))
    return pairs.trials - harmless
