"""SmoothedClassifier, the main entry point."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dsmooth.backends.base import CannotRun
from dsmooth.backends.choice import candidates
from dsmooth.backends.eager import cores
from dsmooth.backends.networks import copy_for_inference
from dsmooth.classifiers.adapting import as_classifier
from dsmooth.classifiers.base import Classifier, checked_names
from dsmooth.classifiers.specs import load_classifier
from dsmooth.denoisers.base import Denoiser
from dsmooth.denoisers.loading import load_denoiser
from dsmooth.errors import BadModel, BadParameter
from dsmooth.images.given import Given
from dsmooth.images.sets import LabelledImage
from dsmooth.records.question import PREDICTION, Question
from dsmooth.smoothing.batch_size import BatchSizes, fastest_batch, measured, trial_batch
from dsmooth.smoothing.chunks import GENERATOR, LIMITS, MasterKey
from dsmooth.smoothing.engines.base import Spread
from dsmooth.smoothing.engines.known import engine_kind, engine_named
from dsmooth.smoothing.engines.worker import Recipe, Worker
from dsmooth.smoothing.mismatches import mismatches
from dsmooth.smoothing.pipeline import Pipeline, denoiser_at, denoiser_digest, denoiser_name
from dsmooth.smoothing.scheduler import USUAL, Urgency
from dsmooth.smoothing.session import (
    Handle,
    OnNotice,
    OnRestart,
    OnVotes,
    Session,
    log_notice,
    no_restart,
    no_votes,
)
from dsmooth.smoothing.tally import Tally
from dsmooth.theory.bounds import check_count
from dsmooth.theory.certifiers import Certificate, Certifier, Multiclass
from dsmooth.theory.laws.base import Law
from dsmooth.theory.laws.gaussian import Gaussian
from dsmooth.theory.laws.known import introduce
from dsmooth.theory.modes import FIXED, Mode
from dsmooth.theory.prediction import Prediction
from dsmooth.theory.top_k import TopK
from dsmooth.theory.votes import Label, Phase

__all__ = ["SmoothedClassifier"]


class SmoothedClassifier:
    """A pretrained classifier, unchanged, with certified answers: the smoothed classifier.

    classifier: any torch.nn.Module from (B, C, H, W) images in [0, 1] to (B, K) logits (wrap it in TorchClassifier to
        add normalisation or class names), a Classifier, a spec string such as "timm:resnet50", a model with
        predict_proba or predict, or any function from images to scores or labels (see FunctionClassifier).
    denoiser: a Denoiser, any callable (x, sigma) -> x, the name of a shipped one, a folder or file, or None.
    sigma: noise level, the standard deviation of Gaussian noise with pixels in [0, 1]; or a Law, such as
        Uniform(levels=127).
    dtype: "fp32" for the networks as they are, "bf16", which is several times faster on recent processors, "tf32" (GPUs
        only), or "auto": bf16 if processor and networks support it, else fp32.
    backend: runtime of the networks: "eager" (torch), "openvino" (2 to 3 times faster on a CPU), "cuda", or "auto", the
        fastest that is installed and can run them; if one cannot, auto warns and takes the next.
    batch, workers: rows per batch (None: chosen by image size and backend), and threads or processes (None: one per core).
    certifier: the bound for modes fixed and radius; multiclass by default. TopK(5, classes=1000) for top-k certificates.
    ahead: whether to fill empty rows of a batch with votes that the mode may turn out not to need (and then not count);
        False where every vote costs money.
    engine: where the networks run: "threads" of this process; "ray", processes on this machine; "ray:auto", processes on
        the Ray cluster that this process runs in (extra ray; docs/guide/cluster.md). It does not affect votes.
    gpus: with ray, GPUs per process, possibly a fraction (None: 1 for the backend cuda).
    quantise: whether floats in [0, 1] off the grid of 1/255 are rounded to it, with a warning; otherwise they are refused,
        because certificates are about images on that grid.
    resize: whether images are resized and cropped to the classifier's `input_size`, as image files are.
    mirror: whether the classifier's logits are averaged over each denoised image and its mirror image, at twice its cost:
        another function, more accurate where left and right do not matter.

    Backend, dtype and batch are recorded; none of them changes the noise. A certificate is about the networks as they ran:
    in bf16 some votes differ from those in fp32. The networks are loaded and probed once, with the first image; `close`,
    or leaving a `with` block, releases them.

        smoothed = SmoothedClassifier(model, "photo", sigma=0.25)
        certificate = smoothed.certify(image)        # uint8, H x W x C
        print(certificate.answer, certificate.radius)
    """

    def __init__(
        self,
        classifier: nn.Module | Classifier | Callable[[Any], Any] | str,
        denoiser: Denoiser | Callable[[Tensor, float], Tensor] | str | Path | None,
        sigma: float | Law | None = None,
        *,
        law: Law | None = None,
        dtype: str = "auto",
        backend: str = "auto",
        batch: int | None = None,
        workers: int | None = None,
        certifier: Certifier | None = None,
        ahead: bool = True,
        engine: str = "threads",
        gpus: float | None = None,
        quantise: bool = False,
        resize: bool = False,
        mirror: bool = False,
    ) -> None:
        self.law = _law(sigma, law)
        self.certifier: Certifier = certifier or Multiclass()
        self.classifier = load_classifier(classifier) if isinstance(classifier, str) else as_classifier(classifier)
        if mirror:
            self.classifier = self.classifier.mirrored()
        checked_names(self.classifier.class_names)
        if isinstance(self.certifier, TopK) and self.classifier.classes not in (None, self.certifier.classes):
            raise BadParameter(
                f"{self.classifier.name} has {self.classifier.classes} classes, got {self.certifier.name}"
            )
        self.denoiser_name = denoiser_name(denoiser)
        if isinstance(denoiser, (str, Path)):
            denoiser = None if denoiser == "none" else load_denoiser(denoiser)
        self.denoiser = denoiser
        for mismatch in mismatches(self.classifier, denoiser, self.law):
            warnings.warn(mismatch, stacklevel=2)
        traits = self.classifier.traits
        if traits.billed:  # threads that wait cost nothing, votes do
            batch, ahead = batch or traits.rows, False
            workers = workers or max(cores(), traits.workers or 1)
        self.batch = batch if batch is None else check_count(batch, "batch", most=LIMITS["batch"])
        self._ahead = ahead
        workers = workers if workers is None else check_count(workers, "workers", most=LIMITS["workers"])
        self._spread = Spread(engine, workers, gpus)
        kind = engine_kind(engine)
        kind.check(self._spread, billed=traits.billed)
        self._here, self._threads = kind.here, workers if kind.here else 1
        self._candidates = candidates(backend, dtype)
        self._chosen = {"backend": backend != "auto", "dtype": dtype != "auto"}
        self._area: int | None = None
        self._choosing = threading.RLock()  # whoever comes first, from whichever thread, chooses for all
        self._session: Session | None = None
        self._worker = self._loaded(*self._candidates[0])
        self.given: Given = Given(channels=self._channels(), quantise=quantise, size=self._side() if resize else None)
        self._digests = {"classifier": self.classifier.digest(), "denoiser": denoiser_digest(denoiser)}

    @property
    def pipeline(self) -> Pipeline:
        """The base classifier as it runs here."""
        return self._worker.pipeline

    @property
    def sizes(self) -> BatchSizes:
        """Rows per batch for each image shape."""
        backend = self.pipeline.backend
        return BatchSizes(size=self.batch, area=self._area or backend.area, most=backend.most_rows)

    @property
    def session(self) -> Session:
        """The session of these networks: opened on first use, until `close`."""
        with self._choosing:
            if self._session is None:
                self._session = Session(
                    engine_named(self._spread, self._worker),
                    self.question(),
                    sizes=self.sizes,
                    ahead=self._ahead,
                    canaries=not self.classifier.traits.billed,  # a service has its own
                )
            return self._session

    def question(self, **terms: Any) -> Question:
        """The settings for an image, with these terms (n0, n, alpha, norm, mode, bound) instead of the defaults."""
        terms.setdefault("norm", self.law.norm)
        terms.setdefault("bound", self.certifier.name)
        return Question(
            law=self.law,
            **self._digests,  # type: ignore[arg-type]
            preparation=self.classifier.traits.preparation,
            **terms,
            dtype=self.pipeline.backend.dtype,
            backend=self.pipeline.backend.name,
            batch_size=self.batch,
            batch_area=self.sizes.area,
            generator=GENERATOR,
        )

    def settle(self, shape: tuple[int, ...], *, samples: int = 0) -> None:
        """Fixes backend, dtype and batch, chosen for images (H, W, C).

        If the choice of "auto" cannot run these networks, the next one is taken, with a warning. If there are enough
        `samples` for measuring to pay off, the batch is the fastest of a few sizes.
        """
        with self._choosing:
            self._choose(shape, samples)

    def _choose(self, shape: tuple[int, ...], samples: int) -> None:
        failed: BadModel | None = None
        while len(self._candidates) > 1 or failed is not None:
            try:
                self._try(shape)
                break
            except MemoryError:  # the session halves the batch
                self._candidates = self._candidates[:1]
                return
            except BadModel as error:
                self._candidates = _left(self._candidates, error)
                self._reload(*self._candidates[0])
                failed = error
        self._candidates = self._candidates[:1]
        if failed is not None:
            warnings.warn(f"{failed}; continuing with {' in '.join(self._candidates[0])}", stacklevel=2)
        if self.batch is None and self._area is None:
            rows = fastest_batch(self.pipeline, shape, self.sizes.rows(shape), samples)
            self._area = rows * shape[0] * shape[1]
            self.close()

    def seconds_a_sample(self, shape: tuple[int, ...]) -> float | None:
        """Approximate seconds per sample of an image (H, W, C), with all workers busy; None if unknown."""
        if self.classifier.traits.billed or not self._here:
            return None
        try:
            seconds = measured(self.pipeline, shape, self.sizes.rows(shape))
        except MemoryError:  # the session will find a smaller batch
            return None
        return seconds / self.pipeline.backend.workers

    def adopt(self, question: Question) -> None:
        """Takes backend and batch from an earlier run, unless the caller has chosen others."""
        backend, dtype = self._candidates[0]
        held = (
            backend if self._chosen["backend"] else question.backend,
            dtype if self._chosen["dtype"] else question.dtype,
        )
        if held != self._candidates[0]:
            self._reload(*held)
        self._candidates = [held]
        self._area = question.batch_area
        self.close()

    def certify(
        self,
        images: Any,
        *,
        n0: int = 100,
        n: int = 1000,
        alpha: float = 0.001,
        norm: float | None = None,
        mode: Mode = FIXED,
        seed: int | None = None,
    ) -> Certificate | list[Certificate]:
        """The certificate of an image, or the list of those of a batch.

        An image is an array (H, W, C) with 1 or 3 channels, a tensor (C, H, W) or a Pillow image; a batch has one axis
        more, or is a list of images. Pixels are uint8, or floats that are exactly k/255; anything else raises BadImage
        (see `quantise`). Grey becomes RGB, with a warning, if denoiser or classifier take nothing else.
        n0 votes choose the label, n others bound its probability; each certificate is wrong with probability at most
        alpha. norm: the norm of the radius, from 1 to inf, by default the native norm of the noise (2 for Gaussian, 1 for
        uniform). `mode` says how many of the n votes are drawn: Mode("curve", radii=(0.25, 0.5)) stops once it is known
        which of these radii hold. `seed` makes the noise reproducible; without it the noise comes from a new random key of
        the operating system.
        """
        terms = {"n0": n0, "n": n, "alpha": alpha, "norm": self.law.norm_or_own(norm), "mode": mode}
        asked = self.question(**terms)  # complains of bad numbers first
        batch, alone = self.given.listed(images)
        if batch:
            self.settle(batch[0].pixels.shape, samples=len(batch) * (asked.n0 + asked.n))
        question = self.question(**terms)
        found = {tally.image.name: tally.certificate(question) for tally in self._votes(batch, question, seed)}
        certificates = [found[image.name] for image in batch]
        return certificates[0] if alone else certificates

    def certify_stream(
        self,
        source: Any,
        *,
        n0: int = 100,
        n: int = 1000,
        alpha: float = 0.001,
        norm: float | None = None,
        mode: Mode = FIXED,
        seed: int | None = None,
    ) -> Iterator[tuple[LabelledImage, Certificate]]:
        """The images of a data set or DataLoader of any length with their certificates, each as soon as it is finished.

        `source` yields images or batches, alone or with labels; an image's name is its position. Terms as in `certify`.
        """
        terms = {"n0": n0, "n": n, "alpha": alpha, "norm": self.law.norm_or_own(norm), "mode": mode}
        self.question(**terms)  # complains of bad numbers first
        images = self.given.stream(source)
        first = next(images, None)
        if first is None:
            return
        self.settle(first.pixels.shape)
        question = self.question(**terms)
        for tally in self.tallies(chain([first], images), question, MasterKey.draw(seed)):
            yield tally.image, tally.certificate(question)

    def predict(
        self, images: Any, *, n: int = 100, alpha: float = 0.001, seed: int | None = None
    ) -> Prediction | list[Prediction]:
        """The most probable label under the noise for an image or each image of a batch, or an abstention.

        An answer is wrong, meaning that another label is more probable, with probability at most alpha. Images and seed as
        in `certify`.
        """
        terms = {"n": n, "alpha": alpha, "bound": PREDICTION}
        self.question(**terms)  # complains of bad numbers first
        batch, alone = self.given.listed(images)
        if batch:
            self.settle(batch[0].pixels.shape)
        question = self.question(**terms)
        found = {tally.image.name: tally.prediction(question) for tally in self._votes(batch, question, seed)}
        predictions = [found[image.name] for image in batch]
        return predictions[0] if alone else predictions

    def submit(
        self,
        image: Any,
        *,
        question: Question | None = None,
        urgency: Urgency = USUAL,
        on_votes: OnVotes = no_votes,
    ) -> Handle:
        """Submits one image, from any thread, to be processed together with all others; returns at once.

        Its noise key is drawn from the operating system now. The handle gives the votes:
        `handle.result().certificate(question)`.
        """
        asked = self.given.image(image)
        self.settle(asked.pixels.shape)
        return self.session.submit(asked, question or self.question(), urgency=urgency, on_votes=on_votes)

    def tallies(
        self,
        images: Iterable[LabelledImage],
        question: Question,
        key: MasterKey,
        *,
        on_votes: OnVotes = no_votes,
        on_restart: OnRestart = no_restart,
        on_notice: OnNotice = log_notice,
    ) -> Iterator[Tally]:
        """The votes on a stream of images of any length, each image as soon as it is finished."""
        return self.session.drain(images, question, key, on_votes=on_votes, on_restart=on_restart, on_notice=on_notice)

    def replay(
        self,
        image: LabelledImage,
        streams: Mapping[Phase, bytes],
        samples: Sequence[tuple[Phase, int]],
        on_chance: Callable[[bool], None] = lambda chance: None,
    ) -> Iterator[Label | None]:
        """The answers to these samples of recorded streams, in their order; `on_chance`: whether they are left to chance."""
        return self.session.replay(image, streams, samples, on_chance)

    def close(self) -> None:
        """Closes the session, if there is one; the next image opens another."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def __enter__(self) -> SmoothedClassifier:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _votes(self, batch: Sequence[LabelledImage], question: Question, seed: int | None) -> Iterator[Tally]:
        return self.tallies(batch, question, MasterKey.draw(seed))

    def _channels(self) -> int | None:
        """Channels of the images that denoiser and classifier take, where one of them says so."""
        return self.denoiser.channels if isinstance(self.denoiser, Denoiser) else self.classifier.channels

    def _side(self) -> int:
        if self.classifier.input_size is None:
            raise BadParameter(f"{self.classifier.name} does not state its image size: resize the images yourself")
        return self.classifier.input_size

    def _try(self, shape: tuple[int, ...]) -> None:
        """The networks have run once on images of this shape; a service is not asked."""
        trial = trial_batch(shape, self.sizes.rows(shape))
        _ = self.pipeline.images(trial) if self.classifier.traits.billed else self.pipeline.labels(trial)

    def _loaded(self, backend: str, dtype: str) -> Worker:
        return Worker(Recipe(self.classifier, self.denoiser, self.law, backend, dtype), self._threads)

    def _reload(self, backend: str, dtype: str) -> None:
        self.close()
        self._worker = self._loaded(backend, dtype)

    def denoised_logits(self, logits: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        """The logits of noisy images behind the denoiser, float32, open to gradients: for attacks, not for votes."""
        clean = denoiser_at(self.denoiser, self.law.level)
        if clean is None:
            return logits
        if isinstance(clean, nn.Module):
            clean = copy_for_inference(clean, torch.float32)
        return lambda noisy: logits(clean(noisy))


def _law(sigma: float | Law | None, law: Law | None) -> Law:
    """The noise that was asked for, in either way."""
    if (sigma is None) == (law is None):
        raise BadParameter("pass the noise once: sigma=0.25 for Gaussian noise, or law=Uniform(levels=127) for another")
    given: Any = sigma if law is None else law
    if isinstance(given, list | tuple) and len(given) > 1:
        raise BadParameter(f"for several sigmas use CascadedClassifier(..., sigmas={list(given)})")
    return introduce(given) if isinstance(given, Law) else Gaussian(given)  # it complains


def _left(candidates: Sequence[tuple[str, str]], error: BadModel) -> list[tuple[str, str]]:
    """What may still run these networks when the first of these backends and dtypes does not; raises the error where
    nothing may: another backend helps where this one cannot run them, another dtype where they cannot run in this one.
    """
    (_, dtype), *others = candidates
    left = others if isinstance(error, CannotRun) else [each for each in others if each[1] != dtype]
    if not left:
        raise error
    return left
