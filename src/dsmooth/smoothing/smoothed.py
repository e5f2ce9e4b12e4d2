"""SmoothedClassifier: the name users type."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy.typing as npt
from torch import Tensor, nn

from dsmooth.classifiers.base import Classifier
from dsmooth.classifiers.remote import RemoteClassifier
from dsmooth.classifiers.specs import as_classifier, load_classifier
from dsmooth.denoisers.base import Denoiser
from dsmooth.denoisers.weights import load_denoiser
from dsmooth.images import LabelledImage, as_array, check_pixels
from dsmooth.smoothing.chunks import MasterKey, Phase
from dsmooth.smoothing.pipeline import Pipeline
from dsmooth.smoothing.scheduler import OnVotes, Poll, Scheduler
from dsmooth.theory.bounds import check_count, check_level
from dsmooth.theory.certificate import Certificate, Certifier, Multiclass, Prediction, predict_votes
from dsmooth.theory.noises import Gaussian, check_norm

__all__ = ["SmoothedClassifier"]


class SmoothedClassifier:
    """A pretrained classifier, unchanged, whose answers come with a proof.

    classifier: any torch.nn.Module from (B, C, H, W) images in [0, 1] to (B, K) logits (wrap it in TorchClassifier to
        add a normalisation or class names), a Classifier, or a spec string such as "timm:resnet50".
    denoiser: a Denoiser, any callable (x, sigma) -> x, the name of a shipped one, a folder or file, or None.
    sigma: standard deviation of the noise; pixels are in [0, 1].
    dtype: "fp32", or "bf16", which is several times faster on recent CPUs. It is part of what is certified.
    batch, workers: rows at once (None: chosen by image size) and threads (None: one a core); neither changes the noise.

        smoothed = SmoothedClassifier(model, "photo", sigma=0.25)
        certificate = smoothed.certify(image)        # uint8, H x W x C
        print(certificate.label, certificate.radius)
    """

    def __init__(
        self,
        classifier: nn.Module | Classifier | str,
        denoiser: Denoiser | Callable[[Tensor, float], Tensor] | str | Path | None,
        sigma: float,
        *,
        dtype: str = "fp32",
        batch: int | None = None,
        workers: int | None = None,
        certifier: Certifier | None = None,
    ) -> None:
        self.noise = Gaussian(sigma)
        self.certifier: Certifier = certifier or Multiclass()
        self.classifier = load_classifier(classifier) if isinstance(classifier, str) else as_classifier(classifier)
        if isinstance(denoiser, (str, Path)):
            denoiser = None if denoiser == "none" else load_denoiser(denoiser)
        self.denoiser = denoiser
        trained = getattr(denoiser, "sigma_range", None)
        if trained is not None and not trained[0] <= self.noise.sigma <= trained[1]:
            warnings.warn(
                f"the denoiser was trained for sigma {trained[0]:g} to {trained[1]:g}; {self.noise.sigma:g} is outside",
                stacklevel=2,
            )
        remote = self.classifier if isinstance(self.classifier, RemoteClassifier) else None
        self.batch = remote.batch if batch is None and remote is not None else batch
        least = 1 if remote is None else remote.workers
        self.workers = max(_cores(), least) if workers is None else check_count(workers, "workers")
        self.pipeline = Pipeline(self.classifier, self.denoiser, self.noise.sigma, dtype=dtype, copies=self.workers)
        self._scheduler = Scheduler(self.pipeline, self.noise, self.batch, self.workers)

    def certify(
        self,
        images: npt.ArrayLike,
        *,
        n0: int = 100,
        n: int = 1000,
        alpha: float = 0.001,
        norm: float = 2.0,
        seed: int | None = None,
    ) -> Certificate | list[Certificate]:
        """The certificate of an image (H, W, C) with 1 or 3 channels, or the list of a batch (N, H, W, C).

        n0 votes choose the label, n others bound its probability; each certificate is wrong with probability at most
        alpha. uint8, or floats that are exactly k/255; anything else raises BadImage. `seed` makes the noise
        reproducible; without it the noise follows from a fresh key of the operating system.
        """
        alpha, norm = check_level(alpha), check_norm(norm)
        demand = {Phase.SELECTION: n0, Phase.ESTIMATION: n}
        batch = _batch(images)
        certificates = [
            self.certifier.certify(
                poll.votes(Phase.SELECTION),
                poll.votes(Phase.ESTIMATION),
                self.noise,
                alpha=alpha,
                norm=norm,
                dim=poll.image.pixels.size,
            )
            for poll in self.polls(batch, demand, MasterKey.draw(seed))
        ]
        return certificates if _is_batch(images) else certificates[0]

    def predict(
        self, images: npt.ArrayLike, *, n: int = 100, alpha: float = 0.001, seed: int | None = None
    ) -> Prediction | list[Prediction]:
        """The most probable answer under the noise for an image or each image of a batch, or an abstention.

        An answer that is given is wrong, in the sense that another label is more probable, with probability at most
        alpha. Images and seed as in `certify`.
        """
        alpha = check_level(alpha)
        polls = self.polls(_batch(images), {Phase.PREDICTION: n}, MasterKey.draw(seed))
        predictions = [predict_votes(poll.votes(Phase.PREDICTION), alpha) for poll in polls]
        return predictions if _is_batch(images) else predictions[0]

    def polls(
        self,
        images: Iterable[LabelledImage],
        demand: dict[Phase, int],
        key: MasterKey,
        *,
        on_votes: OnVotes | None = None,
    ) -> Iterator[Poll]:
        """The votes on a stream of images of any length, as each image is finished."""
        if on_votes is None:
            return self._scheduler.run(images, demand, key)
        return self._scheduler.run(images, demand, key, on_votes=on_votes)


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _is_batch(images: npt.ArrayLike) -> bool:
    return as_array(images, name="images").ndim == 4


def _batch(images: npt.ArrayLike) -> list[LabelledImage]:
    array = as_array(images, name="images")
    if array.ndim != 4:
        return [LabelledImage("image", check_pixels(array))]
    return [LabelledImage(f"image {i}", check_pixels(one, name=f"image {i}")) for i, one in enumerate(array)]
