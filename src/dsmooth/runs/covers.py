"""Covers that a record names, made again from the image: nothing that the file says of them is believed."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np

from dsmooth.errors import BadParameter
from dsmooth.images.sets import LabelledImage
from dsmooth.records.schema import Record
from dsmooth.theory.covers import CoverRule
from dsmooth.theory.threats.covering import Cover
from dsmooth.theory.votes import Votes

__all__ = ["chosen_cover", "why_not_made_again"]


def why_not_made_again(record: Record) -> str | None:
    """Why the cover of this record cannot be made again here; None where it can, or where there is none."""
    rule, told = record.question.plan, record.cover
    if told is None or not isinstance(rule, CoverRule):
        return None
    if rule.threat.lacks is not None:
        return rule.threat.lacks
    here = rule.threat.by
    return None if here == told["by"] else f"its images were made by {told['by']:.200}; here it would be {here}"


def chosen_cover(record: Record, image: LabelledImage, selection: Votes) -> Cover | None:
    """The cover that follows from the image and these selection votes; None where nothing is worth asking about."""
    rule = record.question.plan
    if not isinstance(rule, CoverRule):
        raise BadParameter(f"{record.name}: expected a record of a cover, got one of rule {rule.name}")
    covers = _covers(rule, image.pixels.shape, image.pixels.tobytes())
    return rule.choose(covers, selection, image.pixels.size)


@lru_cache(maxsize=64)
def _covers(rule: CoverRule, shape: tuple[int, ...], pixels: bytes) -> Mapping[float, Cover]:
    return rule.covers(np.frombuffer(pixels, dtype=np.uint8).reshape(shape))
