"""What the classifier was shown: each image of a run beside its first noisy copy, and that copy denoised."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from PIL import Image

from dsmooth.errors import BadRun
from dsmooth.images.pixels import Pixels
from dsmooth.images.sets import ImageSet
from dsmooth.records.digests import digest_image
from dsmooth.records.schema import Record
from dsmooth.records.store import Run
from dsmooth.records.thumbnails import LOOK_GAP, LOOK_SIDE, LOOKS
from dsmooth.runs.verify import image_of
from dsmooth.smoothing.chunks import Chunk
from dsmooth.smoothing.pipeline import denoiser_digest
from dsmooth.smoothing.views import copies
from dsmooth.theory.votes import Phase

__all__ = ["make_looks"]


def make_looks(
    run: Run,
    images: ImageSet,
    denoiser: Any,
    *,
    records: Sequence[Record],
    on_image: Callable[[], None] = lambda: None,
) -> None:
    """RUN/looks holds a picture of each of these records: the image, the noisy copy that cast its first estimation vote,
    and that copy denoised (in fp32; the votes may have been cast in another precision).

    Raises BadRun for another denoiser, for images that are not those of the run, and where nothing can be written; and for
    runs of older versions, whose noise cannot be drawn again.
    """
    if not run.addressed:
        raise BadRun(f"{run.folder} was made by an older version: its noise cannot be drawn again")
    if denoiser_digest(denoiser) != run.question.denoiser:
        raise BadRun(f"{run.folder} was certified with another denoiser: pass the certified one as -d")
    for record in records:
        image = image_of(images, record, alone=False)
        if image is None or digest_image(image.pixels) != record.image:
            wrong = "is not among the images" if image is None else "does not have the pixels that were certified"
            raise BadRun(f"{record.name} {wrong}: pass the images of {run.folder} as --images")
        sample = Chunk(Phase.ESTIMATION, bytes.fromhex(record.key[Phase.ESTIMATION.value]), 0, 1)
        shown = [image.pixels, *copies(record.law, denoiser, image.pixels, sample)]
        try:
            LOOKS.write(run.folder, record.index, _strip([pixels for pixels in shown if pixels is not None]))
        except OSError as error:
            raise BadRun(f"{run.folder}: the pictures cannot be written there ({error.strerror})") from error
        on_image()


def _strip(parts: Sequence[Pixels]) -> Pixels:
    """The parts side by side, those that are too large shrunk."""
    shrunk = []
    for part in parts:
        picture = Image.fromarray(part[:, :, 0] if part.shape[2] == 1 else part).convert("RGB")
        picture.thumbnail((LOOK_SIDE, LOOK_SIDE))
        shrunk.append(np.pad(np.asarray(picture), ((0, 0), (0, LOOK_GAP), (0, 0)), constant_values=255))
    return np.concatenate(shrunk, axis=1)[:, :-LOOK_GAP]
