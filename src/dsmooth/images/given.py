"""Images passed from Python: arrays, tensors, Pillow images, lists of these, data sets and loaders."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from dsmooth.errors import BadImage
from dsmooth.images.decoding import decoded
from dsmooth.images.pixels import as_array, check_pixels
from dsmooth.images.sets import LabelledImage

__all__ = ["Given"]

_BATCH_AXES: Final = 4
_ALIKE: Final = 1e-3  # steps of 1/255


@dataclass(frozen=True, slots=True)
class Given:
    """How images passed from Python become 8-bit pixels; conversions are reported in a warning and in `decoding`."""

    channels: int | None = None
    """3: grey images become RGB, for classifiers that only take these; None: unknown."""
    quantise: bool = False
    """Whether to round floats in [0, 1] to the grid of 1/255; other values are refused if false."""
    size: int | None = None
    """The side to which images are resized and cropped, as image files are; None leaves them as they are."""

    def image(self, given: Any, *, name: str = "image", label: int | None = None) -> LabelledImage:
        """One image: an array (H, W) or (H, W, C), a tensor (C, H, W) or (H, W, C), or a Pillow image.

        Bytes, or floats in [0, 1]. Raises BadImage for anything else.
        """
        if isinstance(given, Image.Image):
            made = decoded(given, name=name, channels=self._channels_of(given), size=self.size)
        else:
            made = self._from_array(given, name)
        if made.decoding:
            warnings.warn(f"the certificate is about the converted image: {', '.join(made.decoding)}", stacklevel=2)
        return replace(made, label=label)

    def batch(self, given: Any) -> list[LabelledImage] | None:
        """The images of a batch: four axes, or a list of single images; None where it is a single image."""
        if isinstance(given, list | tuple) and given and all(map(_is_image, given)):
            return [self.image(one, name=f"image {i}") for i, one in enumerate(given)]
        if isinstance(given, Image.Image):
            return None
        array = given if _is_tensor(given) else as_array(given, name="images")
        if array.ndim != _BATCH_AXES:
            return None
        return [self.image(one, name=f"image {i}") for i, one in enumerate(array)]

    def listed(self, given: Any) -> tuple[list[LabelledImage], bool]:
        """The images of a batch, or a single image; and whether it is one that stands alone."""
        batch = self.batch(given)
        return ([self.image(given)], True) if batch is None else (batch, False)

    def stream(self, source: Any) -> Iterator[LabelledImage]:
        """The images of a data set or loader, named by position: it yields images or batches, alone or with their labels.

        They are read lazily. Raises BadImage for anything else.
        """
        position = 0
        for given in _items(source):
            paired = isinstance(given, list | tuple) and len(given) == 2 and not _is_image(given[1])
            images, labels = given if paired else (given, None)
            held, _ = self.listed(images)
            classes = [None] * len(held) if labels is None else np.ravel(as_array(labels, name="labels")).tolist()
            if len(classes) != len(held):
                raise BadImage(f"expected a label for each of {len(held)} images, got {len(classes)}")
            for image, label in zip(held, classes, strict=True):
                yield replace(image, name=str(position), label=label)
                position += 1

    def _from_array(self, given: Any, name: str) -> LabelledImage:
        array = _channels_last(given, name) if _is_tensor(given) else as_array(given, name=name)
        pixels, steps = check_pixels(array, name=name, quantise=self.quantise), []
        if self.quantise and _off_grid(array):
            steps.append("rounded to whole steps of 1/255")
        if self.channels == 3 and pixels.shape[2] == 1:
            pixels = np.repeat(pixels, 3, axis=2)
            steps.append("L to RGB")
        if self.size is not None:
            picture = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
            resized = decoded(picture, name=name, channels=pixels.shape[2], size=self.size)
            pixels, steps = resized.pixels, [*steps, *resized.decoding]
        return LabelledImage(name, pixels, None, tuple(steps))

    def _channels_of(self, picture: Image.Image) -> int:
        return self.channels or (1 if picture.mode in ("1", "L") else 3)


def _is_tensor(given: Any) -> bool:
    """Whether it is a tensor of torch, which is not imported here."""
    return type(given).__module__.startswith("torch") and hasattr(given, "detach")


def _is_image(given: Any) -> bool:
    array = isinstance(given, np.ndarray) or _is_tensor(given)
    return isinstance(given, Image.Image) or (array and given.ndim in (2, 3))


def _channels_last(tensor: Any, name: str) -> npt.NDArray[Any]:
    """A tensor as an array (H, W, C): torch's own order is (C, H, W)."""
    array: npt.NDArray[Any] = (tensor.detach().float() if tensor.is_floating_point() else tensor.detach()).cpu().numpy()
    if array.ndim != 3 or array.shape[0] not in (1, 3):
        return array
    if array.shape[2] in (1, 3):
        raise BadImage(
            f"{name}: expected a tensor (C, H, W) or (H, W, C), got {array.shape}, which is either: pass a NumPy array "
            "(H, W, C)"
        )
    return array.transpose(1, 2, 0)


def _off_grid(array: npt.NDArray[Any]) -> bool:
    """Whether rounding to the grid of 1/255 changes anything, but for what float32 itself rounds."""
    if array.dtype == np.uint8:
        return False
    steps = array.astype(np.float64) * 255.0
    return bool((np.abs(steps - np.rint(steps)) > _ALIKE).any())


def _items(source: Any) -> Iterator[Any]:
    if hasattr(source, "__iter__"):
        return iter(source)
    if hasattr(source, "__getitem__") and hasattr(source, "__len__"):
        return (source[i] for i in range(len(source)))
    raise BadImage(f"expected a data set or loader, got {type(source).__name__}")
