"""One fixed function: rows -> denoiser -> classifier -> labels."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from dsmooth.backends.base import Backend, TensorFunction
from dsmooth.backends.networks import digest_module
from dsmooth.classifiers.base import Classifier, Classify
from dsmooth.denoisers.base import Denoise, Denoiser
from dsmooth.errors import BadModel, DsmoothError, first_line
from dsmooth.records.digests import unknown_digest
from dsmooth.records.querylog import Address
from dsmooth.smoothing.sources.base import Rows
from dsmooth.theory.votes import Label

__all__ = ["Pipeline", "denoiser_at", "denoiser_digest", "denoiser_name"]

_NO_MEMORY: Final = ("out of memory", "can't allocate memory", "not enough memory")  # torch says it in a RuntimeError
_ONE_AT_A_TIME = threading.RLock()


@dataclass(frozen=True)
class _Networks:
    """A copy of denoiser and classifier that one thread uses at a time."""

    denoise: TensorFunction | None
    classify: Classify


class Pipeline:
    """The base classifier that is smoothed: denoise, then classify, always in batches of one shape.

    Works on copies in eval mode without gradients, one for each of the backend's workers, so that threads never meet in
    one network (a module may keep things on itself between its layers); the networks that were handed in stay as they are.
    Rows whose denoised image or answer is not finite, or whose answer is None, are None: trials without a vote.
    """

    def __init__(
        self, classifier: Classifier, denoiser: Denoiser | Denoise | None, level: float, backend: Backend
    ) -> None:
        self.classifier, self.backend = classifier, backend
        self._free: queue.SimpleQueue[_Networks] = queue.SimpleQueue()
        network = denoiser_at(denoiser, level)
        for _ in range(backend.workers):
            self._free.put(_Networks(_prepared(network, backend), classifier.prepared(backend)))

    def images(self, rows: Rows) -> Tensor:
        """What the classifier sees: (B, C, H, W) in [0, 1] scale, denoised."""
        with torch.inference_mode(), self._networks() as networks, self._blamed(rows):
            return self._denoised(networks, rows)

    def labels(self, rows: Rows, addresses: Sequence[Address] | None = None) -> list[Label | None]:
        """One label, or None, for each row.

        `addresses` name the first rows; a billed classifier is asked for these only, because the others are padding.
        """
        with torch.inference_mode(), self._networks() as networks, self._blamed(rows):
            images = self._denoised(networks, rows)
            usable = torch.isfinite(images.sum(dim=(1, 2, 3), dtype=torch.float32))
            if rows.undecided is not None:
                usable &= ~torch.as_tensor(rows.undecided, device=usable.device)
            return networks.classify(images, usable.tolist(), addresses)

    @contextmanager
    def _blamed(self, rows: Rows) -> Iterator[None]:
        """Whatever a stranger's network raises is about the network, `sys.exit` too: the program would seem to be done."""
        try:
            yield
        except (Exception, SystemExit) as error:
            if isinstance(error, DsmoothError | MemoryError):
                raise
            if any(words in str(error) for words in _NO_MEMORY):
                raise MemoryError(f"no memory for a batch of {len(rows)} images") from error
            shape = (len(rows), rows.steps.shape[3], *rows.steps.shape[1:3])
            line = first_line(error)
            if isinstance(error, SystemExit):
                line = f"sys.exit({error.code!r:.80}) was called"
            raise BadModel(
                f"the networks do not accept images of shape {shape} in {self.backend.dtype}: {line}"
            ) from error

    def _denoised(self, networks: _Networks, rows: Rows) -> Tensor:
        x = rows.images(self.backend.device)
        if networks.denoise is None:
            return x
        images = networks.denoise(x)
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


class _AtLevel(nn.Module):
    """A denoiser for one noise level, as a network of images alone: what backends run."""

    def __init__(self, denoiser: nn.Module, level: float, method: str = "forward") -> None:
        super().__init__()
        self.denoiser, self.level, self.method = denoiser, level, method
        self.told = isinstance(denoiser, Denoiser)

    def forward(self, x: Tensor) -> Tensor:
        sigma = x.new_full((x.shape[0],), self.level) if self.told else self.level
        answer: Tensor = getattr(self.denoiser, self.method)(x, sigma)
        return answer


def denoiser_at(denoiser: Any, level: float) -> nn.Module | TensorFunction | None:
    """The denoiser at this level of noise, as a function of images (B, C, H, W): as a module, if it can be one."""
    if denoiser is None:
        return None
    if isinstance(denoiser, Denoiser) and not denoiser.in_torch:
        return partial(denoiser.denoise, sigma=level)
    if isinstance(denoiser, nn.Module):
        return _AtLevel(denoiser.at(level) if isinstance(denoiser, Denoiser) else denoiser, level)
    owner = getattr(denoiser, "__self__", None)
    if isinstance(owner, nn.Module):
        return _AtLevel(owner, level, denoiser.__name__)
    if callable(denoiser):

        def one_at_a_time(x: Tensor) -> Tensor:
            with _ONE_AT_A_TIME:  # a plain function cannot be copied, and may not be made for several threads
                return denoiser(x, level)

        return one_at_a_time
    raise BadModel(f"expected a denoiser, a callable (x, sigma) -> x, or None, got {type(denoiser).__name__}")


def denoiser_name(denoiser: object) -> str | None:
    """What people call it: the name or the last part of the path that it was asked for by, else what it is."""
    if denoiser is None or denoiser == "none":
        return None
    if isinstance(denoiser, Path):
        return denoiser.name
    if isinstance(denoiser, str):
        return denoiser if ":" in denoiser else Path(denoiser).name
    if isinstance(denoiser, Denoiser):
        return denoiser.architecture
    return str(getattr(denoiser, "__qualname__", type(denoiser).__qualname__))


def denoiser_digest(denoiser: object) -> str | None:
    """The digest of a Denoiser or other module, "unknown: NAME" for another callable, or None for none."""
    if denoiser is None:
        return None
    if isinstance(denoiser, Denoiser):
        return denoiser.digest()
    if isinstance(denoiser, nn.Module):
        return digest_module("denoiser", denoiser)
    return unknown_digest(denoiser)


def _prepared(network: nn.Module | TensorFunction | None, backend: Backend) -> TensorFunction | None:
    if not isinstance(network, _AtLevel):
        return network
    run = backend.ready(network)
    if not isinstance(network.denoiser, Denoiser):
        return run
    check = network.denoiser.check

    def checked(x: Tensor) -> Tensor:
        check(x)
        return run(x)

    return checked
