"""CascadedClassifier: several strengths of noise as one classifier."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

from torch import Tensor, nn

from dsmooth.classifiers.adapting import as_classifier
from dsmooth.classifiers.base import Classifier
from dsmooth.classifiers.specs import load_classifier
from dsmooth.denoisers.base import Denoiser
from dsmooth.denoisers.loading import load_denoiser
from dsmooth.errors import BadParameter
from dsmooth.smoothing.smoothed import SmoothedClassifier
from dsmooth.theory.cascade import Cascade, CascadeCertificate, ScaleVotes, majority
from dsmooth.theory.certifiers import Certificate
from dsmooth.theory.prediction import Prediction
from dsmooth.theory.votes import Votes

__all__ = ["CascadedClassifier"]


class CascadedClassifier:
    """A pretrained classifier smoothed at several noise levels: the largest sigma at which a label has a majority decides.

    Images recognised under strong noise get a large radius; for the others, smaller sigmas decide. All scales together are
    one classifier with one certificate: no best of several is chosen afterwards.

    sigmas: two or more standard deviations of Gaussian noise, pixels in [0, 1].
    classifier, denoiser, options: as for SmoothedClassifier, one of which serves each scale, with its own networks.

        cascaded = CascadedClassifier(model, "cifar10-white", sigmas=[1.0, 0.5, 0.25])
        certificate = cascaded.certify(image)
        print(certificate.answer, certificate.radius, certificate.scale)
    """

    def __init__(
        self,
        classifier: nn.Module | Classifier | Callable[[Any], Any] | str,
        denoiser: Denoiser | Callable[[Tensor, float], Tensor] | str | Path | None,
        sigmas: Sequence[float],
        **options: Any,
    ) -> None:
        if strange := {"law", "sigma", "certifier"} & options.keys():
            raise BadParameter(f"a cascade has Gaussian noise of its sigmas and its own bound: leave out {strange}")
        self.cascade = Cascade(tuple(sigmas))
        loaded = load_classifier(classifier) if isinstance(classifier, str) else as_classifier(classifier)
        if isinstance(denoiser, str | Path):
            denoiser = None if denoiser == "none" else load_denoiser(denoiser)
        self.scales = [
            SmoothedClassifier(loaded, denoiser, law=law, certifier=self.cascade.bound, **options)
            for law in self.cascade.laws
        ]

    def certify(
        self,
        images: Any,
        *,
        n0: int = 100,
        n: int = 1000,
        alpha: float = 0.001,
        norm: float | None = None,
        seed: int | None = None,
    ) -> CascadeCertificate | list[CascadeCertificate]:
        """The certificate of an image, or the list of those of a batch; images, terms and seed as for SmoothedClassifier.

        Each scale that an image reaches draws n0 and n votes. Each certificate is wrong with probability at most alpha.
        """
        listed, alone = self.scales[0].given.listed(images)
        batch = [image.pixels for image in listed]
        drawn: list[list[Certificate]] = [[] for _ in batch]
        left = list(range(len(batch)))
        for scale in self.scales:
            if not left:
                break
            found = scale.certify([batch[i] for i in left], n0=n0, n=n, alpha=alpha, norm=norm, seed=seed)
            for i, certificate in zip(left, found if isinstance(found, list) else [found], strict=True):
                drawn[i].append(certificate)
            left = [i for i in left if majority(drawn[i][-1].selection) is None]
        certificates = [
            self.cascade.certify(
                [ScaleVotes(each.selection, each.estimation) for each in scales],
                alpha=alpha,
                norm=norm,
                dim=scales[0].dim,
            )
            for scales in drawn
        ]
        return certificates[0] if alone else certificates

    def predict(
        self, images: Any, *, n: int = 100, alpha: float = 0.001, seed: int | None = None
    ) -> Prediction | list[Prediction]:
        """The cascade's answer at an image or each image of a batch, or an abstention.

        Each scale that an image reaches draws n votes.
        An answer differs from the cascade's with probability at most alpha.
        """
        listed, alone = self.scales[0].given.listed(images)
        batch = [image.pixels for image in listed]
        drawn: list[list[Votes]] = [[] for _ in batch]
        answers: dict[int, Prediction] = {}
        for scale in self.scales:
            left = [i for i in range(len(batch)) if i not in answers]
            if not left:
                break
            found = scale.predict([batch[i] for i in left], n=n, alpha=self.cascade.level(alpha), seed=seed)
            for i, prediction in zip(left, found if isinstance(found, list) else [found], strict=True):
                drawn[i].append(prediction.votes)
                if (answer := self.cascade.predict(drawn[i], alpha=alpha)) is not None:
                    answers[i] = answer
        predictions = [answers[i] for i in range(len(batch))]
        return predictions[0] if alone else predictions

    def close(self) -> None:
        """Releases the networks."""
        for scale in self.scales:
            scale.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
