"""Certificates from the logged answers of a service."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from dsmooth.cli.options import Laws, Whole, introduce_laws, voting_rule
from dsmooth.console import certificate_line, note, say

__all__ = ["recertify"]


def recertify(
    log: Path,
    /,
    *,
    out: Annotated[Path | None, Parameter(alias="-o")] = None,
    alpha: float | None = None,
    n0: Whole | None = None,
    n: Whole | None = None,
    bound: Literal["multiclass", "cohen"] | None = None,
    label_map: Path | None = None,
    present: str | None = None,
    threshold: float | None = None,
    noise: Laws = None,
) -> None:
    """Certify again from the logged answers of a service, under another alpha, n, bound or voting rule. Sends no query.

    Options that are not given stay as they were in the run. The trials are those in the log; a log that is damaged, lacks
    a sample or mixes model versions is refused. Decide on the options before you look: the best of several certificates of
    one image is wrong with a probability above alpha.

    Examples:

        dsmooth recertify runs/azure --bound cohen --alpha 0.01

        dsmooth recertify runs/azure/queries.jsonl --label-map animals.json --out runs/azure-animals

    Parameters
    ----------
    log: Path
        The folder of a run that asked a service, or the queries.jsonl in it.
    out: Path | None
        A run folder to write, for `dsmooth report`; by default the certificates are only printed.
    alpha: float | None
        Probability with which a certificate may be wrong.
    n0: int | None
        The first so many selection votes.
    n: int | None
        The first so many estimation votes.
    bound: Literal["multiclass", "cohen"] | None
        How votes become a certificate.
    label_map: Path | None
        JSON file {"cat": ["tabby", "kitten"], ...}: many labels to one class.
    present: str | None
        Certify whether this label is among the answers, in place of the top label.
    threshold: float | None
        With --present: the score from which the label counts; 0.5 by default.
    noise: list[str] | None
        A law of noise of your own that the log's run names, as import:package.module:factory.
    """
    from dsmooth.runs.recertify import recertify as from_log

    introduce_laws(noise)
    rule = voting_rule(label_map, present, threshold)
    result = from_log(log, alpha=alpha, n0=n0, n=n, bound=bound, rule=rule, out=out)
    if result.torn:
        note(f"left out {result.torn} bytes of an unfinished last line")
    if result.unfinished:
        note(f"{result.unfinished} images are unfinished and left out: finish them with dsmooth certify --resume")
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
            "chosen after the votes: what differs from the run was decided when its votes were known, and records say so"
        )
    if out is not None:
        result.write(out)
        say(f"run: {out}", f"next: dsmooth report {out}")
