"""Votes in, top-k certificate out: the answer stays among the k most probable labels."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from dsmooth.errors import BadParameter
from dsmooth.theory.bounds import check_count, clopper_pearson_upper
from dsmooth.theory.certifiers import Certifier
from dsmooth.theory.laws.base import Law
from dsmooth.theory.votes import Label, Votes

__all__ = ["TopK", "top_k_named"]

_NAME: Final = re.compile(r"top-([1-9][0-9]{0,6})-of-([1-9][0-9]{0,6})")


@dataclass(frozen=True, slots=True)
class TopK(Certifier):
    """The answer stays among the `top` most probable labels: fewer than `top` others are as probable.

    top: k, at most 1,000.
    classes: how many the classifier has, known before the votes, because alpha / classes is spent on the bound of each.

    Source: Jia et al. 2020 (arXiv 1912.09899), Theorem 1 and section 3.2; docs/theory.md, claim 27.
    """

    top: int = field()  # else the 1 of the base would be its default
    classes: int

    def __post_init__(self) -> None:
        top, classes = check_count(self.top, "top", most=1000), check_count(self.classes, "classes", most=9_999_999)
        if top >= classes:
            raise BadParameter(f"every one of {classes} labels is in the top {top}: choose a smaller top")
        object.__setattr__(self, "top", top)
        object.__setattr__(self, "classes", classes)

    @property
    def name(self) -> str:
        """As it stands in questions: top-5-of-1000."""
        return f"top-{self.top}-of-{self.classes}"

    def _bounds(
        self, label: Label, selection: Votes, estimation: Votes, law: Law, *, alpha: float, weight: float
    ) -> tuple[float, float]:
        """As of every certifier. Raises BadParameter for votes for more labels than there are classes."""
        if (seen := len({*selection.counts, *estimation.counts})) > self.classes:
            raise BadParameter(f"expected votes for at most {self.classes} labels, got {seen} of them")
        level, trials = alpha / self.classes, estimation.trials
        tail = clopper_pearson_upper(trials - estimation.of(label), trials, level)
        counts = [count for other, count in estimation.ranked() if other != label][: self.top]
        counts += [0] * (self.top - len(counts))
        together, rival = 0.0, 1.0
        for weakest, count in enumerate(reversed(counts), 1):
            together += clopper_pearson_upper(count + estimation.missing, trials, level)
            rival = min(rival, law.weakest_rival(tail=tail, group=min(together, tail), count=weakest))
        return tail, rival


def top_k_named(bound: str) -> TopK | None:
    """The rule of that name; None for every other name. Raises BadParameter where top and classes make no sense."""
    named = _NAME.fullmatch(bound)
    return None if named is None else TopK(int(named[1]), int(named[2]))
