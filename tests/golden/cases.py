"""What make_runs.py and test_runs.py share: the images of a golden run, and the model behind its service."""

from __future__ import annotations

import platform
from pathlib import Path

import numpy as np

from dsmooth import open_images

__all__ = ["centre", "images_of", "pattern", "processor"]


def images_of(folder: Path, file: str, positions: list[int], side: int | None) -> list[np.ndarray]:
    """Images (H, W, 3) of a file in the folder of real data; `side`: the square of that side in their middle."""
    images = open_images(folder / file)
    return [_middle(images[i].pixels, side) for i in positions]


def pattern(shape: tuple[int, int, int]) -> np.ndarray:
    """An image without a file: every byte from 0 to 255, mixed."""
    return (np.arange(int(np.prod(shape))) * 37 % 256).astype(np.uint8).reshape(shape)


def centre(pixels: np.ndarray) -> list[tuple[str, float]]:
    """The colour that is strongest in the middle pixel, or nothing where all three are bright: a vote that is missing."""
    middle = pixels[pixels.shape[0] // 2, pixels.shape[1] // 2].astype(int)
    if middle.min() > 160:
        return []
    return [(("red", "green", "blue")[int(middle.argmax())], 0.9)]


def processor() -> str:
    """The name of the processor: others round otherwise, also where they have the same instructions."""
    try:
        with Path("/proc/cpuinfo").open() as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def _middle(pixels: np.ndarray, side: int | None) -> np.ndarray:
    if side is None:
        return pixels
    top, left = ((length - side) // 2 for length in pixels.shape[:2])
    return np.ascontiguousarray(pixels[top : top + side, left : left + side])
