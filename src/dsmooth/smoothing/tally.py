"""The votes of one image as they come."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from dsmooth.errors import BadParameter
from dsmooth.images.pixels import Pixels
from dsmooth.images.sets import LabelledImage
from dsmooth.records.question import Question
from dsmooth.smoothing.chunks import Chunk
from dsmooth.theory.bounds import check_count, weight_of
from dsmooth.theory.certifiers import Certificate
from dsmooth.theory.covers import CoverRule
from dsmooth.theory.laws.base import EnumeratedLaw
from dsmooth.theory.modes import Demand, Outcome
from dsmooth.theory.pilot import Sizes
from dsmooth.theory.prediction import Prediction, predict_exactly, predict_votes
from dsmooth.theory.stopping import StoppingRule
from dsmooth.theory.votes import Label, Phase, StoppedVotes, Votes

__all__ = ["AnyTally", "Recall", "Tally", "checked_demand"]

_NONE = Votes({}, 0)


def checked_demand(demand: Mapping[Phase, Demand]) -> dict[Phase, Demand]:
    """The same, for whole numbers of votes and things that decide them; raises BadParameter for anything else."""
    checked: dict[Phase, Demand] = {}
    for phase, wanted in demand.items():
        if isinstance(wanted, (StoppingRule, Sizes, CoverRule)):
            check_count(demand.get(Phase.SELECTION), "n0")  # what decides the number knows the selection votes
            checked[phase] = wanted
        elif hasattr(wanted, "certify"):
            raise BadParameter(
                f"{type(wanted).__name__} offers no look: its bound is for a number of votes fixed in advance, and stopping "
                "when it looks good would void it; pass the number, or a mode that may look (curve, decision)"
            )
        else:
            checked[phase] = check_count(wanted, "n0" if phase is Phase.SELECTION else "n")
    return checked


@dataclass(eq=False)
class Tally:
    """How many samples of one image each phase wants for now, has asked for, and has counted.

    Votes count in the order of samples. A phase whose number is decided by a rule waits for the selection votes; then it
    wants votes up to the rule's next look, and never counts one beyond its last. So what is counted does not depend on what
    was asked ahead, on batches or on threads.
    """

    image: LabelledImage
    digest: str
    demand: Mapping[Phase, Demand]
    streams: Mapping[Phase, bytes]
    batch_size: int
    """Rows of the batches that its votes come from."""
    counts: dict[Phase, Counter[Label]] = field(default_factory=dict)
    trials: Counter[Phase] = field(default_factory=Counter)
    asked: Counter[Phase] = field(default_factory=Counter)
    goals: dict[Phase, int] = field(default_factory=dict)
    """How many votes a phase wants for now; no entry while the selection has to come first."""
    nondeterministic: bool = False
    """The same rows were answered differently: the classifier brings randomness of its own."""
    rules: dict[Phase, StoppingRule] = field(default_factory=dict)
    """The rules that look at the votes of their phase."""
    _held: int = 0
    _best: Votes = _NONE

    def __post_init__(self) -> None:
        self.goals = {phase: demand for phase, demand in self.demand.items() if isinstance(demand, int)}
        self.rules = {phase: demand for phase, demand in self.demand.items() if isinstance(demand, StoppingRule)}

    @property
    def wanted(self) -> int:
        """Samples that are wanted for now and were not asked for yet."""
        return sum(max(0, goal - self.asked[phase]) for phase, goal in self.goals.items())

    def take(self, most: int, *, ahead: bool = False) -> Chunk | None:
        """The next samples to draw, at most so many; None when all that are wanted have been asked for.

        ahead: also samples that the next look may make superfluous.
        """
        for phase, goal in self.goals.items():
            first, limit = self.asked[phase], goal
            if ahead and phase in self.rules and self.trials[phase] < goal:
                limit = self.rules[phase].most
            if first < limit:
                count = min(most, limit - first)
                self.asked[phase] += count
                return Chunk(phase, self.streams[phase], first, count)
        return None

    def receive(self, chunk: Chunk, labels: Sequence[Label | None]) -> Sequence[Label | None]:
        """Counts the answers to a chunk up to the last look, and returns those; None is a trial without a vote."""
        phase, used = chunk.phase, 0
        counts = self.counts.setdefault(phase, Counter())
        while used < len(labels) and (wanted := self.goals[phase] - self.trials[phase]) > 0:
            part = labels[used : used + wanted]
            used += len(part)
            self.trials[phase] += len(part)
            counts.update(label for label in part if label is not None)
            if self.trials[phase] == self.goals[phase]:
                self._reached(phase)
        return labels[:used]

    @property
    def done(self) -> bool:
        return len(self.goals) == len(self.demand) and all(self.trials[p] >= goal for p, goal in self.goals.items())

    @property
    def drawn(self) -> int:
        """Samples drawn in total, counted or not: the cost of the image."""
        return self.asked.total()

    def votes(self, phase: Phase) -> Votes:
        """The votes of a phase in whose number they had no say; raises BadParameter where a rule looked at them."""
        if isinstance(self.demand[phase], StoppingRule):
            raise BadParameter(
                "these votes were seen by a stopping rule: use tally.estimation, which only that rule can read"
            )
        return self._votes(phase)

    @property
    def share(self) -> float:
        """How much of what the image may take is done, from 0 to 1."""
        most = sum(_most(demand) for demand in self.demand.values())
        return 1.0 if self.done else self.trials.total() / most

    def shown(self, chunk: Chunk) -> tuple[Pixels, str]:
        """The image that these samples are of, and its digest."""
        return self.image.pixels, self.digest

    @property
    def estimation(self) -> Outcome:
        """The estimation votes, in the type that says whether a stopping rule saw them."""
        if Phase.ESTIMATION in self.rules:
            return StoppedVotes(self._votes(Phase.ESTIMATION), self._best)
        return self._votes(Phase.ESTIMATION)

    def certificate(self, question: Question) -> Certificate:
        """The certificate of these votes, for the settings that they were drawn for."""
        selection = self.votes(Phase.SELECTION) if Phase.SELECTION in self.demand else _NONE
        weight = weight_of(self.streams.get(Phase.BOUND))
        return question.plan.certify(selection, self.estimation, self.image.pixels.size, weight)

    def prediction(self, question: Question) -> Prediction:
        """The prediction of these votes, for the settings that they were drawn for."""
        if isinstance(question.law, EnumeratedLaw):
            return predict_exactly(self.votes(Phase.ESTIMATION))
        return predict_votes(self.votes(Phase.PREDICTION), question.alpha)

    def given(self, selection: Votes) -> Self:
        """The same when the selection votes are these, counted elsewhere."""
        self.counts[Phase.SELECTION] = Counter(selection.counts)
        self.trials[Phase.SELECTION] = self.asked[Phase.SELECTION] = selection.trials
        self._reached(Phase.SELECTION)
        return self

    def _votes(self, phase: Phase) -> Votes:
        return Votes(self.counts.get(phase, {}), self.trials[phase])

    def _reached(self, phase: Phase) -> None:
        """A phase has the votes that it wanted: what follows from that."""
        if phase is Phase.SELECTION:
            for later, demand in self.demand.items():
                if later in self.rules:
                    self._look(later)
                elif isinstance(demand, Sizes):
                    self.goals[later] = demand.size(self._votes(phase))
        elif phase in self.rules:
            self._look(phase)

    def _look(self, phase: Phase) -> None:
        rule, votes = self.rules[phase], self._votes(phase)
        verdict = rule.look(self._votes(Phase.SELECTION), votes, held=self._held, dim=self.image.pixels.size)
        if verdict.held > self._held:
            self._held, self._best = verdict.held, votes
        self.goals[phase] = votes.trials if verdict.more is None else min(verdict.more, rule.most)


@dataclass(eq=False)
class Recall:
    """Samples that were asked before, asked again: whose they are, and which."""

    image: LabelledImage
    digest: str
    streams: Mapping[Phase, bytes]
    samples: Sequence[tuple[Phase, int]]
    batch_size: int
    nondeterministic: bool = False
    _asked: int = 0
    _received: int = 0

    def shown(self, chunk: Chunk) -> tuple[Pixels, str]:
        """As a Tally's."""
        return self.image.pixels, self.digest

    @property
    def wanted(self) -> int:
        """Samples that were not asked for yet."""
        return len(self.samples) - self._asked

    def take(self, most: int, *, ahead: bool = False) -> Chunk | None:
        """The next sample, on its own; None when all have been asked for."""
        if not self.wanted or most < 1:
            return None
        phase, number = self.samples[self._asked]
        self._asked += 1
        return Chunk(phase, self.streams[phase], number, 1)

    def receive(self, chunk: Chunk, labels: Sequence[Label | None]) -> Sequence[Label | None]:
        """All answers are wanted."""
        self._received += len(labels)
        return labels

    @property
    def done(self) -> bool:
        return self._received == len(self.samples)


AnyTally = Tally | Recall
"""What a scheduler asks for rows."""


def _most(demand: Demand) -> int:
    return demand if isinstance(demand, int) else demand.most
