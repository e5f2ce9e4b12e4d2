"""Pictures of the images of a run, for reports only: no digest covers them and no certificate depends on them."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from dsmooth.records.files import make_folder, read_bounded, write_whole

__all__ = ["LOOKS", "LOOK_GAP", "LOOK_SIDE", "THUMBNAILS", "Pictures"]

LOOK_SIDE: Final = 176
"""Pixels a side, at most, of each of the three parts of a look."""
LOOK_GAP: Final = 2
"""Pixels between them."""


@dataclass(frozen=True, slots=True)
class Pictures:
    """One JPEG for each image, in a folder of the run; a run may come from anybody, so what lies there may be anything."""

    folder: str
    """Within the run folder."""
    largest: tuple[int, int]
    """Width and height, at most."""
    quality: int
    most_bytes: int

    def write(self, run: Path, index: int, pixels: npt.NDArray[np.uint8]) -> None:
        """The run folder holds the picture of this image, (H, W, 1 or 3) bytes, shrunk to the largest size.

        Raises OSError where it cannot be written, or where a symbolic link is in the way.
        """
        picture = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
        picture.thumbnail(self.largest)
        self._keep(run, index, self._jpeg(picture))

    def copy(self, shard: Path, run: Path, index: int) -> None:
        """The run folder holds the picture of this image that the other folder holds, where there is one."""
        if (picture := self.read(shard, index)) is not None:
            self._keep(run, index, picture)

    def read(self, run: Path, index: int) -> bytes | None:
        """The picture as a JPEG that is made here, from nothing but its pixels; None unless such a JPEG lies there.

        Links are not followed.
        """
        try:
            data = read_bounded(self._path(run, index), self.most_bytes, inside=run)
            with Image.open(io.BytesIO(data), formats=("JPEG",)) as picture:
                too_large = any(side > most for side, most in zip(picture.size, self.largest, strict=True))
                if too_large or picture.mode not in ("L", "RGB"):
                    return None
                return self._jpeg(Image.fromarray(np.asarray(picture)))
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
            return None

    def _keep(self, run: Path, index: int, picture: bytes) -> None:
        make_folder(run / self.folder, inside=run)
        write_whole(self._path(run, index), picture, inside=run)

    def _path(self, run: Path, index: int) -> Path:
        return run / self.folder / f"{index:06d}.jpg"

    def _jpeg(self, picture: Image.Image) -> bytes:
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=self.quality, optimize=True)
        return file.getvalue()


THUMBNAILS: Final = Pictures("thumbnails", (64, 64), quality=80, most_bytes=1 << 14)
"""The images themselves."""

LOOKS: Final = Pictures("looks", (3 * LOOK_SIDE + 2 * LOOK_GAP, LOOK_SIDE), quality=60, most_bytes=1 << 17)
"""Image, noisy copy and denoised copy side by side."""
