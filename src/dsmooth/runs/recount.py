"""A record's claim, made again from its packed votes: every look, every number of votes, the best look, the certificate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dsmooth.records.question import Question
from dsmooth.records.schema import Record, radius_text, votes_from_json, votes_to_json
from dsmooth.theory.certifiers import Certificate
from dsmooth.theory.pilot import Sizes
from dsmooth.theory.stopping import StoppingRule
from dsmooth.theory.votes import Label, Phase, StoppedVotes, Votes

__all__ = ["Recount", "charged", "counted", "differs", "recount"]


@dataclass(frozen=True)
class Recount:
    """What the votes come to."""

    selection: Votes
    estimation: Votes | StoppedVotes
    certificate: Certificate
    weight: float
    """W of a randomised bound; 1 under every other bound."""

    @property
    def last(self) -> Votes:
        """All estimation votes that count."""
        return self.estimation.last if isinstance(self.estimation, StoppedVotes) else self.estimation


def recount(question: Question, labels: Sequence[Label | None], dim: int, weight: float = 1.0) -> Recount | None:
    """The claim that these votes support, selection first, for an image of dim coordinates; None where they do not fit.

    weight: W of a randomised bound.

    They fit where their number is the one that the question allows: n0 and n; the number that follows from the selection; or
    the number at which the rule that looks at them on the way would have stopped.
    """
    first = question.n0 if Phase.SELECTION in question.demand else 0
    if len(labels) < first:
        return None
    selection, later = counted(labels[:first]), labels[first:]
    demand = question.demand[Phase.ESTIMATION]
    estimation: Votes | StoppedVotes
    if isinstance(demand, StoppingRule):
        stopped = _stopped(demand, selection, later, dim)
        if stopped is None:
            return None
        estimation = stopped
    else:
        wanted = demand.size(selection) if isinstance(demand, Sizes) else demand
        if len(later) != wanted:
            return None
        estimation = counted(later)
    return Recount(selection, estimation, question.plan.certify(selection, estimation, dim, weight), weight)


def differs(record: Record, found: Recount) -> str | None:
    """What the record says otherwise than its votes; None where it says nothing else."""
    reached = votes_to_json(found.estimation.best) if isinstance(found.estimation, StoppedVotes) else None
    told = (
        ("selection", votes_from_json(record.selection), found.selection),
        ("estimation", votes_from_json(record.estimation), found.last),
        ("votes at the best look", record.reached, reached),
        ("answer", record.answer, found.certificate.answer),
        ("radius", record.radius, radius_text(found.certificate.radius)),
    )
    return next((what for what, says, counted in told if says != counted), None)


def charged(
    question: Question, found: Recount, wrong: int, dim: int, others: int = 0, *, weight: float | None = None
) -> Certificate:
    """The certificate that is left where so many of the estimation votes for its label were another label's.

    others: how many of the votes that were not for it may have been for another of its rivals than is recorded. The
    strongest rival gets them all: nothing that may have been meant is worse. weight: W of a randomised bound, where it is
    not the record's that is believed.
    """
    label, weight = found.certificate.answer, found.weight if weight is None else weight
    if label is None or not (wrong or others or weight != found.weight):
        return found.certificate
    if found.certificate.top > 1:
        # any rival may be the one that matters: what may be wrong is missing, and so it is every rival's
        wrong, others = wrong + others, 0
    estimation: Votes | StoppedVotes
    if isinstance(found.estimation, StoppedVotes):
        last, best = found.estimation.last, found.estimation.best
        # a rule that looks counts what is for the label and what is not: rivals are alike to it
        estimation = StoppedVotes(_less(last, label, wrong, 0), _less(best, label, wrong, 0))
    else:
        estimation = _less(found.estimation, label, wrong, others)
    return question.plan.certify(found.selection, estimation, dim, weight)


def _less(votes: Votes, label: Label, wrong: int, others: int) -> Votes:
    """The votes with so many taken away, of the label's and of its weaker rivals': they count for its strongest rival."""
    counts = {**votes.counts, label: max(0, votes.of(label) - wrong)}
    rivals = [rival for rival, _ in votes.ranked() if rival != label]
    for rival in rivals[1:]:
        taken = min(others, counts[rival])
        counts[rival] -= taken
        others -= taken
    return Votes(counts, votes.trials)


def _stopped(rule: StoppingRule, selection: Votes, labels: Sequence[Label | None], dim: int) -> StoppedVotes | None:
    held, best, trials = 0, Votes({}, 0), 0
    while True:
        votes = counted(labels[:trials])
        verdict = rule.look(selection, votes, held=held, dim=dim)
        if verdict.held > held:
            held, best = verdict.held, votes
        if verdict.more is None:
            return StoppedVotes(votes, best) if trials == len(labels) else None
        trials = min(verdict.more, rule.most)
        if trials > len(labels):
            return None


def counted(labels: Sequence[Label | None]) -> Votes:
    """The votes of so many trials; None is a trial without one."""
    counts: dict[Label, int] = {}
    for label in labels:
        if label is not None:
            counts[label] = counts.get(label, 0) + 1
    return Votes(counts, len(labels))
