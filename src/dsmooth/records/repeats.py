"""Whether one of very many values comes twice, in eight bytes a value."""

from __future__ import annotations

import hashlib
from array import array

import numpy as np

__all__ = ["Repeats", "mark"]


def mark(value: str) -> int:
    """Eight bytes that stand for the value; others that share them are rare, but can be made on purpose."""
    return int.from_bytes(hashlib.blake2b(value.encode(errors="surrogatepass"), digest_size=8).digest(), "little")


class Repeats:
    """Marks of the values so far, and which of them came more than once.

    A value that comes twice is always among them. Other values may share its mark: whoever asks looks again at those
    few, whole.
    """

    def __init__(self) -> None:
        self._marks = array("Q")

    def add(self, value: str) -> None:
        self._marks.append(mark(value))

    def found(self) -> frozenset[int]:
        """The marks that came more than once."""
        if not self._marks:
            return frozenset()
        marks = np.sort(np.frombuffer(self._marks, np.uint64))
        return frozenset(marks[1:][marks[1:] == marks[:-1]].tolist())
