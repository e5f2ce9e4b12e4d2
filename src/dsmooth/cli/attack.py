"""Attack a run inside its own certificates."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from dsmooth.cli.options import FLAG, MANY, Laws, Whole, introduce_laws
from dsmooth.console import Bar, say
from dsmooth.errors import BadRun

if TYPE_CHECKING:
    from dsmooth.audit.findings import Finding

__all__ = ["attack"]


def attack(
    run: Path,
    /,
    *,
    images: Path,
    classifier: Annotated[str, Parameter(alias="-c")],
    denoiser: Annotated[str | None, Parameter(alias="-d")] = None,
    noise: Laws = None,
    strengths: Annotated[list[float], MANY] = [0.25, 0.5],  # noqa: B006
    steps: Whole = 20,
    draws: Whole = 8,
    n: Whole = 200,
    max: Whole | None = None,
    seed: Whole = 0,
    resume: Annotated[bool, FLAG] = False,
) -> None:
    """Attack a run inside its own certified balls; exit code 1 if an attacked image confidently gets another label.

    Projected gradient ascent (PGD) through denoiser and classifier, with gradients averaged over the noise, in l2 (l1 for
    uniform noise) and l_inf. The attacked image is rounded to 8-bit pixels inside the ball and classified by majority vote.
    A different, confident answer there is a bug: the image is saved; please report it. For runs made with `certify
    --against`, the parameters of the transformation are searched too. Also measures accuracy under attack, with and without
    smoothing, for `dsmooth report`. Writes RUN/attack.

    Examples:

        dsmooth attack runs/cifar --images test.npz -c cifar:resnet56@resnet56.safetensors -d dncnn.safetensors --max 100

        dsmooth report runs/cifar

    Parameters
    ----------
    run: Path
        The run folder.
    images: Path
        The images that were certified.
    classifier: str
        The classifier that was certified, as for `dsmooth certify`; it must provide gradients.
    denoiser: str | None
        The denoiser that was certified; by default the shipped one that the run names.
    noise: list[str] | None
        A noise distribution of your own that the records name, as import:package.module:factory.
    strengths: list[float]
        Radii at which accuracy under attack is measured, in the native norm of the noise (l2 for Gaussian, l1 for uniform).
    steps: int
        Steps of each attack.
    draws: int
        Noise samples averaged in each step.
    n: int
        Votes to classify each attacked image.
    max: int | None
        Attack only the first MAX images.
    seed: int
        Seed of the noise, for attacks and votes.
    resume: bool
        Continue the attack in RUN/attack.
    """
    from dsmooth.records.store import read_run
    from dsmooth.runs.verify import size_of_images
    from dsmooth.theory.bounds import check_count
    from dsmooth.theory.top_k import top_k_named

    if max is not None:
        check_count(max, "max")
    introduce_laws(noise)
    held = read_run(run)
    if not held.records:
        raise BadRun(f"{run}: expected at least one finished image, found none")
    from dsmooth.audit.attack import Attack, attack_run
    from dsmooth.audit.pgd import Ascent

    chosen = Attack(ascent=Ascent(steps, draws), strengths=tuple(strengths), n=n, seed=seed)

    from dsmooth.denoisers.loading import certified_denoiser
    from dsmooth.images.opening import holds_arrays, open_images
    from dsmooth.runs.replay import smoothed_like

    first = held.records[0]
    size = None if holds_arrays(images) else size_of_images(held.records)
    shown = open_images(images, channels=first.shape[2], size=size)
    cleaner = certified_denoiser(denoiser, held.question.denoiser, held.header.get("denoiser_name"))
    smoothed = smoothed_like(first, classifier, cleaner, workers=None)
    total = len(held.records[:max])
    with Bar("attack", total, "images") as bar:
        done = 0

        def tell(name: str, findings: Sequence[Finding]) -> None:
            nonlocal done
            done += 1
            bar.to(done)
            bar.say(_line(name, findings))

        found = attack_run(held, shown, smoothed, chosen, most=max, resume=resume, on_image=tell)
    balls = sum(finding.inside for finding in found.all)
    rule = top_k_named(first.question.bound)
    place = "" if rule is None else f" in the top {rule.top}"
    answers = "is classified as" if rule is None else f"is behind {rule.top} others, the first of them"
    for flip in found.flips:
        say(
            f"BUG: {flip.name} is certified as {flip.certified}{place} {flip.claimed}, but {answers} "
            f"{flip.answer} at {flip.where}, distance {flip.distance}: flip-{flip.digest[:16]}.png, seed {seed}; "
            "please report it, with the run folder"
        )
    say(
        f"{len(found.flips)} flips among {balls} attacked images inside certified balls "
        f"(each certificate may be false with probability {first.question.alpha:g})",
        f"attack: {found.folder}",
        f"next: dsmooth report {run}",
    )
    sys.exit(1 if found.flips else 0)


def _line(name: str, findings: Sequence[Finding]) -> str:
    told = (
        f"{finding.where} {'smoothed' if finding.defended else 'alone'}: "
        f"{'nothing' if finding.answer is None else finding.answer}{'' if finding.sure or not finding.defended else '?'}"
        for finding in findings
    )
    return f"{name:<20.20}  {', '.join(told) or 'no certificate, no label'}"
