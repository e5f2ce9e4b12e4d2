"""What pairs of votes are worth beside certifying a changed classifier anew, at equal radii.

    python -m recipes.changed_models [--names NAME ...] [--skip 50] [--n 10000] [--pairs 2000] [--workers 1]

CIFAR-10, ResNet-56 behind `cifar10-white`, sigma .25, in bfloat16, is certified with n votes an image. NAME takes its place:
its own weights in 8, 6 or 4 bits with a scale for each output channel; or ResNet-32. Each gets so many pairs an image, in
runs/. Of these the first 100, 250 and so on are taken for pairs, and all of them for the shares of the changed classifier's
own votes, from which the least number of votes follows that certifies the same radius anew (multiclass bound).
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from safetensors.torch import load_file, save_file

from dsmooth import SmoothedClassifier, load_classifier, load_denoiser
from dsmooth.classifiers.paired import PairedClassifier
from dsmooth.console import Bar, note
from dsmooth.images.sets import ImageSet
from dsmooth.records.changed import ChangedRun
from dsmooth.records.schema import votes_from_json
from dsmooth.runs.certify import Progress
from dsmooth.runs.changed import certify_changed_run
from dsmooth.runs.verify import read_evidence
from dsmooth.theory.certifiers import Multiclass
from dsmooth.theory.changed import certify_changed, pair_of, votes_of_changed
from dsmooth.theory.laws.base import Law
from dsmooth.theory.votes import Label, Votes, counted
from recipes.cifar10 import classifier, test_images
from recipes.experiment import RUNS, certify

FORMER = classifier("resnet56")
BITS = {"int8": 8, "int6": 6, "int4": 4}
DENOISER, SIGMA = "cifar10-white", 0.25
BANDS = ((0.0, 0.9), (0.9, 0.99), (0.99, 1.01))
TAKEN = (100, 250, 500, 1000, 2000, 5000)
MOST = 10_000_000
FEW = 1000


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--names", nargs="+", choices=[*BITS, "resnet32"], default=[*BITS, "resnet32"])
    parser.add_argument("--skip", type=int, default=50)
    parser.add_argument("--n", type=int, default=10_000)
    parser.add_argument("--pairs", type=int, default=2000)
    parser.add_argument("--workers", type=int)
    chosen = parser.parse_args()
    images = test_images()[:: chosen.skip]
    run = certify("changed-from", images, FORMER, DENOISER, SIGMA, n=chosen.n, workers=chosen.workers)
    made: dict[str, ChangedRun] = {}
    for name in chosen.names:
        out = RUNS / f"changed-{name}"
        with Bar(name, 0, "pairs") as bar:

            def show(progress: Progress, bar: Bar = bar) -> None:
                bar.to(progress.samples, of=progress.samples_in_all)

            made[name] = certify_changed_run(
                run, images, load_classifier(FORMER), load_classifier(model(name)), load_denoiser(DENOISER), out,
                pairs=chosen.pairs, workers=chosen.workers, resume=out.exists(), on_progress=show, on_notice=note,
            )  # fmt: skip
    table(made, [taken for taken in TAKEN if taken <= chosen.pairs])
    for name in chosen.names:
        print(f"{name}: a pair takes {cost(images, name):.2f} times the processor time of a vote")


def model(name: str) -> str:
    """The spec of what takes the former classifier's place; its weights lie in runs/ where they have to be made."""
    if name not in BITS:
        return classifier(name)
    kind, _, weights = FORMER.partition("@")
    path = RUNS / f"resnet56-{name}.safetensors"
    if not path.exists():
        save_file({key: rounded(tensor, BITS[name]) for key, tensor in load_file(weights).items()}, path)
    return f"{kind}@{path}"


def rounded(tensor: torch.Tensor, bits: int) -> torch.Tensor:
    """The tensor in so many bits, as float32 again: weights, by output channel, and nothing else."""
    if tensor.ndim < 2:
        return tensor
    scale = tensor.abs().flatten(1).amax(dim=1) / (2 ** (bits - 1) - 1)
    scale = scale.clamp_min(1e-12).view(-1, *[1] * (tensor.ndim - 1))
    return (tensor / scale).round() * scale


@dataclass(frozen=True)
class Image:
    """What is known of one image."""

    selection: Votes
    estimation: Votes
    labels: Sequence[Label | None]
    """Of all its pairs."""
    law: Law
    alpha: float
    dim: int

    @property
    def answer(self) -> Label:
        return self.selection.ranked()[0][0]

    def radius(self, pairs: int) -> float:
        """By the first so many pairs."""
        first = counted(self.labels[:pairs])
        return certify_changed(self.selection, self.estimation, first, self.law, alpha=self.alpha, dim=self.dim).radius

    @property
    def share(self) -> float:
        """Of the former votes, for the answer."""
        return self.estimation.of(self.answer) / self.estimation.trials

    @property
    def lost(self) -> float:
        """The part of the pairs in which the former gave the answer and the changed one did not."""
        both = [pair_of(label) for label in self.labels if label is not None]
        return sum(former == self.answer != changed for former, changed in both) / len(both)

    def votes_anew(self, radius: float) -> int | None:
        """So many votes of the changed classifier alone certify this radius; None where MOST do not."""
        own = votes_of_changed(counted(self.labels))

        def reaches(n: int) -> bool:
            votes = Votes({label: round(count * n / own.trials) for label, count in own.ranked()[:2]}, n)
            found = Multiclass().certify(self.selection, votes, self.law, alpha=self.alpha, dim=self.dim)
            return found.radius >= radius

        low, high = 0, 64
        while not reaches(high):
            low, high = high, 2 * high
            if high > MOST:
                return None
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if reaches(middle) else (middle, high)
        return high


def images_of(run: ChangedRun) -> Iterator[Image]:
    evidence, question = read_evidence(run.pairs.folder), run.before.question
    former = {record.name: record for record in run.before.records}
    for record in evidence.records:
        held = former[record.name]
        yield Image(
            votes_from_json(held.selection), votes_from_json(held.estimation), evidence.labels(record)[1:],
            question.law, question.alpha, held.dim,
        )  # fmt: skip


def table(made: dict[str, ChangedRun], numbers: Sequence[int]) -> None:
    """Prints a line for each changed classifier, band of the former share, and number of pairs."""
    print(
        "| in its place | former share | images | lost | pairs | certified | mean radius | votes anew | times fewer |"
    )
    print("| --- " * 9 + "|")
    for name, run in made.items():
        images = list(images_of(run))
        for low, high in BANDS:
            held = [image for image in images if low <= image.share < high]
            for pairs in numbers if held else ():
                print(row(f"{name} | {low:g} to {min(high, 1):g}", held, pairs))


def cost(images: ImageSet, name: str) -> float:
    """How many times the processor time of a vote a pair takes."""
    former, changed = load_classifier(FORMER), load_classifier(model(name))
    taken = []
    for asked in (former, PairedClassifier(former, changed)):
        with SmoothedClassifier(asked, DENOISER, SIGMA, dtype="bf16", workers=1) as smoothed:
            smoothed.predict(images[0].pixels, n=100)  # compiled and probed
            started = time.process_time()
            smoothed.predict(images[0].pixels, n=FEW)
            taken.append(time.process_time() - started)
    return taken[1] / taken[0]


def row(what: str, images: Sequence[Image], pairs: int) -> str:
    """A line of the table; the votes anew are the median over what is certified."""
    radii = [image.radius(pairs) for image in images]
    anew = [image.votes_anew(radius) for image, radius in zip(images, radii, strict=True) if radius > 0.0]
    known = [MOST if votes is None else votes for votes in anew]
    lost = statistics.fmean(image.lost for image in images)
    told = "- | -" if not known else f"{statistics.median(known):,.0f} | {statistics.median(known) / pairs:.2f}"
    return (
        f"| {what} | {len(images)} | {lost:.2%} | {pairs:,} | {len(known)} | {statistics.fmean(radii):.4f} | {told} |"
    )


if __name__ == "__main__":
    main()
