"""One fixed function: noisy pixels -> denoiser -> classifier -> labels."""

from __future__ import annotations

import operator
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from dsmooth.classifiers.base import Answer, Classifier, copy_for_inference
from dsmooth.classifiers.remote import RemoteClassifier
from dsmooth.denoisers.base import Denoiser
from dsmooth.errors import BadModel, BadParameter, DsmoothError
from dsmooth.records.querylog import Address
from dsmooth.theory.certificate import Label
from dsmooth.theory.grid import LEVELS

__all__ = ["DTYPES", "Denoise", "Pipeline", "default_batch"]

DTYPES: Final = {"fp32": torch.float32, "bf16": torch.bfloat16}

Denoise = Callable[[Tensor, float], Tensor]
"""(B, C, H, W) in [0, 1] scale with noise, sigma -> the same without."""

_ONE_AT_A_TIME = threading.RLock()
_MOST_AT_ONCE = 256
_PIXELS_AT_ONCE = 50 * 32 * 32  # small batches stay in the cache: 50 images of 32 x 32, one of 224 x 224


def default_batch(height: int, width: int) -> int:
    """The number of samples that are classified at once, where the caller has not chosen one."""
    return min(_MOST_AT_ONCE, max(1, _PIXELS_AT_ONCE // (height * width)))


@dataclass(frozen=True)
class _Networks:
    """A copy of denoiser and classifier that one thread uses at a time."""

    denoise: Denoise | None
    classify: Answer


class Pipeline:
    """The base classifier that is smoothed: denoise, then classify, always in batches of one shape.

    Works on copies in eval mode without gradients, `copies` of them, so that as many threads never meet in one network (a
    module may keep things on itself between its layers); the networks that were handed in stay as they are. Rows whose
    denoised image or answer is not finite, or whose answer is None, are None: trials without a vote.
    """

    def __init__(
        self,
        classifier: Classifier,
        denoiser: Denoiser | Denoise | None,
        sigma: float,
        *,
        dtype: str = "fp32",
        copies: int = 1,
    ) -> None:
        if dtype not in DTYPES:
            raise BadParameter(f"dtype must be one of {', '.join(DTYPES)}, got {dtype!r}")
        self.dtype, self.sigma, self.copies = dtype, sigma, copies
        self.remote = classifier if isinstance(classifier, RemoteClassifier) else None
        """The classifier, where each of its answers is a query to a service."""
        self._free: queue.SimpleQueue[_Networks] = queue.SimpleQueue()
        for _ in range(copies):
            self._free.put(_Networks(_prepared(denoiser, DTYPES[dtype]), classifier.prepared(DTYPES[dtype])))

    def images(self, noisy: npt.NDArray[np.int16]) -> Tensor:
        """What the classifier sees: (B, H, W, C) steps of 1/255 as (B, C, H, W) in [0, 1] scale, denoised."""
        with torch.inference_mode(), self._networks() as networks:
            return self._denoised(networks, noisy)

    def labels(self, noisy: npt.NDArray[np.int16], addresses: Sequence[Address] | None = None) -> list[Label | None]:
        """One label, or None, for each row of (B, H, W, C) steps of 1/255.

        `addresses` name the first rows; a remote classifier is asked for these only, because the others are padding.
        """
        with torch.inference_mode(), self._networks() as networks:
            try:
                images = self._denoised(networks, noisy)
                finite = torch.isfinite(images.sum(dim=(1, 2, 3), dtype=torch.float32)).tolist()
                if self.remote is not None:
                    return self.remote.ask(images, finite, addresses)
                answers = networks.classify(images)
            except Exception as error:  # whatever a stranger's network raises is about the network
                if isinstance(error, DsmoothError | MemoryError) or "out of memory" in str(error):
                    raise
                shape = (len(noisy), noisy.shape[3], *noisy.shape[1:3])
                line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
                raise BadModel(f"the networks do not accept images of shape {shape} in {self.dtype}: {line}") from error
        if len(answers) != len(noisy):
            raise BadModel(f"expected one answer for each of {len(noisy)} images, got {len(answers)}")
        return [_label(answer) if good else None for answer, good in zip(answers, finite, strict=True)]

    def _denoised(self, networks: _Networks, noisy: npt.NDArray[np.int16]) -> Tensor:
        x = torch.from_numpy(noisy).permute(0, 3, 1, 2).to(torch.float32).div_(LEVELS)
        if networks.denoise is None:
            return x
        images = networks.denoise(x.to(DTYPES[self.dtype]), self.sigma)
        if not isinstance(images, Tensor) or images.shape != x.shape:
            got = tuple(images.shape) if isinstance(images, Tensor) else type(images).__name__
            raise BadModel(f"expected a denoiser that answers {tuple(x.shape)} with the same shape, got {got}")
        return images

    @contextmanager
    def _networks(self) -> Iterator[_Networks]:
        networks = self._free.get()
        try:
            yield networks
        finally:
            self._free.put(networks)


def _label(answer: Any) -> Label | None:
    """The answer as int, str or None; a NaN or any other number that is no class must not pass as a label."""
    if answer is None or isinstance(answer, str):
        return answer
    try:
        return operator.index(answer)
    except TypeError:
        raise BadModel(
            f"expected labels as whole numbers, text or None, got {type(answer).__name__} {answer!r}"
        ) from None


def _prepared(denoiser: Any, dtype: torch.dtype) -> Denoise | None:
    if denoiser is None:
        return None
    if isinstance(denoiser, Denoiser):
        return copy_for_inference(denoiser, dtype).denoise
    if isinstance(denoiser, nn.Module):
        return copy_for_inference(denoiser, dtype)
    owner = getattr(denoiser, "__self__", None)
    if isinstance(owner, nn.Module):  # a method: the copy's
        return getattr(copy_for_inference(owner, dtype), denoiser.__name__)
    if callable(denoiser):

        def one_at_a_time(x: Tensor, sigma: float) -> Tensor:
            with _ONE_AT_A_TIME:  # a plain function cannot be copied, and may not be made for several threads
                return denoiser(x, sigma)

        return one_at_a_time
    raise BadModel(f"expected a denoiser, a callable (x, sigma) -> x, or None, got {type(denoiser).__name__}")
