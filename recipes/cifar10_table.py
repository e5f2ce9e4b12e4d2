"""CIFAR-10, by kind of access: Table 1 of Salman et al. 2020, the best of several sigma at each radius.

    python -m recipes.cifar10_table [ROW ...] [--classifier resnet56] [--n 10000] [--sigma 0.12 0.25 0.5 1.0] [--every 1]
    python -m recipes.cifar10_table ROW ... --held-out [--distort 0.2] --every 5 --n 400 --mode fixed

Rows: none (no denoiser), or denoisers as `dsmooth certify -d` takes them. n0 = 100, alpha = .001, Cohen's bound, bf16.
--every 1 takes the 500 images of the paper, --every 5 a fifth of them. --held-out takes the 1,250 training images that no
denoiser was trained on, to choose among denoisers; the classifiers know them by heart, unless --distort changes them (with
.2, ResNet-56 is right on 95.4 %, on test images on 94.8). Mode curve stops an image as soon as it is settled which radii
hold, at the same alpha. Mode fixed draws all n: its report has the multiclass bound beside Cohen's, and the cascade of all
sigmas is a row of its own, from the same votes (`dsmooth certify --cascade` asks for fewer). --mirror averages the
classifier's logits over mirror images. Interrupted, the same command goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import cyclopts

from dsmooth.cli.options import MANY
from dsmooth.errors import BadParameter
from dsmooth.records.record_file import in_order
from dsmooth.records.schema import votes_from_json
from dsmooth.records.store import Run, read_run
from dsmooth.theory.cascade import Cascade, ScaleVotes, majority
from recipes.cifar10 import classifier as spec_of
from recipes.cifar10 import held_out_images, test_images
from recipes.experiment import certify, main, mode_named, report

RADII = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
SIGMAS = [0.12, 0.25, 0.5, 1.0]
ROWS = ["none", "cifar10-mse", "cifar10-white"]


def table(
    *rows: str,
    every: int = 1,
    held_out: bool = False,
    distort: float = 0.0,
    classifier: Literal["resnet20", "resnet32", "resnet56"] = "resnet56",
    n: int = 10_000,
    sigma: Annotated[list[float], MANY] = SIGMAS,
    mode: Literal["curve", "fixed"] = "curve",
    mirror: bool = False,
    workers: int | None = None,
) -> None:
    """Certify ROWS (by default no denoiser, and those that ship for CIFAR-10) and print their tables."""
    if distort and not held_out:
        raise BadParameter("--distort is for --held-out: test images stay as they are")
    images = (held_out_images(distort) if held_out else test_images())[::every]
    chosen = mode_named(mode, (0.0, *RADII))
    for row in rows or ROWS:
        setting = f"{classifier}{'-mirror' * mirror}{'-held-out' * held_out}{f'-distort{distort:g}' if distort else ''}"
        title = f"cifar10-table-{_short(row)}-{setting}-every{every}-{mode}{n}"
        runs = [
            certify(
                f"{title}-sigma{value:g}",
                images,
                spec_of(classifier),
                None if row == "none" else row,
                value,
                n=n,
                mode=chosen,
                workers=workers,
                mirror=mirror,
            )
            for value in sigma
        ]
        report(title, runs, (0.0, *RADII))
        if mode == "fixed" and len(sigma) > 1:
            print(_cascade_line([read_run(run) for run in runs]))


def _cascade_line(runs: Sequence[Run]) -> str:
    """The cascade of these runs' sigmas: certified accuracy in %, abstentions, and the share that each scale answers."""
    ranked = sorted(runs, key=lambda run: run.question.law.level, reverse=True)
    cascade = Cascade(tuple(run.question.law.level for run in ranked))
    found = []
    for scales in zip(*(in_order(run.records) for run in ranked), strict=True):
        votes = []
        for record in scales:
            votes.append(ScaleVotes(votes_from_json(record.selection), votes_from_json(record.estimation)))
            if majority(votes[-1].selection) is not None:
                break
        found.append((scales[0].label, cascade.certify(votes, alpha=record.question.alpha, dim=record.dim)))
    radii = (0.0, *RADII)
    cells = [100 * sum(c.answer == label and c.radius > r for label, c in found) / len(found) for r in radii]
    shares = [100 * sum(c.scale == law for _, c in found) / len(found) for law in cascade.laws]
    answered = ", ".join(f"{law.sigma:g}: {share:.1f}" for law, share in zip(cascade.laws, shares, strict=True))
    told = " | ".join(f"{cell:.1f}" for cell in cells)
    return (
        f"| cascade | {100 * sum(c.abstained for _, c in found) / len(found):.1f} | {told} | (answered at {answered})"
    )


def _short(row: str) -> str:
    """The row's name in that of its runs; what was trained here is never taken for what ships under the same name."""
    path = Path(row.rpartition(":")[2])
    return f"{path.parent.name}-trained" if path.name == "model.safetensors" else path.name.removesuffix(".safetensors")


if __name__ == "__main__":
    app = cyclopts.App(name="python -m recipes.cifar10_table", help=__doc__)
    app.default(table)
    main(app)
