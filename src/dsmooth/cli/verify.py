"""Check certificates and runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from dsmooth.console import Bar, complain, say
from dsmooth.errors import BadParameter, Disproved

__all__ = ["verify"]


def verify(
    certificate: Path,
    /,
    *,
    images: Path | None = None,
    classifier: Annotated[str | None, Parameter(alias="-c")] = None,
    denoiser: Annotated[str | None, Parameter(alias="-d")] = None,
    share: float = 0.01,
    all_votes: Annotated[bool, Parameter(name="--all", negative=())] = False,
) -> None:
    """Check a certificate file or a run: exit code 0 it holds, 1 it does not, 2 it cannot be read or checked.

    4: consistent, but made by an older version, whose noise does not follow from all that was asked.

    Bounds and radii are computed again from the counts; the records must follow from each other, and the noise from the key
    that was committed to. With --images the pixels are compared, with -c the networks, and with both a random part of
    the votes is asked for again: exactly, where backend, precision and batch are the same here. Writes nothing.

    Examples:

        dsmooth verify runs/photos

        dsmooth verify certificates/000003.json --images cat.png -c timm:resnet50@resnet50.safetensors --all

    Parameters
    ----------
    certificate: Path
        A certificate file (`dsmooth certify --certificates`), or a run folder.
    images: Path | None
        The images that were certified: a folder, zip, file, CIFAR-10 binary folder or .npz.
    classifier: str | None
        The classifier that was certified, as for `dsmooth certify`.
    denoiser: str | None
        Its denoiser: photo, where the certificate has one, by default.
    share: float
        Share of the votes that is asked for again, above 0 up to 1.
    all_votes: bool
        Ask for all votes again.
    """
    from dsmooth.images.opening import holds_arrays, open_images
    from dsmooth.runs.verify import Check, Outcome, read_evidence, size_of_images, verify_evidence, verify_networks

    if not 0.0 < share <= 1.0:
        raise BadParameter(f"share must be above 0 and at most 1, got {share}")
    try:
        evidence = read_evidence(certificate)
    except Disproved as error:
        complain(str(error))
        say(f"{certificate}: does not hold")
        sys.exit(1)
    shown = None
    if images is not None:
        channels = evidence.records[0].shape[2] if evidence.records else 3
        size = None if holds_arrays(images) else size_of_images(evidence.records)
        shown = open_images(images, channels=channels, size=size)
    checks: list[Check] = []

    def tell(check: Check) -> None:
        checks.append(check)
        say(f"{check.what:<11} {check.outcome.value:<14} {check.detail}")

    for check in verify_evidence(evidence, shown):
        tell(check)
    if classifier is None:
        tell(Check("networks", Outcome.OPEN, "give -c to compare them, and --images too to ask for votes again"))
    else:
        from dsmooth.classifiers.specs import load_classifier
        from dsmooth.denoisers.loading import load_denoiser
        from dsmooth.runs.replay import votes_in

        part = 1.0 if all_votes else share
        none = denoiser == "none" or (
            denoiser is None and all(record.asked.denoiser is None for record in evidence.records)
        )
        loaded = None if none else load_denoiser(denoiser or "photo")
        with Bar("replay", sum(votes_in(record, part) for record in evidence.records), "votes") as bar:
            done = 0

            def count(votes: int) -> None:
                nonlocal done
                done += votes
                bar.to(done)

            found = list(verify_networks(evidence, shown, load_classifier(classifier), loaded, part, on_votes=count))
        for check in found:
            tell(check)
    outcomes = {check.what: check.outcome for check in checks}
    failed = Outcome.FAILS in outcomes.values()
    if not failed and not all(record.addressed for record in evidence.records):
        say(f"{certificate}: consistent, not verified: its noise does not follow from all that was asked")
        sys.exit(4)
    unsure = outcomes.get("replay") is Outcome.OPEN
    say(f"{certificate}: {'does not hold' if failed else 'the votes cannot be checked here' if unsure else 'holds'}")
    sys.exit(1 if failed else 2 if unsure else 0)
