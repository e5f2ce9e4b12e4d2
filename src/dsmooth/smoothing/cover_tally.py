"""One image being put to the vote together with the centres of a cover of a family that is made of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from dsmooth.images.pixels import Pixels
from dsmooth.images.sets import LabelledImage
from dsmooth.records.digests import digest_image
from dsmooth.smoothing.chunks import Chunk, stream_at
from dsmooth.smoothing.tally import Tally
from dsmooth.theory.covers import CoverRule, CoverVotes
from dsmooth.theory.modes import Demand
from dsmooth.theory.threats.covering import Cover
from dsmooth.theory.votes import Label, Phase, StoppedVotes

__all__ = ["CoverTally", "unasked"]


def unasked(
    image: LabelledImage, digest: str, demand: Mapping[Phase, Demand], streams: Mapping[Phase, bytes]
) -> Callable[[int], Tally]:
    """The image before its first vote, for batches of so many rows. Covers are worked out here, once."""
    rule = demand.get(Phase.ESTIMATION)
    if isinstance(rule, CoverRule):
        return partial(CoverTally, image, digest, demand, streams, rule=rule, covers=rule.covers(image.pixels))
    return partial(Tally, image, digest, demand, streams)


@dataclass(eq=False, kw_only=True)
class CoverTally(Tally):
    """The selection votes at an image; then the votes at the centres that follow from them, several at a time.

    Votes count in the order of the centres, up to the first that does not hold, whatever was asked ahead. So what is counted
    does not depend on batches or threads.
    """

    rule: CoverRule
    covers: Mapping[float, Cover]
    cover: Cover | None = None
    """The one that is asked about, when the selection has come."""
    centres: list[Tally] = field(default_factory=list)
    _places: dict[bytes, int] = field(default_factory=dict)
    _heard: list[list[Label | None]] = field(default_factory=list)
    """Answers of centres that are not counted yet."""
    _counted: int = 0
    """Centres whose votes count: all of them are done, and all but the last hold."""
    _failed: bool = False

    @property
    def wanted(self) -> int:
        """As a Tally's."""
        return super().wanted + sum(centre.wanted for centre in self._open)

    def take(self, most: int, *, ahead: bool = False) -> Chunk | None:
        """As a Tally's; of the first centre that wants any."""
        if (chunk := super().take(most)) is not None:
            return chunk
        return next((chunk for centre in self._open if (chunk := centre.take(most, ahead=ahead)) is not None), None)

    def receive(self, chunk: Chunk, labels: Sequence[Label | None]) -> Sequence[Label | None]:
        """As a Tally's; the answers that count from now on, of this chunk or an earlier one."""
        if chunk.phase is Phase.SELECTION:
            return super().receive(chunk, labels)
        place = self._places[chunk.stream]
        self._heard[place] += self.centres[place].receive(chunk, labels)
        released: list[Label | None] = []
        while not self.done:
            centre = self.centres[self._counted]
            released += self._heard[self._counted]
            self._heard[self._counted] = []
            if not centre.done:
                break
            self._failed = not self._holds(centre)
            self._counted += 1
        return released

    @property
    def done(self) -> bool:
        """As a Tally's."""
        selected = self.trials[Phase.SELECTION] >= self.goals[Phase.SELECTION]
        return selected and (self._failed or self._counted == len(self.centres))

    @property
    def drawn(self) -> int:
        """As a Tally's."""
        return super().drawn + sum(centre.asked[Phase.ESTIMATION] for centre in self.centres)

    @property
    def share(self) -> float:
        """As a Tally's."""
        return 1.0 if self.done else self._counted / max(1, len(self.centres))

    def shown(self, chunk: Chunk) -> tuple[Pixels, str]:
        """As a Tally's."""
        if chunk.phase is Phase.SELECTION:
            return super().shown(chunk)
        return self.centres[self._places[chunk.stream]].shown(chunk)

    @property
    def estimation(self) -> CoverVotes:
        """As a Tally's."""
        parts = tuple(_stopped(centre) for centre in self.centres[: self._counted])
        return CoverVotes(0.0 if self.cover is None else self.cover.rho, len(self.centres), parts)

    @property
    def _open(self) -> list[Tally]:
        """The centres that are asked about: none behind one that is known to have failed."""
        opened = []
        for centre in self.centres[self._counted :]:
            opened.append(centre)
            if centre.done and not self._holds(centre):
                break
        return opened

    def _holds(self, centre: Tally) -> bool:
        rho = 0.0 if self.cover is None else self.cover.rho
        return self.rule.held(self.votes(Phase.SELECTION), _stopped(centre), rho, self.image.pixels.size)

    def _reached(self, phase: Phase) -> None:
        """The selection votes are there: they decide the cover."""
        selection = self._votes(phase)
        self.cover = self.rule.choose(self.covers, selection, self.image.pixels.size)
        if self.cover is None:
            return
        demand: dict[Phase, Demand] = {
            Phase.SELECTION: selection.trials,
            Phase.ESTIMATION: self.rule.rule(self.cover.rho),
        }
        for place, pixels in enumerate(self.cover.centres):
            digest = digest_image(pixels)
            stream = stream_at(self.streams[Phase.ESTIMATION], digest)
            named = LabelledImage(self.image.name, pixels)
            centre = Tally(named, digest, demand, {Phase.ESTIMATION: stream}, self.batch_size)
            self.centres.append(centre.given(selection))
            self._places[stream] = place
            self._heard.append([])


def _stopped(centre: Tally) -> StoppedVotes:
    """What came out at one centre."""
    outcome = centre.estimation
    assert isinstance(outcome, StoppedVotes)
    return outcome
