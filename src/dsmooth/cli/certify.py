"""Certify images into a run folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from dsmooth.cli.expense import agreed, spent
from dsmooth.cli.options import ALL, FLAG, LOCAL, MANY, Data, Model, Service, Whole
from dsmooth.console import Bar, certificate_line, note, say
from dsmooth.errors import BadParameter

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
    mode: Literal["fixed", "curve", "decision", "radius"] = "fixed",
    radii: Annotated[list[float] | None, MANY] = None,
    radius: float | None = None,
    price: Annotated[float | None, Parameter(name="--lambda")] = None,
    bound: Literal["multiclass", "cohen"] = "multiclass",
    seed: Whole | None = None,
    certificates: Path | None = None,
    resume: Annotated[bool, FLAG] = False,
) -> None:
    """Certify images: a label, and a radius within which no change of the pixels alters it.

    Writes a run folder (one record an image, each on disk as soon as it is done); after an interruption the same
    command with --resume goes on. `dsmooth report RUN` makes tables and a page of it.

    Examples:

        dsmooth certify photos/ -c efficientnet-lite0 --sigma 0.25 --n 1000 --dtype bf16 --out runs/photos

        dsmooth certify cifar-10-batches-bin/ -c cifar:resnet56@resnet56.safetensors -d dncnn.safetensors
        --sigma 0.25 --n 10000 --skip 20 --out runs/cifar

        dsmooth certify cat.png -c timm:resnet50 --norm inf --out runs/cat --certificates certificates/cat

        dsmooth certify photos/ -c timm:resnet50 --n 100000 --mode curve --radii 0 0.25 0.5 0.75 --out runs/curve

        dsmooth certify photos/ -c timm:resnet50 --n 10000 --mode decision --radius 0.5 --out runs/decision

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
        Votes that bound its probability; the most of them, where the mode is not fixed.
    alpha: float
        Probability with which a certificate may be wrong.
    norm: float
        1 to inf: the distance in which the radius is given.
    mode: Literal["fixed", "curve", "decision", "radius"]
        fixed: n votes an image, as in papers. curve: stops when it is settled which of --radii hold. decision: stops when it
        is settled whether --radius holds. radius: sizes n by the n0 votes alone. All keep alpha; the last three save votes.
    radii: list[float] | None
        For mode curve: the radii in question.
    radius: float | None
        For mode decision: the radius in question.
    price: float | None
        For mode radius: what a vote costs, in sigmas of radius; 0.1 / n by default.
    bound: Literal["multiclass", "cohen"]
        For the modes fixed and radius. multiclass certifies more; cohen is the one that papers quote. The report shows both.
    seed: int | None
        Makes the noise reproducible. By default it follows from a fresh key of the operating system.
    certificates: Path | None
        A new folder for one certificate file an image, which others can check with `dsmooth verify`.
    resume: bool
        Go on with the run in --out.
    """
    from dsmooth.records.certificate_file import check_certificates_folder, write_certificates
    from dsmooth.records.store import check_free
    from dsmooth.report.export import saving
    from dsmooth.theory.bounds import check_count, check_level, check_seed
    from dsmooth.theory.certifiers import certifier_named, least_votes
    from dsmooth.theory.mixture import MOST_TRIALS
    from dsmooth.theory.modes import Mode
    from dsmooth.theory.noises import Gaussian, check_norm
    from dsmooth.theory.stopping import RadiiRule

    check_level(alpha)
    check_norm(norm)
    check_count(n0, "n0")
    check_count(n, "n")
    chosen_mode = Mode(mode, _radii(mode, radii, radius), price)
    plan = chosen_mode.plan(bound, Gaussian(model.sigma), n=n, alpha=alpha, norm=norm)
    if seed is not None:
        check_seed(seed)
    data.check()
    check_free(out, resume)
    if certificates is not None:
        check_certificates_folder(certificates)
    if isinstance(plan, RadiiRule):
        for claim, least in zip(plan.radii, plan.least_votes(dim=1), strict=True):
            if n < least:
                needed = f"at least {least:,}" if least <= MOST_TRIALS else f"more than {MOST_TRIALS:,}"
                note(
                    f"with n {n} and alpha {alpha:g} no radius of {claim:g} can be certified: {needed} votes are needed"
                )
    elif n < (least := least_votes(certifier_named(bound), alpha)):
        note(f"with n {n} and alpha {alpha:g} every image abstains: at least {least} votes are needed")
    smoothed = model.smoothed(bound, service)

    from dsmooth.runs.certify import Progress, certify_run

    chosen = data.open(images, smoothed.classifier)
    remote = smoothed.pipeline.remote
    if remote is not None and not agreed(remote, service, len(chosen), n0 + n, out):
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
            mode=chosen_mode,
            seed=seed,
            resume=resume,
            on_progress=show,
            on_notice=note,
        )
    certified = sum(record.answer is not None for record in run.records)
    right = sum(record.answer is not None and record.answer == record.label for record in run.records)
    labelled = all(record.label is not None for record in run.records)
    samples = sum(record.samples for record in run.records)
    say(
        f"{certified} of {len(run.records)} images certified{f', {right} with the right label' if labelled else ''} "
        f"(sigma {model.sigma:g}, alpha {alpha:g}, {samples:,} samples{saving(len(run.records) * (n0 + n), samples)})",
        *([] if remote is None else [spent(remote, out)]),
        f"run: {out}",
        f"next: dsmooth report {out}",
    )
    if certificates is not None:
        say(f"certificates: {len(write_certificates(run, certificates))} files in {certificates}")


def _radii(mode: str, radii: list[float] | None, radius: float | None) -> tuple[float, ...]:
    """The radii of the mode; each mode has its own option for them."""
    if radii is not None and mode == "decision":
        raise BadParameter("mode decision has one radius: pass --radius, or choose --mode curve for several")
    if radius is not None and mode != "decision":
        raise BadParameter(f"--radius belongs to --mode decision, got it with mode {mode}")
    return tuple(radii or ()) if radius is None else (radius,)
