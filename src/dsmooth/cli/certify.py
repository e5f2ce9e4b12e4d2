"""Certify images into a run folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from dsmooth.cli.expense import agreed, spent
from dsmooth.cli.options import ALL, FLAG, LOCAL, Data, Model, Service, Whole
from dsmooth.console import Bar, certificate_line, note, say

__all__ = ["certify"]


def certify(
    images: Path,
    /,
    *,
    out: Annotated[Path, Parameter(alias="-o")],
    model: Model,
    data: Data = ALL,
    service: Service = LOCAL,
    n0: Whole = 100,
    n: Whole = 1000,
    alpha: float = 0.001,
    norm: float = 2.0,
    bound: Literal["multiclass", "cohen"] = "multiclass",
    seed: Whole | None = None,
    resume: Annotated[bool, FLAG] = False,
) -> None:
    """Certify images: a label, and a radius within which no change of the pixels alters it.

    Writes a run folder (one record an image, each on disk as soon as it is done); after an interruption the same
    command with --resume goes on. `dsmooth report RUN` makes tables and a page of it.

    Examples:

        dsmooth certify photos/ -c efficientnet-lite0 --sigma 0.25 --n 1000 --dtype bf16 --out runs/photos

        dsmooth certify cifar-10-batches-bin/ -c cifar:resnet56@resnet56.safetensors -d dncnn.safetensors
        --sigma 0.25 --n 10000 --skip 20 --out runs/cifar

        dsmooth certify cat.png -c timm:resnet50 --norm inf --out runs/cat

        dsmooth certify photos/ -c azure:image-analysis --label-map animals.json --n 100 --max-dollars 5
        --dry-run --out runs/azure

    Parameters
    ----------
    images: Path
        A folder or zip of images (class sub-folders become labels), one image, a CIFAR-10 binary folder, or an .npz.
    out: Path
        The run folder to write.
    n0: int
        Votes that choose the label.
    n: int
        Votes that bound its probability.
    alpha: float
        Probability with which a certificate may be wrong.
    norm: float
        1 to inf: the distance in which the radius is given.
    bound: Literal["multiclass", "cohen"]
        multiclass certifies more; cohen is the one that papers quote. The report shows both.
    seed: int | None
        Makes the noise reproducible. By default it follows from a fresh key of the operating system.
    resume: bool
        Go on with the run in --out.
    """
    from dsmooth.records.store import check_free
    from dsmooth.theory.bounds import check_count, check_level
    from dsmooth.theory.certificate import certifier_named, least_votes
    from dsmooth.theory.noises import check_norm

    check_level(alpha)
    check_norm(norm)
    check_count(n0, "n0")
    check_count(n, "n")
    if seed is not None:
        check_count(seed, "seed", least=0)
    data.check()
    check_free(out, resume)
    if n < (least := least_votes(certifier_named(bound), alpha)):
        note(f"with n {n} and alpha {alpha:g} every image abstains: at least {least} votes are needed")
    smoothed = model.smoothed(bound, service)

    from dsmooth.runs.certify import Progress, certify_run

    chosen = data.open(images, smoothed.classifier)
    remote = smoothed.pipeline.remote
    if remote is not None and not agreed(remote, service, len(chosen) * (n0 + n), out):
        return
    names = smoothed.classifier.class_names
    finished = 0

    with Bar("certify", len(chosen) * (n0 + n), "samples") as bar:

        def show(progress: Progress) -> None:
            nonlocal finished
            if progress.finished is not None and progress.certificate is not None:
                finished += 1
                record = progress.finished
                bar.say(certificate_line(record.name, progress.certificate, names, record.label))
            done = len(chosen) * (n0 + n) - progress.samples_in_all + progress.samples
            bar.to(done, f"{finished + (len(chosen) - progress.samples_in_all // (n0 + n))} of {len(chosen)} images")

        run = certify_run(
            smoothed,
            chosen,
            out,
            n0=n0,
            n=n,
            alpha=alpha,
            norm=norm,
            seed=seed,
            resume=resume,
            on_progress=show,
            on_notice=note,
        )
    certified = sum(record.answer is not None for record in run.records)
    right = sum(record.answer is not None and record.answer == record.label for record in run.records)
    labelled = all(record.label is not None for record in run.records)
    say(
        f"{certified} of {len(run.records)} images certified{f', {right} with the right label' if labelled else ''} "
        f"(sigma {model.sigma:g}, alpha {alpha:g}, {len(run.records) * (n0 + n):,} samples)",
        *([] if remote is None else [spent(remote, out)]),
        f"run: {out}",
        f"next: dsmooth report {out}",
    )
