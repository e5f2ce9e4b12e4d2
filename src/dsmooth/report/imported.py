"""Result files of other programs: the TSV of Cohen et al. 2019 and Salman et al. 2020.

They hold neither votes nor alpha, n and sigma: nothing that follows from votes (another alpha or bound, a check of a
radius) can be derived from them. Only the share that was certified can be shown.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dsmooth.errors import BadRun
from dsmooth.records.files import read_bounded
from dsmooth.report.cells import markdown_cell

__all__ = ["Imported", "imported_table", "read_tsv"]

_COLUMNS: Final = ["idx", "label", "predict", "radius", "correct", "time"]
_STEPS: Final = 5
_MOST_BYTES: Final = 64 << 20


@dataclass(frozen=True)
class Imported:
    """A result file, taken at its word."""

    name: str
    radii: tuple[float, ...]
    correct: tuple[bool, ...]
    abstained: int

    def share(self, radius: float) -> float:
        """The share of the images that the file calls correct, with a radius above this one."""
        hits = sum(right and found > radius for right, found in zip(self.correct, self.radii, strict=True))
        return hits / len(self.radii)


def read_tsv(path: Path) -> Imported:
    """The file; raises BadRun, with the line, where it is not in this format."""
    try:
        heading, *lines = read_bounded(path, _MOST_BYTES).decode().splitlines() or [""]
    except (OSError, UnicodeDecodeError) as error:
        raise BadRun(f"{path}: expected a TSV file, cannot read it ({error})") from error
    if heading.split("\t") != _COLUMNS:
        raise BadRun(f"{path}: expected the columns {' '.join(_COLUMNS)}, separated by tabs, got {heading[:80]!r}")
    radii, correct, abstained = [], [], 0
    seen: set[int] = set()
    for number, line in enumerate(lines, start=2):
        try:
            index, _, predicted, radius, right, _ = line.split("\t")
            value, place, abstains = float(radius), int(index), int(predicted) == -1
            if not 0.0 <= value < math.inf or right not in ("0", "1") or place in seen:
                raise ValueError(f"radius {radius}, correct {right}, idx {index}")
        except ValueError as error:
            raise BadRun(f"{path}, line {number}: expected one image as {' '.join(_COLUMNS)}, got {error}") from error
        seen.add(place)
        radii.append(value)
        correct.append(right == "1")
        abstained += abstains
    if not radii:
        raise BadRun(f"{path}: expected at least one image, found none")
    return Imported(path.name, tuple(radii), tuple(correct), abstained)


def imported_table(files: Sequence[Imported], radii: Sequence[float] | None = None) -> str:
    """Certified accuracy as the files state it, in percent, in markdown."""
    if radii is None:
        reach = max((radius for file in files for radius in file.radii), default=0.0)
        radii = [float(f"{reach * step / _STEPS:.2g}") for step in range(_STEPS)]
    heading = ["file", "images", "abstained", *(f"r = {radius:.12g}" for radius in radii)]
    rows = [
        [
            markdown_cell(file.name),
            str(len(file.radii)),
            f"{100 * file.abstained / len(file.radii):.1f}",
            *(f"{100 * file.share(radius):.1f}" for radius in radii),
        ]
        for file in files
    ]
    return "".join(f"| {' | '.join(line)} |\n" for line in [heading, ["---"] * len(heading), *rows])
