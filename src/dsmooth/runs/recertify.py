"""Certificates from logged answers: another alpha, n, bound or voting rule; no network, no torch, no query."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dsmooth.errors import BadParameter, BadRun
from dsmooth.records.digests import digest_json
from dsmooth.records.keys import read_secret
from dsmooth.records.outputs import check_writable
from dsmooth.records.querylog import LOG, Address, QueryLog, read_query_log
from dsmooth.records.question import Question, Role
from dsmooth.records.schema import SCHEMA, Record, certificate_of, radius_text, votes_to_json
from dsmooth.records.store import Run, RunWriter, check_free, read_run
from dsmooth.records.witness import witness_of
from dsmooth.services.catalogue import reader
from dsmooth.services.provider import read_logged
from dsmooth.services.voting import VotingRule, rule_of
from dsmooth.theory.bounds import check_count, check_level
from dsmooth.theory.certifiers import Certificate
from dsmooth.theory.modes import FIXED
from dsmooth.theory.votes import Label, Votes

__all__ = ["Recertified", "recertify"]


@dataclass(frozen=True)
class Recertified:
    """A run as it would have been, from the same answers."""

    run: Run
    rule: VotingRule
    records: tuple[Record, ...]
    """Not sealed yet, and without the file of their votes."""
    certificates: tuple[Certificate, ...]
    labels: tuple[tuple[Label | None, ...], ...]
    """The votes of each record, selection first."""
    unfinished: int
    """Images with answers but without a record: resuming the run finishes them."""
    torn: int
    """Bytes of an unfinished last line, left out."""

    def write(self, out: Path) -> Run:
        """`out` holds a run folder of these records, for `report`."""
        first = self.records[0]
        header = {
            **{key: value for key, value in self.run.header.items() if key not in ("schema", "parameters")},
            "question": first.asked.to_json(),
            "evaluated": None if first.evaluated is None else first.evaluated.to_json(),
            "data": None if self.run.late else self.run.data,
            "images": self.run.images,
            "class_names": None if self.rule.class_names is None else list(self.rule.class_names),
            "recertified": {
                "from": self.run.folder.name,
                "created": datetime.now(UTC).isoformat(timespec="seconds"),
                "asked": self.run.asked,
            },
        }
        key = self.run.key or read_secret(self.run.folder, str(self.run.header["key_commitment"]))
        witness = witness_of(self.run.folder, self.run.header)
        with RunWriter(out, header, key, resume=False) as writer:
            if witness is not None:
                witness.write(out)
            for record, labels in zip(self.records, self.labels, strict=True):
                sidecar = writer.sidecar(record.index)
                sidecar.add(labels)
                writer.append(replace(record, votes=sidecar.close()))
            if self.run.key is not None:  # what is still secret there stays so here
                writer.finish()
        return read_run(out)


def recertify(
    source: Path | str,
    *,
    alpha: float | None = None,
    n0: int | None = None,
    n: int | None = None,
    bound: str | None = None,
    rule: VotingRule | None = None,
    out: Path | None = None,
) -> Recertified:
    """The certificates of a run's finished images from its query log; parameters that are not given keep their values.

    `n0` and `n` use only the first trials of the log, which must hold them. Choosing alpha, n, bound or rule by the result
    spends more than alpha. Raises BadRun where the log is damaged, belongs to another run, lacks a sample of a finished
    image, or gives other votes than the records; `out` is only checked here (`write` fills it).
    """
    source = Path(source)
    folder = source.parent if source.is_file() else source
    if source.is_file() and source.name != LOG:
        raise BadRun(f"{source}: expected a run folder or its {LOG}, with every answer; other files hold no votes")
    if not (folder / LOG).is_file():
        raise BadRun(f"{folder}: expected a run on a service (with {LOG}), found none")
    if out is not None:
        check_free(out, resume=False)
        check_writable(out)
    run, log = read_run(folder), read_query_log(folder / LOG)
    _check_together(run, log)
    if run.question.mode != FIXED:
        raise BadRun(
            f"{folder}: expected a run of mode fixed, got {run.question.mode.name}: its votes were looked at on the way, or "
            "their number followed from others, and no other alpha, n or bound is justified"
        )
    if not run.records:
        raise BadRun(f"{folder}: expected at least one finished image, found none; finish it with --resume")
    classifier = log.header["classifier"]
    read = reader(classifier["provider"], classifier["wire"])
    held_rule = rule_of(classifier["voting"])
    new_rule = rule or held_rule
    new_classifier = {**classifier, "voting": new_rule.describe()}
    held = run.question
    evaluated = replace(
        held,
        n0=_within(n0, held.n0, "n0"),
        n=_within(n, held.n, "n"),
        alpha=held.alpha if alpha is None else check_level(alpha),
        bound=bound or held.bound,
        classifier=digest_json(new_classifier),
    )
    n0, n = evaluated.n0, evaluated.n
    records, certificates, labels = [], [], []
    for record in run.records:
        clock = time.monotonic()
        replies = [
            None if raw is None else read_logged(read, raw)
            for raw in (
                _raw_of(log, Address(record.image, phase, i))
                for phase, trials in (("selection", held.n0), ("estimation", held.n))
                for i in range(trials)
            )
        ]
        before = [None if reply is None else held_rule.vote(reply) for reply in replies]
        if (_counted(before[: held.n0]), _counted(before[held.n0 :])) != (record.selection, record.estimation):
            raise BadRun(f"{log.path}: its answers give different votes for {record.name} than the run's record")
        votes = [None if reply is None else new_rule.vote(reply) for reply in replies]
        kept = [*votes[:n0], *votes[held.n0 : held.n0 + n]]
        record = replace(
            record,
            schema=SCHEMA,
            evaluated=None if _same_claim(evaluated, record.asked) else evaluated,
            label=_translated(record.label, held_rule, new_rule),
            selection=_counted(kept[:n0]),
            estimation=_counted(kept[n0:]),
            service={**(record.service or {}), **new_classifier},
            seconds=round(time.monotonic() - clock, 3),
        )
        certificate = certificate_of(record)
        records.append(replace(record, answer=certificate.answer, radius=radius_text(certificate.radius)))
        certificates.append(certificate)
        labels.append(tuple(kept))
    finished = {record.image for record in run.records}
    return Recertified(
        run,
        new_rule,
        tuple(records),
        tuple(certificates),
        tuple(labels),
        len({address.image for address in log.entries} - finished),
        log.torn,
    )


def _check_together(run: Run, log: QueryLog) -> None:
    """Raises BadRun unless this is the log of this run, made by one model."""
    held = (log.header.get("key_commitment"), log.header.get("parameters"))
    if held != (run.header.get("key_commitment"), run.asked):
        raise BadRun(f"{log.path}: expected the log of this run, got that of another")
    if log.drifted:
        raise BadRun(f"{log.path}: the service's model changed during the run; its votes are not those of one function")


def _raw_of(log: QueryLog, address: Address) -> str | None:
    if address not in log.entries:
        raise BadRun(
            f"{log.path}: sample {address.sample} ({address.phase}) of image {address.image[:12]} is missing, "
            "and leaving it out would falsify the certificate"
        )
    return log.entries[address].raw


def _counted(votes: Sequence[Label | None]) -> dict[str, Any]:
    return votes_to_json(Votes(Counter(vote for vote in votes if vote is not None), len(votes)))


def _same_claim(one: Question, other: Question) -> bool:
    """Whether two questions differ in nothing but circumstances."""
    roles = (Role.SUBJECT, Role.CLAIM)
    return one.to_json(*roles) == other.to_json(*roles)


def _within(wanted: int | None, held: int, name: str) -> int:
    if wanted is not None and check_count(wanted, name) > held:
        raise BadParameter(f"{name} must be at most the {held} trials in the log, got {wanted}")
    return held if wanted is None else wanted


def _translated(label: int | None, held: VotingRule, new: VotingRule) -> int | None:
    """The class of an image under the new rule: the one of the same name, where both have names."""
    if label is None or held.describe() == new.describe():
        return label
    if held.class_names is None or new.class_names is None or label >= len(held.class_names):
        return None
    name = held.class_names[label]
    return list(new.class_names).index(name) if name in new.class_names else None
