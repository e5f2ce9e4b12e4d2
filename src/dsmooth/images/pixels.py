"""Images as arrays of 8-bit pixels, which every certificate is about."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from dsmooth.errors import BadImage, first_line

__all__ = ["Pixels", "as_array", "check_pixels"]

Pixels = npt.NDArray[np.uint8]
"""(H, W, C) bytes, C = 1 or 3."""


def as_array(image: npt.ArrayLike, *, name: str = "image") -> npt.NDArray[Any]:
    """The image as a NumPy array, whatever its type and shape; raises BadImage where it is none."""
    try:
        return np.asarray(image)
    except (RuntimeError, TypeError, ValueError) as error:
        line = first_line(error)
        raise BadImage(f"{name}: expected an array of pixels, got {type(image).__name__}: {line}") from error


def check_pixels(image: npt.ArrayLike, *, name: str = "image", quantise: bool = False) -> Pixels:
    """The image as (H, W, C) bytes, C = 1 or 3.

    Accepts uint8, or floats that are exactly k/255: certificates are about images on the grid of 1/255, so other floats
    are refused rather than silently rounded; with `quantise` they are rounded. (H, W) becomes (H, W, 1).
    """
    array = as_array(image, name=name)
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[2] not in (1, 3) or 0 in array.shape:
        hint = "; transpose (C, H, W) to (H, W, C)" if array.ndim == 3 and array.shape[0] in (1, 3) else ""
        raise BadImage(f"{name}: expected (height, width, 1 or 3 channels), got shape {array.shape}{hint}")
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array)
    if not np.issubdtype(array.dtype, np.floating):
        raise BadImage(f"{name}: expected uint8, or floats in [0, 1] on the grid of 1/255, got {array.dtype}")
    if not np.isfinite(array).all():
        raise BadImage(f"{name}: expected finite pixels, got NaN or infinity")
    low, high = float(array.min()), float(array.max())
    if low < 0.0 or high > 1.0:
        raise BadImage(
            f"{name}: expected pixels in [0, 1], got [{low:.4g}, {high:.4g}]; "
            "pass unnormalised images: the classifier normalises them"
        )
    grid = np.rint(array.astype(np.float64) * 255.0)
    nearest = (grid / 255.0).astype(array.dtype)
    last_bit = np.spacing(nearest)  # for k * (1/255) in place of k / 255
    if not quantise and (np.abs(array - nearest) > last_bit).any():
        raise BadImage(
            f"{name}: expected pixels on the grid of 1/255, got values between its steps; "
            "pass the uint8 image, or let it be rounded: SmoothedClassifier(..., quantise=True)"
        )
    return np.ascontiguousarray(grid.astype(np.uint8))
