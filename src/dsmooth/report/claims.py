"""The certificates of a run in fifty bytes each: a report holds those of a million images in memory."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from dsmooth.theory.certifiers import Certificate
from dsmooth.theory.votes import Label, Votes

__all__ = ["Claims"]

_NONE: Final = Votes({}, 0)


class Claims(Sequence[Certificate]):
    """Certificates under one law, norm, alpha and bound, without their votes, which stand in the records."""

    def __init__(self) -> None:
        self._first: Certificate | None = None
        self._numbers: dict[Label | None, int] = {None: 0}
        self._labels: list[Label | None] = [None]
        self._answers, self._dims, self._tops = array("q"), array("q"), array("q")
        self._radii, self._tails, self._rivals = array("d"), array("d"), array("d")

    def append(self, certificate: Certificate) -> None:
        """The next one."""
        if self._first is None:
            self._first = replace(certificate, selection=_NONE, estimation=_NONE)
        if certificate.answer not in self._numbers:
            self._numbers[certificate.answer] = len(self._labels)
            self._labels.append(certificate.answer)
        self._answers.append(self._numbers[certificate.answer])
        self._dims.append(certificate.dim)
        self._tops.append(certificate.top)
        self._radii.append(certificate.radius)
        self._tails.append(certificate.tail)
        self._rivals.append(certificate.rival)

    def __len__(self) -> int:
        return len(self._answers)

    def __getitem__(self, index: Any) -> Any:
        chosen = range(len(self))[index]
        return self._one(chosen) if isinstance(chosen, int) else list(map(self._one, chosen))

    def _one(self, i: int) -> Certificate:
        if self._first is None:
            raise IndexError(i)
        return replace(
            self._first,
            answer=self._labels[self._answers[i]],
            radius=self._radii[i],
            dim=self._dims[i],
            top=self._tops[i],
            tail=self._tails[i],
            rival=self._rivals[i],
        )
