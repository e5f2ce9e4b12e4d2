"""Classify images by majority under noise."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from dsmooth.cli.expense import agreed
from dsmooth.cli.options import ALL, FLAG, LOCAL, Cascaded, Data, Model, ServiceOfRun, Whole
from dsmooth.cli.setting_up import heard_at_once, tell_pace
from dsmooth.console import Bar, note, prediction_line

if TYPE_CHECKING:
    from dsmooth.theory.prediction import Prediction

__all__ = ["predict"]


def predict(
    images: Path,
    /,
    *,
    model: Model,
    data: Data = ALL,
    service: ServiceOfRun = LOCAL,
    n: Whole = 100,
    alpha: float = 0.001,
    cascade: Annotated[bool, FLAG] = False,
    seed: Whole | None = None,
) -> None:
    """Classify images by majority vote under noise, abstaining where the majority could be chance. Writes nothing.

    Examples:

        dsmooth predict cat.png -c efficientnet-lite0 --sigma 0.5

        dsmooth predict photos/ -c timm:resnet50@resnet50.safetensors --n 200

        dsmooth predict photos/ -c timm:resnet50@resnet50.safetensors --sigma 0.5 --sigma 0.25 --cascade

    Parameters
    ----------
    images: Path
        A folder or zip of images, one image, a CIFAR-10 binary folder, or an .npz.
    n: int
        Votes per image.
    alpha: float
        Failure probability: an upper bound on the chance that an answer is not the smoothed classifier's.
    cascade: bool
        Combine several --sigma into one classifier: the largest sigma at which a label has a majority decides.
    seed: int | None
        Makes the noise reproducible.
    """
    from dsmooth.theory.bounds import check_count, check_level
    from dsmooth.theory.prediction import predict_votes
    from dsmooth.theory.votes import Votes

    check_level(alpha)
    check_count(n, "n")
    data.check()
    scales = Cascaded.of(model) if cascade else None
    level = alpha if scales is None else scales.cascade.level(alpha)
    if predict_votes(Votes({0: n}, n), level).abstained:
        note(f"with n {n} and alpha {alpha:g} every image abstains: pass a larger --n or --alpha")
    if scales is None:
        _at(images, model, data, service, n=n, alpha=alpha, seed=seed, answer=lambda name, prediction: prediction)
        return
    drawn: dict[str, list[Votes]] = defaultdict(list)
    left: list[str] | None = None
    decide = scales.cascade.predict

    def answer(name: str, prediction: Prediction) -> Prediction | None:
        drawn[name].append(prediction.votes)
        return decide(drawn[name], alpha=alpha)

    for each in scales.models:
        left = _at(images, each, data, service, n=n, alpha=level, seed=seed, answer=answer, only=left)
        if not left:
            break


def _at(
    images: Path,
    model: Model,
    data: Data,
    service: ServiceOfRun,
    *,
    n: int,
    alpha: float,
    seed: int | None,
    answer: Callable[[str, Prediction], Prediction | None],
    only: Collection[str] | None = None,
) -> list[str]:
    """The images (only these by name, where not all) that get no answer under one law of noise; the others are said."""
    with heard_at_once():
        smoothed = model.smoothed(service=service)

        from dsmooth.records.question import PREDICTION
        from dsmooth.smoothing.chunks import MasterKey

        chosen, _ = data.open(images, smoothed.classifier)
        if only is not None:
            chosen = chosen.named(only)
        if smoothed.classifier.traits.billed and not agreed(smoothed.classifier, service, len(chosen), n):
            return []
        if not chosen:
            return []
        smoothed.classifier.ping()
        shape = chosen[0].pixels.shape
        smoothed.settle(shape)
        tell_pace(smoothed, shape, len(chosen) * n, chosen=model.dtype != "auto")
    question = smoothed.question(n=n, alpha=alpha, bound=PREDICTION)
    done, left = 0, []
    with closing(smoothed.classifier), Bar("predict", len(chosen) * n, "samples") as bar:

        def count(tally: Any, chunk: Any, labels: Any) -> None:
            nonlocal done
            done += chunk.count
            bar.to(done)

        for tally in smoothed.tallies(chosen, question, MasterKey.draw(seed), on_votes=count):
            name = tally.image.name
            if (prediction := answer(name, tally.prediction(question))) is None:
                left.append(name)
            else:
                bar.say(prediction_line(name, prediction, smoothed.classifier.class_names, tally.image.label))
    return left
