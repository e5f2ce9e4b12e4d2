"""One fixed function: noisy pixels -> denoiser -> classifier -> labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from dsmooth.classifiers.base import Classifier, copy_for_inference
from dsmooth.denoisers.base import Denoiser
from dsmooth.errors import BadModel, BadParameter
from dsmooth.theory.certificate import Label
from dsmooth.theory.grid import LEVELS

__all__ = ["DTYPES", "Pipeline", "default_batch"]

DTYPES: Final = {"fp32": torch.float32, "bf16": torch.bfloat16}

_PIXELS_AT_ONCE = 50 * 32 * 32  # small batches stay in the cache: 50 images of 32 x 32, one of 224 x 224


def default_batch(height: int, width: int) -> int:
    """The number of samples that are classified at once, where the caller has not chosen one."""
    return max(1, _PIXELS_AT_ONCE // (height * width))


class Pipeline:
    """The base classifier that is smoothed: denoise, then classify, always in batches of one shape.

    Works on copies in eval mode without gradients; the networks that were handed in stay as they are. Rows whose answer
    is not finite, or unusable, are None: trials without a vote.
    """

    def __init__(
        self,
        classifier: Classifier,
        denoiser: Denoiser | Callable[[Tensor, float], Tensor] | None,
        sigma: float,
        *,
        dtype: str = "fp32",
    ) -> None:
        if dtype not in DTYPES:
            raise BadParameter(f"dtype must be one of {', '.join(DTYPES)}, got {dtype!r}")
        self.dtype, self.sigma = dtype, sigma
        self._classify = classifier.prepared(DTYPES[dtype])
        self._denoise = _prepared(denoiser, DTYPES[dtype])

    def images(self, noisy: npt.NDArray[np.int16], *, denoised: bool = True) -> Tensor:
        """What the classifier sees: (B, H, W, C) steps of 1/255 as (B, C, H, W) in [0, 1] scale, denoised."""
        with torch.inference_mode():
            x = torch.from_numpy(noisy).permute(0, 3, 1, 2).to(torch.float32).div_(LEVELS)
            if self._denoise is None or not denoised:
                return x
            return self._denoise(x.to(DTYPES[self.dtype]), self.sigma)

    def labels(self, noisy: npt.NDArray[np.int16]) -> Sequence[Label | None]:
        """One label, or None, for each row of (B, H, W, C) steps of 1/255."""
        with torch.inference_mode():
            try:
                labels = self._classify(self.images(noisy))
            except (RuntimeError, TypeError, ValueError, IndexError) as error:
                if isinstance(error, BadModel) or "out of memory" in str(error):
                    raise
                shape = (len(noisy), noisy.shape[3], *noisy.shape[1:3])
                line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
                raise BadModel(f"the networks do not accept images of shape {shape} in {self.dtype}: {line}") from error
        if len(labels) != len(noisy):
            raise BadModel(f"expected one answer for each of {len(noisy)} images, got {len(labels)}")
        return labels


def _prepared(denoiser: Any, dtype: torch.dtype) -> Callable[[Tensor, float], Tensor] | None:
    if denoiser is None:
        return None
    if isinstance(denoiser, Denoiser):
        return copy_for_inference(denoiser, dtype).denoise
    if isinstance(denoiser, nn.Module):
        return copy_for_inference(denoiser, dtype)
    if callable(denoiser):
        function: Callable[[Tensor, float], Tensor] = denoiser
        return function
    raise BadModel(f"expected a denoiser, a callable (x, sigma) -> x, or None, got {type(denoiser).__name__}")
