"""Options that several commands share: the model, the images, whole numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter, Token

from dsmooth.console import note
from dsmooth.errors import BadParameter

if TYPE_CHECKING:
    from dsmooth.classifiers.base import Classifier
    from dsmooth.images import ImageSet
    from dsmooth.smoothing.smoothed import SmoothedClassifier

__all__ = ["ALL", "FLAG", "MANY", "Data", "Model", "Whole"]

FLAG = Parameter(negative=())
MANY = Parameter(consume_multiple=True, negative=())

_LARGEST = 5000  # pixels a side


def _whole(kind: Any, tokens: Sequence[Token]) -> int:
    """A whole number, and nothing that would have to be rounded to one."""
    try:
        return int(tokens[0].value)
    except ValueError:
        raise BadParameter(f"{tokens[0].keyword or kind} must be a whole number, got {tokens[0].value!r}") from None


Whole = Annotated[int, Parameter(converter=_whole)]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Model:
    """What is smoothed, and how."""

    classifier: Annotated[str, Parameter(alias="-c")]
    """efficientnet-lite0, timm:NAME, timm:NAME@FILE, cifar:resnet56@FILE, onnx:FILE, import:package.module:factory."""
    sigma: Annotated[float, Parameter(alias="-s")] = 0.25
    """Standard deviation of the noise; pixels are in [0, 1]."""
    denoiser: Annotated[str, Parameter(alias="-d")] = "photo"
    """A shipped name, a folder, a safetensors file, hf:owner/name, tv or nlm (untrained), or none."""
    dtype: Literal["fp32", "bf16", "tf32"] = "fp32"
    """Precision of the networks; bf16 is several times faster on recent CPUs and GPUs. Part of what is certified."""
    backend: Literal["auto", "eager", "openvino", "cuda"] = "auto"
    """What runs the networks; auto is the fastest here: cuda; for bf16 on a CPU openvino; eager (plain torch)."""
    batch: Whole | None = None
    """Samples classified at once; chosen by image size by default."""
    workers: Whole | None = None
    """Threads; one a core by default. Changes no result."""

    def smoothed(self, bound: str = "multiclass") -> SmoothedClassifier:
        """The smoothed classifier; says when the denoiser was trained for other noise."""
        from dsmooth.smoothing.chunks import LIMITS
        from dsmooth.theory.bounds import check_count
        from dsmooth.theory.certificate import certifier_named
        from dsmooth.theory.noises import Gaussian

        Gaussian(self.sigma)  # complain of a bad number before loading anything, torch included
        certifier = certifier_named(bound)
        for name in ("batch", "workers"):
            if (value := getattr(self, name)) is not None:
                check_count(value, name, most=LIMITS[name])

        from dsmooth.backends.choice import SLOWER, fastest
        from dsmooth.smoothing.smoothed import SmoothedClassifier

        if self.backend == "auto" and self.dtype == "bf16" and fastest(self.dtype) == "eager":
            note(SLOWER)
        return SmoothedClassifier(
            self.classifier,
            self.denoiser,
            self.sigma,
            dtype=self.dtype,
            backend=self.backend,
            batch=self.batch,
            workers=self.workers,
            certifier=certifier,
        )


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Data:
    """Which images."""

    labels: Path | None = None
    """CSV with the columns file and label (or class_index), to choose and label the images."""
    size: Whole | None = None
    """Side to which image files are resized and cropped; the classifier's own by default. 0: leave them as they are."""
    skip: Whole = 1
    """Take every SKIP-th image only."""
    max: Whole | None = None
    """Stop after so many images."""

    def check(self) -> None:
        """Complains of impossible numbers."""
        from dsmooth.theory.bounds import check_count

        check_count(self.skip, "skip")
        if self.max is not None:
            check_count(self.max, "max")
        if self.size is not None and not 0 <= self.size <= _LARGEST:
            raise BadParameter(f"size must be from 0 (leave images as they are) to {_LARGEST}, got {self.size}")

    def open(self, path: Path, classifier: Classifier | None) -> ImageSet:
        """The images that the options choose, for this classifier."""
        from dsmooth.images import holds_arrays, open_images

        size, names = self.size, None if classifier is None else classifier.class_names
        if size is None and classifier is not None and not holds_arrays(path):
            size = classifier.input_size
        images = open_images(path, labels=self.labels, size=size or None, class_names=names)
        return images[:: self.skip][: self.max]


ALL = Data()
"""Every image, as it is found."""
