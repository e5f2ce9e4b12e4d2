"""The contract of families of transformations: from an image to boxes that hold every image of the family."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Self, final

import numpy as np
import numpy.typing as npt

from dsmooth.errors import BadParameter
from dsmooth.theory.bounds import number_or_nan, shown

__all__ = ["Boxes", "Bytes", "Threat", "check_range"]

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Boxes:
    """All images of a family, in the order of its parameter, each as a row of bytes.

    Every image of the family is between `low[j]` and `high[j]`, both included, in every byte, for some box j. So an image
    that is near to all of a box is near to all images in it.
    """

    low: Bytes
    """(boxes, bytes)"""
    high: Bytes
    candidates: Bytes
    """What may become a centre: candidate i is in box i, or lies between the boxes i - 1 and i."""
    own: Bytes
    """The image itself."""
    weights: npt.NDArray[np.int64] | None = None
    """How many coordinates of the image each byte stands for; None: one."""

    def __post_init__(self) -> None:
        rows, width = self.low.shape
        fits = self.high.shape == (rows, width) and self.own.shape == (width,) and rows >= 1
        if not fits or self.candidates.shape not in ((rows, width), (rows + 1, width)):
            raise BadParameter(
                f"expected boxes and candidates of one width, got {self.low.shape}, {self.high.shape}, "
                f"{self.candidates.shape}, {self.own.shape}"
            )

    def farthest(self, centre: Bytes, first: int, last: int) -> npt.NDArray[np.int64]:
        """For boxes first to last - 1: the squared distance, in steps, from the centre to the box's farthest corner."""
        c = centre.astype(np.int32)
        low, high = self.low[first:last], self.high[first:last]
        far = np.maximum(np.abs(c - low), np.abs(high - c))
        squares: npt.NDArray[np.int64]
        if self.weights is None:
            squares = np.einsum("ij,ij->i", far, far, dtype=np.int64)
        else:
            squares = (far * far).astype(np.int64) @ self.weights
        return squares


class Threat(ABC):
    """A family of images that are made of one image, with a whole or real parameter. Subclasses are frozen dataclasses.

    Images are 8-bit in and 8-bit out. The proof that `boxes` leaves out none of them is the family's own
    (docs/theory.md, claim 29).
    """

    name: ClassVar[str]
    """As it stands in records and on the command line."""
    usage: ClassVar[str]
    """Its parameters on the command line."""
    whole: ClassVar[bool] = False
    """Whether its parameters are whole numbers."""

    @property
    @abstractmethod
    def words(self) -> str:
        """What is covered, in words and numbers."""

    @property
    @abstractmethod
    def by(self) -> str:
        """What makes the images: its name, version and what stands where an image has no pixels."""

    @property
    @abstractmethod
    def ranges(self) -> tuple[tuple[float, float], ...]:
        """The least and the greatest value of each parameter."""

    @abstractmethod
    def apply(self, pixels: Bytes, *parameters: float) -> Bytes:
        """The image (H, W, C) of the family with these parameters, in the shape of the one it is made of."""

    @abstractmethod
    def boxes(self, pixels: Bytes) -> Boxes:
        """All images of the family that is made of this one."""

    def picture(self, pixels: Bytes, row: Bytes) -> Bytes:
        """The image that a row of the boxes stands for."""
        return row.reshape(pixels.shape)

    @property
    def lacks(self) -> str | None:
        """Why its images cannot be made on this machine; None if they can."""
        return None

    def check(self, shape: Sequence[int]) -> None:  # noqa: B027 (most take any image)
        """Raises BadParameter if this family does not support images of this shape (H, W, C)."""

    @final
    def to_json(self) -> dict[str, Any]:
        """Name and parameters; fields that are not shown (repr=False) are none."""
        return {"name": self.name, **{name: getattr(self, name) for name in self._parameters()}}

    @classmethod
    def _parameters(cls) -> list[str]:
        return [field.name for field in fields(cls) if field.repr]  # type: ignore[arg-type]  # subclasses are dataclasses

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> Self:
        """The family with these parameters; raises BadParameter for missing and unknown ones."""
        names = cls._parameters()
        if set(parameters) != set(names):
            raise BadParameter(
                f"{cls.name} takes {', '.join(names)}, got {', '.join(map(str, parameters)) or 'nothing'}"
            )
        return cls(**parameters)


def check_range(name: str, value: object, least: float, most: float) -> float:
    """The number itself; raises BadParameter unless it is one from `least` to `most`."""
    number = number_or_nan(value)
    if not least <= number <= most:
        raise BadParameter(f"{name} must be a number from {least:g} to {most:g}, got {shown(value)}")
    return number
