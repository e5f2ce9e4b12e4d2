"""A record's claim, made again from its packed votes: every look, every number of votes, the best look, the certificate."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dsmooth.errors import BadParameter
from dsmooth.records.digests import digest_image
from dsmooth.records.question import Question
from dsmooth.records.schema import Record, cover_to_json, radius_text, votes_from_json, votes_to_json
from dsmooth.theory.certifiers import Certificate
from dsmooth.theory.covers import CoverRule, CoverVotes
from dsmooth.theory.modes import Outcome
from dsmooth.theory.pilot import Sizes
from dsmooth.theory.stopping import StoppingRule, stopped
from dsmooth.theory.threats.covering import Cover
from dsmooth.theory.votes import Label, Phase, StoppedVotes, Votes, counted

__all__ = ["Recount", "charged", "charged_at_centres", "differs", "recount"]


@dataclass(frozen=True)
class Recount:
    """What the votes come to."""

    selection: Votes
    estimation: Outcome
    certificate: Certificate
    weight: float
    """W of a randomised bound; 1 under every other bound."""
    cover: Cover | None = None
    """The cover that was made again, where the claim is about a family of images."""

    @property
    def last(self) -> Votes:
        """All estimation votes that count."""
        if isinstance(self.estimation, CoverVotes):
            return self.estimation.pooled
        return self.estimation.last if isinstance(self.estimation, StoppedVotes) else self.estimation


def recount(
    question: Question,
    labels: Sequence[Label | None],
    dim: int,
    weight: float = 1.0,
    *,
    told: CoverVotes | None = None,
    choose: Callable[[Votes], Cover | None] | None = None,
) -> Recount | None:
    """The claim that these votes support, selection first, for an image of dim coordinates; None where they do not fit.

    weight: W of a randomised bound. For a claim about a family of images: `choose` makes the cover again that follows from
    the selection votes; where the image is not at hand, its radius and the number of its centres are those that are told.

    They fit where their number is the one that the question allows: n0 and n; the number that follows from the selection; or
    the number at which the rule that looks at them on the way would have stopped.
    """
    first = question.n0 if Phase.SELECTION in question.demand else 0
    if len(labels) < first:
        return None
    selection, later = counted(labels[:first]), labels[first:]
    demand, cover = question.demand[Phase.ESTIMATION], None
    estimation: Outcome
    if isinstance(demand, CoverRule):
        if choose is not None:
            cover = choose(selection)
            rho, centres = (0.0, 0) if cover is None else (cover.rho, len(cover.centres))
        else:
            rho, centres = (0.0, 0) if told is None else (told.rho, told.centres)
        parts = _at_centres(demand, selection, later, dim, rho, centres)
        if parts is None:
            return None
        estimation = CoverVotes(rho, centres, parts)
    elif isinstance(demand, StoppingRule):
        stopped = _stopped(demand, selection, later, dim)
        if stopped is None or stopped.last.trials != len(later):
            return None
        estimation = stopped
    else:
        wanted = demand.size(selection) if isinstance(demand, Sizes) else demand
        if len(later) != wanted:
            return None
        estimation = counted(later)
    return Recount(selection, estimation, question.plan.certify(selection, estimation, dim, weight), weight, cover)


def differs(record: Record, found: Recount) -> str | None:
    """What the record says otherwise than its votes; None where it says nothing else."""
    reached = votes_to_json(found.estimation.best) if isinstance(found.estimation, StoppedVotes) else None
    told = (
        ("cover", record.cover, _cover(record, found)),
        ("selection", votes_from_json(record.selection), found.selection),
        ("estimation", votes_from_json(record.estimation), found.last),
        ("votes at the best look", record.reached, reached),
        ("answer", record.answer, found.certificate.answer),
        ("radius", record.radius, radius_text(found.certificate.radius)),
    )
    return next((what for what, says, counted in told if says != counted), None)


def _cover(record: Record, found: Recount) -> dict[str, Any] | None:
    """What the record should say of its cover: its centres are those made again, where they were."""
    if not isinstance(found.estimation, CoverVotes) or record.cover is None:
        return None
    made = [] if found.cover is None else [digest_image(pixels) for pixels in found.cover.centres]
    centres = made or [centre["image"] for centre in record.cover["centres"]]
    if len(centres) != found.estimation.centres:
        return None
    return cover_to_json(found.estimation, centres, record.cover["by"])


def charged_at_centres(question: Question, found: Recount, wrong: Sequence[int], dim: int) -> Certificate:
    """As `charged`, for votes at the centres of a cover: of each, how many of those for the label were another's."""
    label, votes = found.certificate.answer, found.estimation
    if label is None or not isinstance(votes, CoverVotes):
        return found.certificate
    parts = tuple(_stopped_less(part, label, lost, 0) for part, lost in zip(votes.parts, wrong, strict=True))
    return question.plan.certify(found.selection, replace(votes, parts=parts), dim)


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
    if isinstance(found.estimation, CoverVotes):
        raise BadParameter("the votes at the centres of a cover are charged centre by centre")
    if isinstance(found.estimation, StoppedVotes):
        estimation = _stopped_less(found.estimation, label, wrong, others)
    else:
        estimation = _without(found.estimation, _doubtful(found.estimation, label, wrong, others))
    return question.plan.certify(found.selection, estimation, dim, weight)


def _stopped_less(votes: StoppedVotes, label: Label, wrong: int, others: int) -> StoppedVotes:
    """The votes without those in doubt among the votes at the best look, on which the claim rests."""
    taken = _doubtful(votes.best, label, wrong, others)
    return StoppedVotes(_without(votes.last, taken), _without(votes.best, taken))


def _doubtful(votes: Votes, label: Label, wrong: int, others: int) -> dict[Label, int]:
    """So many votes of the label, and so many of its weaker rivals, or all that there are."""
    taken = {label: min(wrong, votes.of(label))}
    rivals = [rival for rival, _ in votes.ranked() if rival != label]
    for rival in rivals[1:]:
        taken[rival] = min(others, votes.of(rival))
        others -= taken[rival]
    return taken


def _without(votes: Votes, taken: Mapping[Label, int]) -> Votes:
    """The same trials, so many votes of them now missing: as missing ones they count for the strongest rival."""
    return Votes({label: count - taken.get(label, 0) for label, count in votes.counts.items()}, votes.trials)


def _at_centres(
    rule: CoverRule, selection: Votes, labels: Sequence[Label | None], dim: int, rho: float, centres: int
) -> tuple[StoppedVotes, ...] | None:
    """The votes at each centre up to the first that failed; None where there are more, or fewer."""
    parts: list[StoppedVotes] = []
    first, held = 0, True
    while held and len(parts) < centres:
        part = _stopped(rule.rule(rho), selection, labels[first:], dim)
        if part is None:
            return None
        parts.append(part)
        first, held = first + part.last.trials, rule.held(selection, part, rho, dim)
    return tuple(parts) if first == len(labels) else None


def _stopped(rule: StoppingRule, selection: Votes, labels: Sequence[Label | None], dim: int) -> StoppedVotes | None:
    """The votes at which the rule would have stopped, the first of these; None where it would have asked for more."""
    return stopped(rule, selection, lambda trials: counted(labels[:trials]) if trials <= len(labels) else None, dim)
