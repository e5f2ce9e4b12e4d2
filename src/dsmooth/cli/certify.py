"""Certify images into a run folder."""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from dsmooth.cli.expense import agreed, spent
from dsmooth.cli.options import ALL, FLAG, LOCAL, MANY, USUAL, Cascaded, Data, Model, ServiceOfRun, Terms, Whole
from dsmooth.cli.setting_up import heard_at_once, tell_pace
from dsmooth.console import Bar, certificate_line, note, say
from dsmooth.errors import BadParameter, WitnessAwaited

if TYPE_CHECKING:
    from dsmooth.records.beacon import Beacon
    from dsmooth.records.store import Run
    from dsmooth.runs.shards import Shard
    from dsmooth.theory.laws.base import Law
    from dsmooth.theory.modes import Mode

__all__ = ["certify", "warn_of_few"]


def certify(
    images: Path,
    /,
    *,
    out: Annotated[Path, Parameter(alias="-o")],
    model: Model,
    data: Data = ALL,
    service: ServiceOfRun = LOCAL,
    terms: Terms = USUAL,
    top: Whole | None = None,
    mode: Literal["fixed", "curve", "decision", "radius"] = "fixed",
    radii: Annotated[list[float] | None, MANY] = None,
    radius: float | None = None,
    rivals: Annotated[bool, FLAG] = False,
    price: Annotated[float | None, Parameter(name="--lambda")] = None,
    against: str | None = None,
    rho: Annotated[list[float] | None, MANY] = None,
    seed: Whole | None = None,
    cascade: Annotated[bool, FLAG] = False,
    certificates: Path | None = None,
    thumbnails: Literal["small", "none"] = "small",
    witness: Annotated[bool, FLAG] = False,
    witness_minutes: float = 15.0,
    beacon: Path | None = None,
    fix: Literal["images", "listing"] | None = None,
    resume: Annotated[bool, FLAG] = False,
    plan: Annotated[bool, FLAG] = False,
    shard: str | None = None,
) -> None:
    """Certify images: for each, a label and a certified radius within which no change of the pixels alters it.

    Writes a run folder with one record per image, saved as soon as the image is done. After an interruption, run the same
    command with --resume. `dsmooth report RUN` turns the folder into tables and an HTML page.

    Examples:

        dsmooth certify photos/ -c efficientnet-lite0 --sigma 0.25 --n 1000 --out runs/photos

        dsmooth certify cifar-10-batches-bin/ -c cifar:resnet56@resnet56.safetensors -d dncnn.safetensors
        --sigma 0.25 --n 10000 --skip 20 --out runs/cifar

        dsmooth certify cat.png -c timm:resnet50 --norm inf --out runs/cat --certificates certificates/cat

        dsmooth certify photos/ -c timm:resnet50 --n 100000 --mode curve --radii 0 0.25 0.5 0.75 --out runs/curve

        dsmooth certify photos/ -c timm:resnet50 --n 10000 --mode decision --radius 0.5 --rivals --out runs/decision

        dsmooth certify photos/ -c efficientnet-lite0 --top 5 --out runs/top5

        dsmooth certify cifar-10-batches-bin/ -c cifar:resnet56@resnet56.safetensors -d cifar10-white --skip 100
        --against "contrast 0.8 1.2" --n 2000 --out runs/contrast

        dsmooth certify photos/ -c timm:resnet50 --noise uniform --levels 127 --out runs/l1

        dsmooth certify photos/ -c timm:resnet50 --noise splitting --levels 127 --out runs/certain

        dsmooth certify photos/ -c timm:resnet50 --sigma 0.12 --sigma 0.25 --sigma 0.5 --out runs/curve

        dsmooth certify photos/ -c timm:resnet50 --sigma 1 --sigma 0.5 --sigma 0.25 --cascade --out runs/cascade

        dsmooth certify photos/ -c azure:image-analysis --label-map animals.json --n 100 --max-dollars 5
        --dry-run --out runs/azure

        dsmooth certify photos/ -c timm:resnet50 --witness --out runs/witnessed

        dsmooth certify photos/ -c timm:resnet50 --n 100000 --engine ray --workers 8 --out runs/large

        dsmooth certify photos/ -c timm:resnet50 --n 100000 --engine ray:head:6379 --backend cuda --gpus 0.5
        --out runs/large

        dsmooth certify photos/ -c timm:resnet50 --out runs/large --plan, then the same command on each machine with
        --shard 3/16 (and so on) instead of --plan, then dsmooth merge runs/large

    Parameters
    ----------
    images: Path
        A folder, zip or tar of images (class subfolders become labels), one image, a CIFAR-10 binary folder, an .npz, a
        data set as Parquet files, `imagefolder` or WebDataset, Tiny ImageNet, or ImageNet's validation folder.
    out: Path
        The run folder to write. With several --sigma, a folder with one run for each; they are compared at the end.
    top: int | None
        Certify that the label stays among the TOP most probable classes, rather than the first. For modes fixed and radius,
        and for classifiers whose class names are known.
    mode: Literal["fixed", "curve", "decision", "radius"]
        fixed: n votes per image, as in the papers. curve: stop once it is known which of --radii hold. decision: stop once
        it is known whether --radius holds. radius: choose n from the n0 votes. All keep alpha; the last three save votes.
    radii: list[float] | None
        For mode curve: the radii to decide.
    radius: float | None
        For mode decision: the radius to decide.
    rivals: bool
        For modes curve and decision: also bound the runner-up class, as the multiclass bound does, so that images can be
        certified whose top class has less than half of the votes.
    price: float | None
        For mode radius: the radius, in units of sigma, that one more vote must be worth; 0.1 / n by default.
    against: str | None
        A family of transformations under all of which the label must hold: "contrast 0.8 1.2", "gamma 0.8 1.25", "shift 2",
        "jpeg 60", and for images of at most 64 pixels a side "rotation 10", "blur 1". Each image is certified, with up to n
        votes each, at a set of centres that cover the family, until one of them fails.
    rho: list[float] | None
        With --against: candidate l2 radii around the centres, one of which the n0 votes select; by default 0.5, 1 and 2
        sigma.
    seed: int | None
        Makes the noise reproducible. By default the noise comes from a new random key of the operating system.
    cascade: bool
        Combine several --sigma into one classifier: the largest sigma at which a label has a majority decides. Images
        decided there need no votes at smaller sigma.
    certificates: Path | None
        A new folder for certificate files, one per image, which others can check with `dsmooth verify`.
    thumbnails: Literal["small", "none"]
        small: keep a thumbnail of each image, at most 64 pixels a side, in the run folder for the report. none: keep no
        pixels.
    witness: bool
        Prove to others that the noise key was not chosen for its result: before any vote, the key's commitment is
        time-stamped, and a later round of a public randomness beacon is mixed into the key. Stops, and says what to do
        before --resume (extra witness).
    witness_minutes: float
        With --witness: minutes from now until the beacon's round; the time stamp must be older than that round.
    beacon: Path | None
        With --witness: a beacon other than drand's quicknet; a JSON file as drand's /info describes its chain.
    fix: Literal["images", "listing"] | None
        What is fixed before the first vote. images: all images are read, and the run records a digest of their pixels.
        listing: names, labels and sizes only; images are read when their turn comes, and once more at the end for the
        digest. By default listing for more than 10,000 images that are not in memory, without --witness; else images.
    resume: bool
        Continue the run in --out.
    plan: bool
        Fix settings, images and key without drawing a vote; shards do the rest.
    shard: str | None
        Do this part of the planned run in --out: 3/16 is every 16th image, starting with the fourth (counted from 0);
        auto takes the number from the environment of SLURM, torchrun, Kubernetes or AWS Batch (auto/16: of 16). A shard that
        was already started continues.
    """
    from dsmooth.records.beacon import read_beacon
    from dsmooth.records.cascade import undecided
    from dsmooth.records.certificate_file import check_certificates_folder, write_certificates
    from dsmooth.records.outputs import check_writable
    from dsmooth.records.store import check_free
    from dsmooth.runs.shards import Shard
    from dsmooth.theory.bounds import check_count, check_level, check_seed
    from dsmooth.theory.modes import Mode

    if beacon is not None and not witness:
        raise BadParameter("--beacon belongs to --witness: give both")
    chain = read_beacon(beacon) if witness else None
    until = _until(witness_minutes)
    check_level(terms.alpha)
    check_count(terms.n0, "n0")
    check_count(terms.n, "n")
    if against is None:
        chosen_mode = Mode(mode, _radii(mode, radii, radius), price, rivals=rivals)
    else:
        chosen_mode = _cover(mode, against, rho)
    if rho is not None and against is None:
        raise BadParameter("--rho belongs to --against")
    if against is not None and (rivals or any(given is not None for given in (radii, radius, price))):
        raise BadParameter(
            "--against has its own radii: pass --rho, and leave out --radii, --radius, --lambda and --rivals"
        )
    if seed is not None:
        check_seed(seed)
    data.check()
    part = None if shard is None else Shard.parse(shard)
    if part is not None and (plan or certificates is not None):
        raise BadParameter(
            "--plan and --certificates apply to the whole run, and --shard to a part of it: leave one out"
        )
    if top is not None:
        check_count(top, "top")
        if cascade or terms.bound != USUAL.bound or chosen_mode.looks:
            raise BadParameter("--top has its own bound, for modes fixed and radius: leave out --cascade and --bound")
    if cascade:
        if certificates is not None or plan or part is not None:
            raise BadParameter("--certificates, --plan and --shard are for single runs, and a cascade is several")
        model, terms = _cascaded(model, terms, chosen_mode)
    parts = _parts(model, out, certificates)
    if len(parts) > 1:
        _check_folder(out, [folder for _, folder, _ in parts], witness)
    for each, folder, files in parts:
        law = each.law()
        bound = "cohen" if cascade else terms.bound  # which a cascade uses at each of its scales
        if top is None:
            warn_of_few(law, chosen_mode, **{**vars(terms), "norm": law.norm_or_own(terms.norm), "bound": bound})
        check_free(folder, resume or part is not None)
        check_writable(folder)
        if files is not None:
            check_certificates_folder(files)
            check_writable(files)
    runs: list[Run] = []
    for each, folder, files in parts:
        only = undecided(runs[-1].records) if cascade and runs else None
        if only is not None and not only:
            break
        run = _one(
            images, folder, each, data, service, terms, chosen_mode, seed=seed, chain=chain, until=until,
            thumbnails=thumbnails == "small", fix=fix, resume=resume, plan=plan, part=part, only=only, top=top,
        )  # fmt: skip
        if run is None and cascade:
            return
        if run is None:
            continue
        if files is not None:
            say(f"certificates: {len(write_certificates(run, files))} files in {files}")
        runs.append(run)
    if cascade:
        _tell_cascade(out)
    elif len(runs) > 1 and part is None:
        _compare(runs)


def _parts(model: Model, out: Path, certificates: Path | None) -> list[tuple[Model, Path, Path | None]]:
    """Each of several sigmas, with the run folder and the folder of certificates in those that were named."""
    models = model.each_sigma
    if len(models) == 1:
        return [(models[0], out, certificates)]
    names = [f"sigma-{each.law().level:g}" for each in models]
    return [
        (each, out / name, None if certificates is None else certificates / name)
        for each, name in zip(models, names, strict=True)
    ]


def _cascaded(model: Model, terms: Terms, mode: Mode) -> tuple[Model, Terms]:
    """The options of a cascade: its sigmas in falling order, and its bound."""
    if mode.name != "fixed":
        raise BadParameter(f"--cascade needs mode fixed, which draws all votes at each sigma, got mode {mode.name}")
    if terms.bound != USUAL.bound:
        raise BadParameter(f"a cascade has its own bound: leave out --bound {terms.bound}")
    cascade = Cascaded.of(model).cascade
    return replace(model, sigma=list(cascade.sigmas)), replace(terms, bound=cascade.bound.name)


def _check_folder(out: Path, runs: Sequence[Path], witness: bool) -> None:
    """Raises BadParameter where several runs cannot stand in `out`."""
    from dsmooth.records.store import holds_run

    if witness:
        raise BadParameter(f"--witness is for a single run: pass one --sigma, got {len(runs)}")
    if len(set(runs)) < len(runs):
        raise BadParameter("expected sigmas that differ in their first six digits: each one names its run folder")
    if holds_run(out):
        raise BadParameter(
            f"{out} already holds a run, and several --sigma make a folder of runs: choose another --out"
        )


def _one(
    images: Path,
    out: Path,
    model: Model,
    data: Data,
    service: ServiceOfRun,
    terms: Terms,
    mode: Mode,
    *,
    seed: int | None,
    chain: Beacon | None,
    until: timedelta,
    thumbnails: bool,
    fix: Literal["images", "listing"] | None,
    resume: bool,
    plan: bool,
    part: Shard | None,
    only: Collection[str] | None = None,
    top: int | None = None,
) -> Run | None:
    """One run, from its set-up to its last line; None where it was not agreed to, or only planned.

    only: of these of the images, by name, in place of all. top: how many places are enough for a promise.
    """
    from dsmooth.records.store import holds_run
    from dsmooth.records.witness import key_line
    from dsmooth.report.export import saving

    with heard_at_once():
        law = model.law()
        asked = {**vars(terms), "norm": law.norm_or_own(terms.norm)}
        smoothed = model.smoothed(asked.pop("bound"), service, top)

        from dsmooth.runs.certify import Progress, certify_run

        chosen, skipped = data.open(images, smoothed.classifier)
        if only is not None:
            chosen = chosen.named(only)
        each = smoothed.question(**asked, mode=mode)
        votes = each.n0 + each.n
        billed = smoothed.classifier.traits.billed
        if billed and not agreed(smoothed.classifier, service, len(chosen), votes, out):
            return None
        mine = len(chosen) if part is None else len(part.positions(len(chosen)))
        smoothed.classifier.ping()
        if len(chosen) and not (resume and holds_run(out)):
            shape = chosen[0].pixels.shape
            smoothed.settle(shape, samples=len(chosen) * votes)
            if mode.against is not None:
                note(
                    f"each image gets up to {each.n:,} votes at each centre of its cover; the estimate counts one centre"
                )
            tell_pace(smoothed, shape, mine * votes, chosen=model.dtype != "auto")
    names = smoothed.classifier.class_names
    finished = 0

    with closing(smoothed.classifier), Bar("certify", mine * votes, "samples") as bar:

        def show(progress: Progress) -> None:
            nonlocal finished
            if progress.finished is not None and progress.certificate is not None:
                finished += 1
                record = progress.finished
                bar.say(certificate_line(record.name, progress.certificate, names, record.label))
            done = mine * votes - progress.samples_in_all + progress.samples
            if progress.again:
                bar.to(done, f"{progress.again:,} of {mine:,} images read once more")
                return
            bar.to(done, f"{finished + (mine - progress.samples_in_all // votes)} of {mine} images")

        try:
            run = certify_run(
                smoothed,
                chosen,
                out,
                **asked,
                mode=mode,
                seed=seed,
                skipped=skipped,
                witness=chain,
                witness_in=until,
                thumbnails=thumbnails,
                fix=fix,
                resume=resume,
                plan=plan,
                shard=part,
                on_progress=show,
                on_notice=note,
            )
        except WitnessAwaited as waiting:
            for step in waiting.steps:
                bar.say(step)
            sys.exit(waiting.exit_code)
    if plan:
        say(
            f"planned: {out}",
            "next, on each machine: the same command with --shard NUMBER/COUNT instead of --plan",
            f"when all are done: dsmooth merge {out}",
        )
        return None
    where = [f"run: {out}", f"next: dsmooth report {out}"]
    if part is not None:
        where = [f"shard: {run.folder}", f"when all are done: dsmooth merge {out}"]
    certified = right = samples = 0
    labelled = True
    for record in run.records:  # which come from disk: once
        certified += record.answer is not None
        right += record.answer is not None and record.answer == record.label
        labelled = labelled and record.label is not None
        samples += record.drawn
    say(
        f"{certified} of {len(run.records)} images certified{f', {right} with the right label' if labelled else ''} "
        f"({law}, {run.question.rule} bound, alpha {each.alpha:g}, {samples:,} samples"
        f"{saving(len(run.records) * votes, samples)})",
        *([spent(smoothed.classifier, out)] if billed else []),
        key_line(run.header, run.question.law),
        *where,
    )
    return run


def _compare(runs: Sequence[Run]) -> None:
    """The table of several runs, with the best of them at each radius."""
    from dsmooth.report.export import markdown_table
    from dsmooth.report.summary import summarise

    summary = summarise(runs)
    say(f"{summary.what} in %", *markdown_table(summary).splitlines())
    say(
        "the envelope takes the best sigma at each radius: a comparison, not one classifier's certified accuracy",
        f"next: dsmooth report {' '.join(str(run.folder) for run in runs)}",
    )


def _tell_cascade(folder: Path) -> None:
    """The table of a cascade."""
    from dsmooth.records.cascade import read_cascade
    from dsmooth.report.export import markdown_table
    from dsmooth.report.summary import summarise

    cascade = read_cascade(folder)
    summary = summarise(cascade.scales, together=cascade)
    say(f"{summary.what} in %", *markdown_table(summary).splitlines(), f"next: dsmooth report {folder}")


def warn_of_few(law: Law, mode: Mode, *, n0: int, n: int, alpha: float, norm: float, bound: str) -> None:
    """Says before any vote is drawn where so few cannot certify anything."""
    from dsmooth.theory.covers import CoverRule
    from dsmooth.theory.laws.base import EnumeratedLaw
    from dsmooth.theory.mixture import MOST_TRIALS
    from dsmooth.theory.rules import certifier_named, least_votes
    from dsmooth.theory.stopping import RadiiRule

    if isinstance(law, EnumeratedLaw) and mode.against is not None:
        raise BadParameter(f"a cover is measured in l2, under Gaussian noise, got noise {law.name}")
    plan = mode.plan(bound, law, n=n, alpha=alpha, norm=norm)
    if isinstance(plan, CoverRule):
        plan = plan.rule(min(plan.radii))
    if isinstance(plan, RadiiRule):
        for claim, least in zip(plan.radii, plan.least_votes(dim=1), strict=True):
            if n < least:
                needed = f"at least {least:,}" if least <= MOST_TRIALS else f"more than {MOST_TRIALS:,}"
                note(f"with n {n} and alpha {alpha:g} radius {claim:g} cannot be certified: {needed} votes are needed")
    elif not isinstance(law, EnumeratedLaw) and n < (least := least_votes(certifier_named(bound), alpha)):
        note(f"with n {n} and alpha {alpha:g} every image abstains: at least {least} votes are needed")


def _cover(mode: str, against: str, rho: list[float] | None) -> Mode:
    """The mode of a claim about a family of transformations."""
    from dsmooth.theory.modes import Mode
    from dsmooth.theory.threats.known import threat_from_text

    if mode != "fixed":
        raise BadParameter(f"--against sets its own mode: leave out --mode, got {mode}")
    return Mode("cover", tuple(rho or ()), against=threat_from_text(against))


def _until(minutes: float) -> timedelta:
    if not 0.0 < minutes <= 366 * 24 * 60:
        raise BadParameter(f"--witness-minutes must be above 0 and at most a year, got {minutes}")
    return timedelta(minutes=minutes)


def _radii(mode: str, radii: list[float] | None, radius: float | None) -> tuple[float, ...]:
    """The radii of the mode; each mode has its own option for them."""
    if radii is not None and mode == "decision":
        raise BadParameter("mode decision has one radius: pass --radius, or use --mode curve for several")
    if radius is not None and mode != "decision":
        raise BadParameter(f"--radius belongs to --mode decision, got mode {mode}")
    return tuple(radii or ()) if radius is None else (radius,)
