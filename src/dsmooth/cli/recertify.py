"""Certify again from old votes: a service's logged answers, or a former classifier's votes and pairs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from cyclopts import Parameter

from dsmooth.cli.options import ALL, FLAG, Data, Laws, Whole, chosen_classifier, introduce_laws, voting_rule
from dsmooth.console import Bar, certificate_line, note, say
from dsmooth.errors import BadParameter
from dsmooth.services.catalogue import is_service

if TYPE_CHECKING:
    from dsmooth.classifiers.base import Classifier
    from dsmooth.runs.certify import Progress
    from dsmooth.services.voting import VotingRule

__all__ = ["recertify"]


_PAIRS: Final = 200


def recertify(
    run: Path,
    /,
    *,
    out: Annotated[Path | None, Parameter(alias="-o")] = None,
    changed: str | None = None,
    images: Path | None = None,
    data: Data = ALL,
    classifier: Annotated[str | None, Parameter(alias="-c")] = None,
    class_names: Path | None = None,
    denoiser: Annotated[str | None, Parameter(alias="-d")] = None,
    pairs: Whole | None = None,
    workers: Whole | None = None,
    seed: Whole | None = None,
    resume: Annotated[bool, FLAG] = False,
    alpha: float | None = None,
    n0: Whole | None = None,
    n: Whole | None = None,
    bound: Literal["multiclass", "cohen"] | None = None,
    label_map: Path | None = None,
    present: str | None = None,
    threshold: float | None = None,
    noise: Laws = None,
) -> None:
    """Certify again from old votes: those of a changed classifier's predecessor, or the logged answers of a service.

    --changed MODEL: the classifier was quantised, fine-tuned or replaced. It and the former one (-c) are shown the same
    fresh noise. The former votes, at half of alpha, less how often the two may differ, bound the changed one. This pays if
    votes are divided and the two rarely differ. Nothing is assumed about how the changed classifier was made.

    Without --changed: the logged answers of a service, under another alpha, n, bound or voting rule. No query is sent.
    Options that are not given keep their values from the run. Votes come from the log; a log that is damaged, lacks a sample
    or mixes model versions is refused. Choose the options before you see the results: the best of several certificates of
    one image is wrong with a probability that may exceed alpha.

    Examples:

        dsmooth recertify runs/cifar --images test.npz -c cifar:resnet56@resnet56.safetensors --changed onnx:int8.onnx
        --pairs 500 --out runs/int8

        dsmooth recertify runs/azure --bound cohen --alpha 0.01

        dsmooth recertify runs/azure/queries.jsonl --label-map animals.json --out runs/azure-animals

    Parameters
    ----------
    run: Path
        The folder of a run. Without --changed, of a run on a service, or the queries.jsonl in it.
    out: Path | None
        A folder to write, for `dsmooth report` and, with --changed, `dsmooth verify`; without --changed the certificates are
        only printed by default.
    changed: str | None
        The classifier in the place of the one that was certified, as for `dsmooth certify`; not a service.
    images: Path | None
        With --changed: the images that were certified.
    classifier: str | None
        With --changed: the classifier that was certified.
    class_names: Path | None
        With --changed: what the classes of both are called.
    denoiser: str | None
        With --changed: the denoiser that was certified; by default the shipped one that the run names.
    pairs: int | None
        With --changed: how many samples of an image are shown to both; 200 by default.
    workers: int | None
        With --changed: threads; one per core by default. Changes no result.
    seed: int | None
        With --changed: makes the noise reproducible, and so guessable.
    resume: bool
        With --changed: continue in --out.
    alpha: float | None
        Failure probability: an upper bound on the chance that a certificate is wrong.
    n0: int | None
        Use only the first N0 selection votes.
    n: int | None
        Use only the first N estimation votes.
    bound: Literal["multiclass", "cohen"] | None
        The bound that turns votes into a certificate.
    label_map: Path | None
        JSON file {"cat": ["tabby", "kitten"], ...} that maps labels to classes.
    present: str | None
        Certify whether this label is among those returned, instead of the top label.
    threshold: float | None
        With --present: the least score at which the label counts as present; 0.5 by default.
    noise: list[str] | None
        A noise distribution of your own that the run names, as import:package.module:factory.
    """
    introduce_laws(noise)
    rule = voting_rule(label_map, present, threshold)
    of_pairs = {
        "images": images if data == ALL else data,
        "-c": classifier,
        "class-names": class_names,
        "-d": denoiser,
        "pairs": pairs,
        "workers": workers,
        "seed": seed,
        "resume": resume or None,
    }
    of_log = {"alpha": alpha, "n0": n0, "n": n, "bound": bound, "label-map": label_map, "present": present}
    if changed is None:
        _check_left_out(of_pairs, "belongs to --changed")
        _from_log(run, out, rule, alpha=alpha, n0=n0, n=n, bound=bound)
        return
    _check_left_out(of_log, "is for the log of a service; with --changed alpha is the run's, half of it for its votes")
    if images is None or classifier is None or out is None:
        raise BadParameter("--changed asks both classifiers: give --images, the former one as -c, and --out")
    if (service := next(filter(is_service, (classifier, changed)), None)) is not None:
        raise BadParameter(f"{service} is a service, and pairs are asked of classifiers that run here: certify anew")
    data.check()
    former, other = (chosen_classifier(spec, class_names, None) for spec in (classifier, changed))
    pairs = _PAIRS if pairs is None else pairs
    _beside(run, out, images, data, former, other, denoiser, pairs, workers=workers, seed=seed, resume=resume)


def _check_left_out(options: Mapping[str, Any], why: str) -> None:
    """Raises BadParameter where one of these options was given."""
    if given := next((name for name, value in options.items() if value is not None), None):
        raise BadParameter(f"{given if given.startswith('-') else f'--{given}'} {why}")


def _beside(
    run: Path,
    out: Path,
    images: Path,
    data: Data,
    former: Classifier,
    changed: Classifier,
    spec: str | None,
    pairs: int,
    **circumstances: Any,
) -> None:
    """The changed classifier's certificates, from the run of the former one and so many pairs of an image."""
    from dsmooth.denoisers.loading import certified_denoiser
    from dsmooth.images.opening import holds_arrays
    from dsmooth.records.store import read_run
    from dsmooth.runs.changed import certify_changed_run
    from dsmooth.runs.verify import size_of_images

    held = read_run(run)
    size = data.size
    if size is None and not holds_arrays(images):
        size = size_of_images(held.records)
    channels = held.records[0].shape[2] if held.records else 3
    names = former.class_names
    shown = data.chosen(images, channels=channels, size=size or None, class_names=names, by_order=True)
    cleaner = certified_denoiser(spec, held.question.denoiser, held.header.get("denoiser_name"))
    with Bar("pairs", 0, "pairs") as bar:

        def show(progress: Progress) -> None:
            bar.to(progress.samples, of=progress.samples_in_all)

        found = certify_changed_run(
            run, shown, former, changed, cleaner, out,
            pairs=pairs, on_progress=show, on_notice=note, **circumstances,
        )  # fmt: skip
    certificates = found.certificates()
    for record, certificate in zip(found.records, certificates, strict=True):
        say(certificate_line(record.name, certificate, names, record.label))
    question = found.before.question
    certified = sum(not certificate.abstained for certificate in certificates)
    before = sum(record.answer is not None for record in found.records)
    say(
        f"{certified} of {len(certificates)} images certified for {changed.name}, {before} for {former.name} "
        f"({question.law}, alpha {question.alpha:g}: half of it for {question.n:,} former votes, half for {pairs:,} pairs)",
        f"asked: {len(found.pairs.records) * (pairs + 1):,} samples of fresh noise, each of both classifiers; "
        f"{len(certificates) - len(found.pairs.records)} images could not be certified by so many pairs and got none",
        f"run: {out}",
        f"next: dsmooth report {out}",
    )


def _from_log(
    log: Path,
    out: Path | None,
    rule: VotingRule | None,
    *,
    alpha: float | None,
    n0: int | None,
    n: int | None,
    bound: str | None,
) -> None:
    """The certificates that follow from the logged answers of a service, said, and written where `out` is given."""
    from dsmooth.runs.recertify import recertify as from_log

    result = from_log(log, alpha=alpha, n0=n0, n=n, bound=bound, rule=rule, out=out)
    if result.torn:
        note(f"left out {result.torn} bytes of an unfinished last line")
    if result.unfinished:
        note(f"left out {result.unfinished} unfinished images: finish them with dsmooth certify --resume")
    names = result.rule.class_names
    for record, certificate in zip(result.records, result.certificates, strict=True):
        say(certificate_line(record.name, certificate, names, record.label))
    first = result.records[0].question
    certified = sum(record.answer is not None for record in result.records)
    say(
        f"{certified} of {len(result.records)} images certified ({first.bound}, alpha {first.alpha:g}, "
        f"n0 {first.n0}, n {first.n}; no query was sent)"
    )
    if result.records[0].chosen_afterwards:
        say(
            "chosen after the votes: the options that differ from the run were set when its votes were known; records say so"
        )
    if out is not None:
        result.write(out)
        say(f"run: {out}", f"next: dsmooth report {out}")
