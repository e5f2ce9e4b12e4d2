"""Any torch.nn.Module as a classifier that runs locally."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from dsmooth.backends.base import Backend, TensorFunction
from dsmooth.backends.networks import copy_for_inference, digest_module
from dsmooth.classifiers.base import (
    MIRRORED,
    DifferentiableClassifier,
    LabelFunction,
    check_logits,
    checked_names,
    labels_of,
)
from dsmooth.errors import BadModel

__all__ = ["TorchClassifier"]


class TorchClassifier(DifferentiableClassifier):
    """Any module that turns (B, C, H, W) images in [0, 1] into (B, K) logits, as a classifier.

    Images are first normalised by `mean` and `std`, one number per channel: normalisation belongs to the classifier, because
    the noise is added to the image. `class_names`, if given, are checked against K.
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        name: str | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        class_names: Sequence[str] | None = None,
        input_size: int | None = None,
    ) -> None:
        if not isinstance(module, nn.Module):
            raise BadModel(f"expected a torch.nn.Module, got {type(module).__name__}")
        mean, std = _numbers(mean, "mean"), _numbers(std, "std")
        if (mean is None) != (std is None) or len(mean or ()) != len(std or ()):
            raise BadModel("expected mean and std together, with one number per channel each")
        if not all(value > 0.0 for value in std or ()):
            raise BadModel(f"expected std above 0, got {std}")
        if max(mean or [0.0]) > 1.0:
            warnings.warn(
                f"a mean of {max(mean or []):g} is for pixels of 0 to 255, but images are in [0, 1] here: "
                "divide mean and std by 255",
                stacklevel=2,
            )
        for key, value in module.state_dict().items():
            if value.is_floating_point() and not bool(torch.isfinite(value).all()):
                raise BadModel(f"expected finite weights, got NaN or infinity in {key} of the classifier")
        self.module = module
        self.name = name or type(module).__name__
        self.class_names = checked_names(class_names)
        self.input_size, self.channels = input_size, None if mean is None else len(mean)
        self._mean, self._std = mean, std

    def mirrored(self) -> TorchClassifier:
        other = copy.copy(self)
        other.traits = replace(self.traits, preparation=MIRRORED)
        return other

    def network(self) -> nn.Module:
        return self._normalised(copy_for_inference(self.module, torch.float32))

    def answers(self, backend: Backend) -> LabelFunction:
        network = self._normalised(backend.ready(self.module)).to(backend.device)
        return lambda images: labels_of(network(images).float())

    def _normalised(self, run: TensorFunction) -> _Normalised:
        classes = len(self.class_names or ()) or None
        return _Normalised(run, self.name, self._mean, self._std, classes, self._is_mirrored)

    @property
    def _is_mirrored(self) -> bool:
        return self.traits.preparation == MIRRORED

    def digest(self) -> str:
        told = f"classifier mean {self._mean} std {self._std}{' mirrored' * self._is_mirrored}"
        return digest_module(told, self.module)


class _Normalised(nn.Module):
    """Normalisation in float32, then the network; what comes back is checked, and averaged where it is mirrored."""

    _shift: Tensor | None
    _scale: Tensor | None

    def __init__(
        self,
        run: TensorFunction,
        name: str,
        mean: Sequence[float] | None,
        std: Sequence[float] | None,
        classes: int | None,
        mirrored: bool,
    ) -> None:
        super().__init__()
        self.run, self.name, self.classes, self.mirrored = run, name, classes, mirrored
        self.register_buffer("_shift", None if mean is None else torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("_scale", None if std is None else torch.tensor(std).view(1, -1, 1, 1))
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        x = images.to(torch.float32)
        if self._shift is not None and self._shift.shape[1] != x.shape[1]:
            raise BadModel(f"expected images of {self._shift.shape[1]} channels for {self.name}, got {x.shape[1]}")
        if self._shift is not None and self._scale is not None:
            x = (x - self._shift) / self._scale
        if not self.mirrored:
            return self._logits(x)
        # one after the other, so that the network sees batches of one shape
        return (self._logits(x).float() + self._logits(x.flip(3)).float()) / 2

    def _logits(self, x: Tensor) -> Tensor:
        try:
            return check_logits(self.run(x), len(x), self.name, self.classes)
        except SystemExit as error:  # would end the program in silence, with its exit code
            raise BadModel(f"{self.name} ended with sys.exit({error.code!r:.80}) instead of an answer") from error


def _numbers(values: Sequence[float] | None, name: str) -> list[float] | None:
    try:
        numbers = None if values is None else [float(value) for value in values]
    except (TypeError, ValueError):
        raise BadModel(f"expected {name} as one number per channel, got {values!r}") from None
    if not all(math.isfinite(number) for number in numbers or ()):
        raise BadModel(f"expected finite numbers as {name}, got {numbers}")
    return numbers
