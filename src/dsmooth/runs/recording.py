"""From an image that has all its votes to the record of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dsmooth.records.question import Question
from dsmooth.records.schema import Record, cover_to_json, radius_text, votes_to_json
from dsmooth.smoothing.chunks import MasterKey
from dsmooth.smoothing.cover_tally import CoverTally
from dsmooth.smoothing.tally import Tally
from dsmooth.theory.certifiers import Certificate
from dsmooth.theory.votes import StoppedVotes

__all__ = ["record_of"]


def record_of(
    tally: Tally,
    question: Question,
    key: MasterKey,
    certificate: Certificate,
    *,
    index: int,
    votes: dict[str, Any],
    promise: str | None,
    versions: dict[str, str],
    seconds: float,
    attempt: int,
    service: dict[str, Any] | None,
) -> Record:
    """The record of a certificate that follows from this tally; it is not sealed yet.

    votes: what is said of the packed votes. promise: digest of what a witness vouches for. seconds: what the image took.
    """
    image, estimation = tally.image, tally.estimation
    height, width, channels = image.pixels.shape
    return Record(
        index=index,
        name=image.name,
        image=tally.digest,
        shape=(height, width, channels),
        decoding=image.decoding,
        label=image.label,
        answer=certificate.answer,
        radius=radius_text(certificate.radius),
        asked=question,
        selection=votes_to_json(certificate.selection),
        estimation=votes_to_json(certificate.estimation),
        reached=votes_to_json(estimation.best) if isinstance(estimation, StoppedVotes) else None,
        cover=_cover(tally),
        drawn=tally.drawn,
        votes=votes,
        key=_key(tally, key, promise),
        batch=(tally.batch_size, channels, height, width),
        versions=versions,
        seconds=round(seconds, 3),
        nondeterministic=tally.nondeterministic,
        attempt=attempt,
        service=service,
    )


def _key(tally: Tally, key: MasterKey, promise: str | None) -> dict[str, str]:
    """What may be said of the key while it is secret: the commitment, its source, and the streams of this image."""
    streams: Mapping[Any, bytes] = tally.streams
    return {
        "commitment": key.commitment,
        "source": key.source,
        **({} if promise is None else {"witness": promise}),
        **{phase.value: stream.hex() for phase, stream in streams.items()},
    }


def _cover(tally: Tally) -> dict[str, Any] | None:
    """What is recorded of the centres of a cover, where there is one."""
    if not isinstance(tally, CoverTally):
        return None
    return cover_to_json(tally.estimation, [centre.digest for centre in tally.centres], tally.rule.threat.by)
