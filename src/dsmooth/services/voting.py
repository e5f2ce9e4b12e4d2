"""Many tags -> one vote. The rule is part of the function that is certified; all of them work on logged answers too."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from dsmooth.errors import BadParameter, BadRun
from dsmooth.records.reading import no_duplicates
from dsmooth.services.descriptions import read_description
from dsmooth.services.provider import Reply
from dsmooth.theory.votes import Label

__all__ = ["LabelMap", "Presence", "TopLabel", "VotingRule", "rule_of"]


class VotingRule(Protocol):
    """How an answer becomes a vote."""

    @property
    def class_names(self) -> Sequence[str] | None:
        """What the votes mean where they are class indices; None where they are the service's own labels."""
        ...

    def describe(self) -> dict[str, Any]:
        """The rule as JSON, for the record; `rule_of` makes it again."""
        ...

    def vote(self, reply: Reply) -> Label | None:
        """The vote, or None where the answer is empty or unknown: a trial without a vote."""
        ...


@dataclass(frozen=True)
class TopLabel:
    """The label with the highest score, as in Salman et al. 2020."""

    @property
    def class_names(self) -> None:
        return None

    def describe(self) -> dict[str, Any]:
        return {"rule": "top label"}

    def vote(self, reply: Reply) -> Label | None:
        return reply.tags[0][0] if reply.tags else None


@dataclass(frozen=True)
class LabelMap:
    """Many labels to one class: the class of the highest label that the map knows. Upper and lower case are one."""

    classes: Mapping[str, Sequence[str]]
    """Class -> the labels that stand for it; the classes are numbered in this order."""
    _class_of: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        class_of: dict[str, int] = {}
        for number, (name, labels) in enumerate(self.classes.items()):
            listed = isinstance(labels, (list, tuple)) and all(isinstance(label, str) for label in labels)
            if not isinstance(name, str) or not labels or not listed:
                raise BadParameter(f"label map: expected a list of labels for {_shown(name)}, got {_shown(labels)}")
            for label in labels:
                if class_of.setdefault(label.casefold(), number) != number:
                    raise BadParameter(f"label map: expected {label!r} in one class, found it in {name!r} and another")
        if len(self.classes) < 2:
            raise BadParameter(f"label map: expected at least two classes, got {len(self.classes)}")
        object.__setattr__(self, "_class_of", class_of)

    @classmethod
    def load(cls, path: Path | str) -> LabelMap:
        """The map of a JSON file {"cat": ["tabby", "kitten", "cat"], "dog": [...]}."""
        return cls(read_description(path, 'a label map {"class": ["label", ...], ...}'))

    @property
    def class_names(self) -> Sequence[str]:
        return list(self.classes)

    def describe(self) -> dict[str, Any]:
        # pairs: the order of the classes counts, and the canonical spelling of an object has none
        return {"rule": "label map", "classes": [[name, list(labels)] for name, labels in self.classes.items()]}

    def vote(self, reply: Reply) -> Label | None:
        classes = (self._class_of.get(str(tag).casefold()) for tag, _ in reply.tags)
        return next((number for number in classes if number is not None), None)


@dataclass(frozen=True)
class Presence:
    """0 where `label` is among the answers with at least this score, else 1. An empty answer is no vote."""

    label: str
    threshold: float = 0.5

    def __post_init__(self) -> None:
        if not self.label or not self.label.isprintable() or not 0.0 <= self.threshold <= 1.0:
            raise BadParameter(
                f"expected a printable label and a threshold from 0 to 1, got {_shown(self.label)} and {self.threshold}"
            )

    @property
    def class_names(self) -> Sequence[str]:
        return [self.label, f"no {self.label}"]

    def describe(self) -> dict[str, Any]:
        return {"rule": "presence", "label": self.label, "threshold": self.threshold}

    def vote(self, reply: Reply) -> Label | None:
        if not reply.tags:
            return None
        wanted = self.label.casefold()
        found = any(str(tag).casefold() == wanted and score >= self.threshold for tag, score in reply.tags)
        return 0 if found else 1


def rule_of(described: Any) -> VotingRule:
    """The rule that was described; raises BadRun where it was not one of these."""
    try:
        if described["rule"] == "top label":
            return TopLabel()
        if described["rule"] == "label map":
            return LabelMap(no_duplicates(described["classes"]))
        if described["rule"] == "presence":
            return Presence(described["label"], described["threshold"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise BadRun(f"expected a voting rule, got {_shown(described)} ({error})") from error
    raise BadRun(f"expected a voting rule, got {_shown(described)}")


def _shown(value: Any) -> str:
    return reprlib.repr(value)
