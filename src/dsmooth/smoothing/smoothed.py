"""SmoothedClassifier: the name users type."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy.typing as npt
import torch
from torch import Tensor, nn

from dsmooth.backends.base import CannotRun
from dsmooth.backends.choice import backend_named, fastest
from dsmooth.backends.eager import cores
from dsmooth.backends.networks import copy_for_inference
from dsmooth.classifiers.base import Classifier
from dsmooth.classifiers.remote import RemoteClassifier
from dsmooth.classifiers.specs import as_classifier, load_classifier
from dsmooth.denoisers.base import Denoiser
from dsmooth.denoisers.weights import load_denoiser
from dsmooth.images import LabelledImage, as_array, check_pixels
from dsmooth.smoothing.batch_size import fastest_batch, trial_batch
from dsmooth.smoothing.chunks import LIMITS, MasterKey, Phase
from dsmooth.smoothing.pipeline import Pipeline, denoiser_at
from dsmooth.smoothing.scheduler import OnRestart, OnVotes, Scheduler, no_restart, no_votes
from dsmooth.smoothing.tally import Tally
from dsmooth.theory.bounds import check_count, check_level
from dsmooth.theory.certifiers import Certificate, Certifier, Multiclass
from dsmooth.theory.modes import FIXED, Demand, Mode
from dsmooth.theory.noises import Gaussian
from dsmooth.theory.prediction import Prediction, predict_votes
from dsmooth.theory.votes import Label

__all__ = ["SmoothedClassifier"]


class SmoothedClassifier:
    """A pretrained classifier, unchanged, whose answers come with a proof.

    classifier: any torch.nn.Module from (B, C, H, W) images in [0, 1] to (B, K) logits (wrap it in TorchClassifier to
        add a normalisation or class names), a Classifier, or a spec string such as "timm:resnet50".
    denoiser: a Denoiser, any callable (x, sigma) -> x, the name of a shipped one, a folder or file, or None.
    sigma: standard deviation of the noise; pixels are in [0, 1].
    dtype: "fp32", or "bf16", which is several times faster on recent CPUs and GPUs ("tf32" on GPUs only).
    backend: what runs the networks: "eager" (torch), "openvino" (2 to 3 times faster on a CPU), "cuda", or "auto", the
        fastest that is installed and can run them; where OpenVINO cannot, auto warns and runs them in torch.
    batch, workers: rows at once (None: chosen by image size and backend) and threads (None: one a core).
    ahead: whether rows of a batch that would be empty go to votes that a mode may turn out not to need (they are not counted
        then); False where every vote costs money.

    Backend, dtype and batch are part of what is certified; none of them changes the noise.

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
        backend: str = "auto",
        batch: int | None = None,
        workers: int | None = None,
        certifier: Certifier | None = None,
        ahead: bool = True,
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
        if remote is not None:  # threads that wait cost nothing, votes do
            batch, ahead = batch or remote.batch, False
            workers = workers or max(cores(), remote.workers)
        self.batch = batch if batch is None else check_count(batch, "batch", most=LIMITS["batch"])
        self._dtype = dtype
        self._workers = workers if workers is None else check_count(workers, "workers", most=LIMITS["workers"])
        self._unsettled, self._ahead = backend == "auto", ahead
        self._scheduler = self._scheduled(fastest(dtype) if backend == "auto" else backend)

    @property
    def pipeline(self) -> Pipeline:
        """What is smoothed, as it runs here."""
        return self._scheduler.pipeline

    @property
    def pixels(self) -> int:
        """Height x width x rows of a batch, where `batch` is None."""
        return self._scheduler.pixels or self.pipeline.backend.pixels

    def settle(self, shape: tuple[int, ...], *, samples: int = 0) -> None:
        """From now on backend and batch stay as they are, chosen for images (H, W, C).

        A backend "auto" that cannot run these networks gives way to torch, with a warning. Where `samples` are so many
        that measuring pays, the batch is the fastest of a few sizes.
        """
        if self._unsettled:
            self._unsettled = False
            try:
                trial = trial_batch(shape, self._scheduler.rows(shape))
                _ = self.pipeline.labels(trial) if self.pipeline.remote is None else self.pipeline.images(trial)
            except CannotRun as error:
                warnings.warn(f"{error}; going on with eager", stacklevel=2)
                self._scheduler = self._scheduled("eager")
            except MemoryError:
                return  # the scheduler halves the batch
        if self.batch is None and self._scheduler.pixels is None:
            rows = fastest_batch(self.pipeline, shape, self._scheduler.rows(shape), samples)
            self._scheduler = replace(self._scheduler, pixels=rows * shape[0] * shape[1])

    def adopt(self, backend: str, pixels: int) -> None:
        """Backend and batch are those of an earlier run, where the caller has not chosen others."""
        if self._unsettled:
            self._unsettled = False
            self._scheduler = self._scheduled(backend)
        self._scheduler = replace(self._scheduler, pixels=pixels)

    def _scheduled(self, backend: str) -> Scheduler:
        chosen = backend_named(backend, self._dtype, self._workers)
        pipeline = Pipeline(self.classifier, self.denoiser, self.noise.sigma, chosen)
        return Scheduler(pipeline, self.noise, self.batch, ahead=self._ahead)

    def certify(
        self,
        images: npt.ArrayLike,
        *,
        n0: int = 100,
        n: int = 1000,
        alpha: float = 0.001,
        norm: float = 2.0,
        mode: Mode = FIXED,
        seed: int | None = None,
    ) -> Certificate | list[Certificate]:
        """The certificate of an image (H, W, C) with 1 or 3 channels, or the list of a batch (N, H, W, C).

        n0 votes choose the label, n others bound its probability; each certificate is wrong with probability at most
        alpha. `mode` says how many of the n votes are drawn: Mode("curve", radii=(0.25, 0.5)) stops when it is settled which
        of these radii hold. uint8, or floats that are exactly k/255; anything else raises BadImage. `seed` makes the noise
        reproducible; without it the noise follows from a fresh key of the operating system.
        """
        plan = mode.plan(self.certifier, self.noise, n=n, alpha=alpha, norm=norm)
        batch = _batch(images)
        demand: dict[Phase, Demand] = {Phase.SELECTION: check_count(n0, "n0"), Phase.ESTIMATION: plan.demand}
        if batch:
            self.settle(batch[0].pixels.shape, samples=len(batch) * (n0 + n))
        found = {
            tally.image.key: plan.certify(tally.votes(Phase.SELECTION), tally.estimation, tally.image.pixels.size)
            for tally in self.tallies(batch, demand, MasterKey.draw(seed))
        }
        certificates = [found[image.key] for image in batch]
        return certificates if _is_batch(images) else certificates[0]

    def predict(
        self, images: npt.ArrayLike, *, n: int = 100, alpha: float = 0.001, seed: int | None = None
    ) -> Prediction | list[Prediction]:
        """The most probable answer under the noise for an image or each image of a batch, or an abstention.

        An answer that is given is wrong, in the sense that another label is more probable, with probability at most
        alpha. Images and seed as in `certify`.
        """
        alpha = check_level(alpha)
        tallies = self.tallies(_batch(images), {Phase.PREDICTION: n}, MasterKey.draw(seed))
        predictions = [predict_votes(tally.votes(Phase.PREDICTION), alpha) for tally in tallies]
        return predictions if _is_batch(images) else predictions[0]

    def tallies(
        self,
        images: Iterable[LabelledImage],
        demand: Mapping[Phase, Demand],
        key: MasterKey,
        *,
        on_votes: OnVotes = no_votes,
        on_restart: OnRestart = no_restart,
    ) -> Iterator[Tally]:
        """The votes on a stream of images of any length, as each image is finished."""
        stream = iter(images)
        first = next(stream, None)
        if first is None:
            return iter(())
        self.settle(first.pixels.shape)
        return self._scheduler.run(chain([first], stream), demand, key, on_votes=on_votes, on_restart=on_restart)

    def replay(
        self, image: LabelledImage, streams: Mapping[Phase, bytes], samples: Sequence[tuple[Phase, int]]
    ) -> Iterator[list[Label | None]]:
        """The answers to these samples of recorded streams, batch by batch, in their order."""
        return self._scheduler.replay(image, streams, samples)

    def denoised_logits(self, logits: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        """The logits of noisy images behind the denoiser, float32, open to gradients: for attacks, not for votes."""
        clean = denoiser_at(self.denoiser, self.noise.sigma)
        if clean is None:
            return logits
        if isinstance(clean, nn.Module):
            clean = copy_for_inference(clean, torch.float32)
        return lambda noisy: logits(clean(noisy))


def _is_batch(images: npt.ArrayLike) -> bool:
    return as_array(images, name="images").ndim == 4


def _batch(images: npt.ArrayLike) -> list[LabelledImage]:
    array = as_array(images, name="images")
    if array.ndim != 4:
        return [LabelledImage("image", check_pixels(array))]
    return [LabelledImage(f"image {i}", check_pixels(one, name=f"image {i}")) for i, one in enumerate(array)]
