"""Certify again from the logged answers of a service."""

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

    Options that are not given keep their values from the run. Votes come from the log; a log that is damaged, lacks a sample
    or mixes model versions is refused. Choose the options before you see the results: the best of several certificates of
    one image is wrong with a probability that may exceed alpha.

    Examples:

        dsmooth recertify runs/azure --bound cohen --alpha 0.01

        dsmooth recertify runs/azure/queries.jsonl --label-map animals.json --out runs/azure-animals

    Parameters
    ----------
    log: Path
        The folder of a run on a service, or the queries.jsonl in it.
    out: Path | None
        A run folder to write, for `dsmooth report`; by default the certificates are only printed.
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
    from dsmooth.runs.recertify import recertify as from_log

    introduce_laws(noise)
    rule = voting_rule(label_map, present, threshold)
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
