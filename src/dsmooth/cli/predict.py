"""Classify images by majority under noise."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

from dsmooth.cli.expense import agreed
from dsmooth.cli.options import ALL, LOCAL, Data, Model, Service, Whole
from dsmooth.cli.setting_up import heard_at_once, tell_pace
from dsmooth.console import Bar, note, prediction_line

__all__ = ["predict"]


def predict(
    images: Path,
    /,
    *,
    model: Model,
    data: Data = ALL,
    service: Service = LOCAL,
    n: Whole = 100,
    alpha: float = 0.001,
    seed: Whole | None = None,
) -> None:
    """Classify images by majority under noise, or abstain where the majority could be chance. Writes nothing.

    Examples:

        dsmooth predict cat.png -c efficientnet-lite0 --sigma 0.5

        dsmooth predict photos/ -c timm:resnet50@resnet50.safetensors --n 200

    Parameters
    ----------
    images: Path
        A folder or zip of images, one image, a CIFAR-10 binary folder, or an .npz.
    n: int
        Votes.
    alpha: float
        Probability with which an answer may be another than the most probable one.
    seed: int | None
        Makes the noise reproducible.
    """
    from dsmooth.theory.bounds import check_count, check_level
    from dsmooth.theory.prediction import predict_votes
    from dsmooth.theory.votes import Votes

    check_level(alpha)
    check_count(n, "n")
    data.check()
    if predict_votes(Votes({0: n}, n), alpha).abstained:
        note(f"with n {n} and alpha {alpha:g} every image abstains: more votes are needed")
    with heard_at_once():
        smoothed = model.smoothed(service=service)

        from dsmooth.records.question import PREDICTION
        from dsmooth.smoothing.chunks import MasterKey

        chosen, _ = data.open(images, smoothed.classifier)
        if smoothed.classifier.traits.billed and not agreed(smoothed.classifier, service, len(chosen), n):
            return
        if not chosen:
            return
        smoothed.classifier.ping()
        shape = chosen[0].pixels.shape
        smoothed.settle(shape)
        tell_pace(smoothed, shape, len(chosen) * n, chosen=model.dtype != "auto")
    question = smoothed.question(n=n, alpha=alpha, bound=PREDICTION)
    done = 0
    with closing(smoothed.classifier), Bar("predict", len(chosen) * n, "samples") as bar:

        def count(tally: Any, chunk: Any, labels: Any) -> None:
            nonlocal done
            done += chunk.count
            bar.to(done)

        for tally in smoothed.tallies(chosen, question, MasterKey.draw(seed), on_votes=count):
            prediction = tally.prediction(question)
            bar.say(prediction_line(tally.image.name, prediction, smoothed.classifier.class_names, tally.image.label))
