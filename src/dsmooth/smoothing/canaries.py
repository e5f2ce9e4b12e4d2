"""Blocks that are repeated: a classifier that answers them differently has changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from dsmooth.errors import Drifted
from dsmooth.smoothing.engines.base import Answers, Block
from dsmooth.theory.votes import Label

__all__ = ["Canaries"]

_EVERY: Final = 200  # blocks
_SHAPES: Final = 4  # each keeps the images of its first block in memory


class Canaries:
    """The first block of each of a few shapes, with its answers.

    `due` after every 200 blocks; a run asks once more at its end. A service has canaries of its own, and a classifier with
    randomness of its own answers differently anyway: neither has any here.
    """

    def __init__(self, *, kept: bool) -> None:
        self._kept = kept
        self._known: dict[tuple[int, ...], tuple[Block, Sequence[Label | None]]] = {}
        self._blocks = self._since = 0

    def asked(self) -> bool:
        """A block was submitted; whether the canaries are due."""
        self._blocks += 1
        self._since += 1
        return self._since >= _EVERY

    @property
    def worth_asking(self) -> bool:
        """Whether a run that ends now has canaries to be asked once more: a short one has not."""
        return self._blocks > _EVERY and self._since > 0

    def keep(self, block: Block, answers: Answers) -> None:
        """These answers came; the first ones of a shape are kept."""
        if self._kept and not answers.chance and len(self._known) < _SHAPES:
            self._known.setdefault(block.shape, (block, answers.labels))

    def forget(self, shape: tuple[int, ...]) -> None:
        """Batches of this shape have another number of rows from now on."""
        self._known.pop(shape, None)

    def blocks(self) -> list[Block]:
        """What is to be asked again now."""
        self._since = 0
        return [block for block, _ in self._known.values()]

    def check(self, block: Block, answers: Answers) -> None:
        """Raises Drifted where a canary is answered differently than before."""
        known, expected = self._known.get(block.shape, (None, ()))
        if known is block and list(answers.labels) != list(expected):
            changed = sum(a != b for a, b in zip(answers.labels, expected, strict=True))
            raise Drifted(
                f"the classifier answers {changed} of {len(expected)} images differently than at the start of the run: "
                f"its weights or its service changed; the images of the last {_EVERY} batches are in doubt"
            )
