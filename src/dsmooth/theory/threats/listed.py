"""Images listed by the user's own function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from dsmooth.errors import BadImage, BadParameter
from dsmooth.theory.threats.base import Boxes, Bytes, Threat

__all__ = ["Listed"]


@dataclass(frozen=True, slots=True)
class Listed(Threat):
    """The images that `make` lists for an image: uint8, (H, W, C), of its shape. For Python only.

    Neighbours in the list should be similar: a centre covers several in a row. Records cannot hold a function, so such
    certificates are at best consistent, never verified. Source: docs/theory.md, claim 29.
    """

    label: str
    """A description of the images."""
    make: Callable[[Bytes], Sequence[Bytes]] | None = field(default=None, repr=False, compare=False)

    name: ClassVar[str] = "listed"
    usage: ClassVar[str] = "listed"

    def __post_init__(self) -> None:
        if not isinstance(self.label, str) or not 0 < len(self.label) <= 200 or not self.label.isprintable():
            raise BadParameter(f"expected a printable label of up to 200 characters, got {self.label!r:.80}")

    @property
    def words(self) -> str:
        """As in `Threat`."""
        return self.label

    @property
    def by(self) -> str:
        """As in `Threat`."""
        return "a function of Python, which no record holds"

    @property
    def ranges(self) -> tuple[tuple[float, float], ...]:
        """As in `Threat`: none; the list says it all."""
        return ()

    @property
    def lacks(self) -> str | None:
        """As in `Threat`."""
        return f"{self.label}: these images come from {self.by}" if self.make is None else None

    def apply(self, pixels: Bytes, *parameters: float) -> Bytes:
        """As in `Threat`: the image itself."""
        return pixels

    def boxes(self, pixels: Bytes) -> Boxes:
        """As in `Threat`: one box for each image."""
        if self.make is None:
            raise BadParameter(str(self.lacks))
        rows = [np.asarray(picture) for picture in self.make(pixels.copy())]
        for picture in rows:
            if picture.dtype != np.uint8 or picture.shape != pixels.shape:
                raise BadImage(
                    f"{self.label}: expected uint8 images of shape {pixels.shape}, got {picture.dtype} {picture.shape}"
                )
        if not rows:
            raise BadImage(f"{self.label}: expected at least one image, got none")
        flat = np.stack([picture.reshape(-1) for picture in rows])
        return Boxes(flat, flat, flat, pixels.reshape(-1))
