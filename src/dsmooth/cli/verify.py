"""Check certificates and runs."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from dsmooth.cli.expense import agreed
from dsmooth.cli.options import ALL, FLAG, LOCAL, Data, Laws, ServiceOfRun, chosen_classifier, introduce_laws
from dsmooth.console import Bar, certificate_line, complain, note, say
from dsmooth.errors import BadParameter, BadRun, Disproved

if TYPE_CHECKING:
    from dsmooth.classifiers.base import Classifier
    from dsmooth.denoisers.base import Denoiser
    from dsmooth.images.sets import ImageSet
    from dsmooth.records.beacon import Beacon
    from dsmooth.records.schema import Record
    from dsmooth.records.store import Run
    from dsmooth.records.witness import Standing
    from dsmooth.runs.replay import Replay
    from dsmooth.runs.verify import Check, Evidence
    from dsmooth.smoothing.smoothed import SmoothedClassifier

__all__ = ["verify"]


def verify(
    certificate: Path,
    /,
    *,
    images: Path | None = None,
    data: Data = ALL,
    classifier: Annotated[str | None, Parameter(alias="-c")] = None,
    class_names: Path | None = None,
    changed: str | None = None,
    denoiser: Annotated[str | None, Parameter(alias="-d")] = None,
    noise: Laws = None,
    service: ServiceOfRun = LOCAL,
    share: float = 0.1,
    all_votes: Annotated[bool, Parameter(name="--all", negative=())] = False,
    again: Annotated[bool, FLAG] = False,
    dtype: Literal["fp32", "bf16", "tf32"] = "fp32",
    timestamp_roots: Path | None = None,
    beacon: Path | None = None,
    public_key: Path | None = None,
) -> None:
    """Check a certificate file or a run. Exit code 0: verified; 1: does not hold; 2: cannot be read; 4: consistent only.

    Nothing that the file says about itself is trusted: each claim is recomputed from the packed votes, and the noise from
    the revealed key and the settings. With --images, pixels, shapes, labels and completeness are compared. Votes could be
    made up, so verification needs the networks (-c, -d): all selection votes and a random share of the others are
    recomputed, and those that may be wrong are charged against the radius. Without the networks a file is consistent at
    best. Writes nothing.

    Examples:

        dsmooth verify runs/photos

        dsmooth verify certificates/000003.json --images cat.png -c timm:resnet50@resnet50.safetensors --all

        dsmooth verify runs/cifar --images cifar-10-batches-bin/ --skip 20 -c cifar:resnet56@resnet56.safetensors
        -d cifar10-white

        dsmooth verify runs/laplace --noise import:my_laws:laplace

        dsmooth verify runs/int8 --images photos/ -c timm:resnet50@resnet50.safetensors --changed onnx:int8.onnx

        dsmooth verify certificates/000003.json --images cat.png -c azure:image-analysis --again --max-dollars 1

    Parameters
    ----------
    certificate: Path
        A certificate file (`dsmooth certify --certificates`), a run folder, or the folder of a cascade or of a changed
        classifier (`dsmooth recertify --changed`).
    images: Path | None
        The images that were certified, as for `dsmooth certify`.
    classifier: str | None
        The classifier that was certified, as for `dsmooth certify`.
    class_names: Path | None
        The names of its classes, as for `dsmooth certify`.
    changed: str | None
        For `dsmooth recertify --changed`: the changed classifier; -c is the former one.
    denoiser: str | None
        The denoiser that was certified; by default the shipped one with the digest in the certificate.
    noise: list[str] | None
        A noise distribution of your own that the records name, as import:package.module:factory. Code is loaded only if you
        name it here, never because a record does.
    share: float
        Share of the estimation votes to recompute, above 0 and at most 1; at least 100 votes per image.
    all_votes: bool
        Recompute all votes.
    again: bool
        Certify again under a new key; that certificate is the result, whatever the file says. Works for services too.
    dtype: Literal["fp32", "bf16", "tf32"]
        With --again: precision of the networks.
    timestamp_roots: Path | None
        Root certificates (PEM) of the time-stamp authorities that you trust, for runs with --witness.
    beacon: Path | None
        The beacon that you trust, as drand's /info describes its chain (JSON); drand's quicknet by default.
    public_key: Path | None
        The public key (PEM) that must have signed the certificate file.
    """
    from dsmooth.records.beacon import read_beacon
    from dsmooth.records.cascade import cascade_in
    from dsmooth.records.changed import holds_changed
    from dsmooth.records.envelope import read_public_key

    if not 0.0 < share <= 1.0:
        raise BadParameter(f"share must be above 0 and at most 1, got {share}")
    if again and (images is None or classifier is None):
        raise BadParameter("--again certifies again: pass --images and -c too")
    if public_key is not None and certificate.is_dir():
        raise BadParameter("--public-key is for certificate files: runs are not signed")
    signer = None if public_key is None else read_public_key(public_key)
    data.check()
    introduce_laws(noise)
    chain, roots = read_beacon(beacon), None if timestamp_roots is None else _roots(timestamp_roots)
    network = None if classifier is None else chosen_classifier(classifier, class_names, service)
    means = _Means(
        images, data, network, denoiser, service, 1.0 if all_votes else share, again, dtype, roots, chain, signer
    )
    in_place = None if changed is None else chosen_classifier(changed, class_names, service)
    try:
        if holds_changed(certificate):
            checked = _checked_changed(certificate, means, in_place)
        elif in_place is not None:
            raise BadParameter(
                f"--changed is for what `dsmooth recertify --changed` wrote: {certificate} is none of it"
            )
        elif cascade_in(certificate) is not None:
            checked = _checked_cascade(certificate, means)
        else:
            checked = [_checked(certificate, means)]
    except Disproved as error:
        complain(str(error))
        say(f"{certificate}: does not hold")
        sys.exit(1)
    sys.exit(_conclude(certificate, checked))


@dataclass(frozen=True)
class _Means:
    """What the verifier has at hand."""

    images: Path | None
    data: Data
    classifier: Classifier | None
    denoiser: str | None
    service: ServiceOfRun
    share: float
    again: bool
    dtype: str
    roots: bytes | None
    chain: Beacon
    signer: Any
    needed: str = "-c and --images"
    """What lets votes be asked for again."""


@dataclass
class _Checked:
    """The outcome for a run or certificate file."""

    evidence: Evidence
    standing: Standing
    checks: list[Check] = field(default_factory=list)
    replays: dict[str, Replay] | None = None
    """By name of the image; None where they need not be kept."""

    def tell(self, check: Check) -> None:
        self.checks.append(check)
        say(f"{check.what:<13} {check.outcome.value:<14} {check.detail}")


def _checked(path: Path, means: _Means, only: Collection[str] | None = None, *, keep: bool = False) -> _Checked:
    """The checks of a run or certificate file, said as they are made; of these of the images, where not of all.

    keep: whether the replays are kept, which takes memory.


    Raises Disproved where nothing needs to be checked to see that it does not hold.
    """
    from dsmooth.runs.verify import Check, Outcome, read_evidence, signature_check, verify_evidence
    from dsmooth.runs.witnessing import standing_of

    evidence = read_evidence(path)
    network = means.classifier
    if network is not None and evidence.first is not None:
        from dsmooth.runs.replay import classifier_like

        network = classifier_like(evidence.first, network)
    cleaner = None if network is None else _denoiser(means.denoiser, evidence)
    shown = None if means.images is None else _images(means.images, means.data, evidence, network)
    if shown is not None and only is not None:
        shown = shown.named(only)
    found = _Checked(evidence, standing_of(evidence, means.roots, means.chain), replays={} if keep else None)
    if means.signer is not None or evidence.envelope is not None:
        found.tell(signature_check(evidence, means.signer))
    for check in verify_evidence(evidence, shown, found.standing):
        found.tell(check)
    if any(check.outcome is Outcome.FAILS for check in found.checks):
        pass  # nothing is asked of networks, and no memory taken, for what does not hold anyway
    elif network is None:
        found.tell(Check("replay", Outcome.OPEN, "the votes may be made up", means.needed))
    elif means.again and shown is not None:
        for check in _anew(evidence, shown, network, cleaner, means.dtype, means.service):
            found.tell(check)
    else:
        for check in _replayed(found, shown, network, cleaner, means.share):
            found.tell(check)
    return found


def _checked_cascade(folder: Path, means: _Means) -> list[_Checked]:
    """The checks of each run of a cascade, and of what they promise together."""
    from dsmooth.records.cascade import read_cascade, undecided
    from dsmooth.runs.cascade import cascade_check

    if means.again:
        raise BadParameter("--again is for one run or certificate: pass the folder of one sigma")
    cascade = read_cascade(folder)
    checked: list[_Checked] = []
    only = None
    for run in cascade.scales:
        say(f"{run.folder}:")
        checked.append(_checked_as_read(run, means, only))
        only = undecided(run.records)
    checked[-1].tell(cascade_check(cascade, [each.replays or {} for each in checked]))
    return checked


def _checked_changed(folder: Path, means: _Means, changed: Classifier | None) -> list[_Checked]:
    """The checks of the former classifier's run and of the pairs, and of what they promise together of the changed one."""
    from dsmooth.records.changed import read_changed

    if means.again:
        raise BadParameter("--again is for one run or certificate: certify the changed classifier anew")
    if (means.classifier is None) != (changed is None):
        raise BadParameter("these votes are of two classifiers: give the former as -c and the other as --changed")
    held, both = read_changed(folder), None
    means = replace(means, needed="-c, --changed and --images")
    if means.classifier is not None and changed is not None:
        from dsmooth.classifiers.paired import PairedClassifier

        both = PairedClassifier(means.classifier, changed)
    parts = (
        (held.before, means, None),
        (held.pairs, replace(means, classifier=both), [record.name for record in held.pairs.records]),
    )
    checked: list[_Checked] = []
    for run, own, only in parts:
        say(f"{run.folder}:")
        checked.append(_checked_as_read(run, own, only))
    from dsmooth.runs.changed import changed_check

    before, pairs = (each.replays or {} for each in checked)
    checked[-1].tell(changed_check(held, before, pairs))
    return checked


def _checked_as_read(run: Run, means: _Means, only: Collection[str] | None) -> _Checked:
    """As `_checked`, of a run that was read before; raises BadRun where it became another one meanwhile."""
    found = _checked(run.folder, means, only, keep=True)
    if [record.digest for record in found.evidence.records] != [record.digest for record in run.records]:
        raise BadRun(f"{run.folder}: changed while it was being checked")
    return found


def _conclude(certificate: Path, checked: Sequence[_Checked]) -> int:
    """The last line, and the exit code."""
    from dsmooth.runs.verify import Outcome

    checks = [check for each in checked for check in each.checks]
    open_ones = [check for check in checks if check.outcome is Outcome.OPEN]
    if any(check.outcome is Outcome.FAILS for check in checks):
        say(f"{certificate}: does not hold")
        return 1
    if not open_ones:
        less = "".join(f", {check.less}" for check in checks if check.less)
        standings = "; ".join(dict.fromkeys(each.standing.text for each in checked))
        say(f"{certificate}: verified{less}; {standings}")
        return 0
    so_far = " so far" if any(each.evidence.key is None for each in checked) else ""
    needed = "; ".join(dict.fromkeys(check.give for check in open_ones if check.give))
    say(f"{certificate}: consistent{so_far}, not verified (give {needed})")
    return 4


def _denoiser(spec: str | None, evidence: Evidence) -> Denoiser | None:
    from dsmooth.denoisers.loading import certified_denoiser

    digest = None if evidence.first is None else evidence.first.asked.denoiser
    return certified_denoiser(spec, digest, None if evidence.run is None else evidence.run.header.get("denoiser_name"))


def _roots(path: Path) -> bytes:
    from dsmooth.records.files import TEXT, read_bounded

    try:
        return read_bounded(path, TEXT)
    except OSError as error:
        raise BadParameter(f"{path}: expected root certificates (PEM), cannot read them ({error.strerror})") from error


def _images(path: Path, data: Data, evidence: Evidence, classifier: Classifier | None) -> ImageSet:
    """The images, cut as the records say where nothing else is asked for; other pixels are noticed later.

    Sub-folders are classes of the classifier by name. Where it is not given, of the names that the run has for them: then
    nothing is verified, whatever the names are. Where a run says that it skipped some, those that cannot be read here
    either are left out, and no others.
    """
    from dsmooth.images.opening import holds_arrays
    from dsmooth.runs.verify import size_of_images

    first, size = evidence.first, data.size
    if size is None and not holds_arrays(path):
        size = size_of_images(evidence.records)
    names = None if evidence.run is None else evidence.run.header.get("class_names")
    images = data.chosen(
        path,
        channels=3 if first is None else first.shape[2],
        size=size or None,
        class_names=names if classifier is None else classifier.class_names,
        by_order=classifier is None or not classifier.traits.billed,
    )
    skipped = None if evidence.run is None else evidence.run.header.get("skipped")
    if skipped is None and data.on_bad == "stop":
        return images
    good, bad = images.readable()
    if skipped is not None and (not isinstance(skipped, dict) or skipped.keys() != bad.keys()):
        raise Disproved(f"{path}: the images that cannot be read are not those that the run says it skipped")
    for why in bad.values():
        note(f"skipped {why}")
    return good


def _replayed(
    found: _Checked, images: ImageSet | None, classifier: Classifier, denoiser: Denoiser | None, share: float
) -> Iterator[Check]:
    from dsmooth.runs.replay import replayed, votes_in

    evidence = found.evidence

    def keep(record: Record, replay: Replay) -> None:
        if found.replays is not None:
            found.replays[record.name] = replay

    with Bar("replay", sum(votes_in(record, share) for record in evidence.records), "votes") as bar:
        done = 0

        def count(votes: int) -> None:
            nonlocal done
            done += votes
            bar.to(done)

        made = replayed(
            evidence, images, classifier, denoiser, share,
            witnessed=found.standing.witnessed, on_votes=count, on_replay=keep,
        )  # fmt: skip
        yield from list(made)


def _anew(
    evidence: Evidence,
    images: ImageSet,
    classifier: Classifier,
    denoiser: Denoiser | None,
    dtype: str,
    service: ServiceOfRun,
) -> Iterator[Check]:
    from dsmooth.runs.again import certified_anew
    from dsmooth.runs.identity import same_networks, same_version
    from dsmooth.runs.verify import Check, Outcome
    from dsmooth.runs.weaker import less_of, weakest
    from dsmooth.smoothing.smoothed import SmoothedClassifier

    networks = list(same_networks(evidence, classifier, denoiser))
    yield from networks
    if any(check.outcome is Outcome.FAILS for check in networks):
        return  # votes of other networks say nothing of this file, and may cost money
    each = max((record.question.n0 + record.question.n for record in evidence.records), default=0)
    if classifier.traits.billed and not agreed(classifier, service, evidence.count, each):
        yield Check("again", Outcome.OPEN, "nothing was sent", "--yes, or a larger --ask-above")
        return
    classifier.ping()
    confirmed = implausible = claims = 0
    weaker = []
    with Bar("again", evidence.count * each, "votes") as bar:
        done = 0

        def count(votes: int) -> None:
            nonlocal done
            done += votes
            bar.to(done)

        def smoothed(record: Record) -> SmoothedClassifier:
            return SmoothedClassifier(classifier, denoiser, law=record.law, dtype=dtype)

        for anew in certified_anew(evidence, images, smoothed, on_votes=count):
            bar.say(certificate_line(anew.name, anew.certificate, classifier.class_names, None))
            confirmed += anew.confirms
            implausible += not anew.plausible
            claims += anew.record.answer is not None
            weaker += [] if anew.weaker is None else [anew.weaker]
    yield from same_version(evidence, classifier)
    if implausible:
        yield Check(
            "again",
            Outcome.FAILS,
            f"{implausible} of {evidence.count} claims rest on votes that these networks do not give",
        )
    elif confirmed < evidence.count:
        lost = f"{evidence.count - confirmed} of {evidence.count} claims are plausible, but not confirmed by new votes"
        yield Check("again", Outcome.OPEN, lost, "more votes than the file's n")
    else:
        yield Check(
            "again",
            Outcome.TOLD,
            f"{confirmed} certificates under a new key, listed above, are the result{weakest(weaker)}",
            less=less_of(len(weaker), claims),
        )
