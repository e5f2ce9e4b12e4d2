"""PairedClassifier: two classifiers, asked about the same images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from dsmooth.backends.base import Backend
from dsmooth.classifiers.base import Classifier, LabelFunction
from dsmooth.errors import BadModel
from dsmooth.records.digests import digest_json, is_unknown
from dsmooth.theory.changed import paired_label
from dsmooth.theory.votes import Label

__all__ = ["PairedClassifier"]


class PairedClassifier(Classifier):
    """A former classifier and the one in its place: what it answers are pairs of their answers (theory/changed.py).

    Raises BadModel for a service, whose former version can mostly not be asked any more, and for classes of other names.
    """

    def __init__(self, former: Classifier, changed: Classifier) -> None:
        for each in (former, changed):
            if each.traits.billed or each.traits.logged:
                raise BadModel(f"{each.name} is a service, and pairs are asked of classifiers that run here")
        names = [list(each.class_names) for each in (former, changed) if each.class_names is not None]
        if len(names) == 2 and names[0] != names[1]:
            raise BadModel(f"{changed.name} has classes of other names than {former.name}: certify it anew")
        self.former, self.changed = former, changed
        self.name = f"{former.name} beside {changed.name}"
        self.class_names = names[0] if names else None
        self.input_size = former.input_size or changed.input_size
        self.channels = former.channels or changed.channels
        preparations = dict.fromkeys(each.traits.preparation for each in (former, changed))
        self.traits = replace(former.traits, preparation="; beside it: ".join(preparations))

    @property
    def classes(self) -> None:
        """Not known: pairs have no names."""
        return

    def answers(self, backend: Backend) -> LabelFunction:
        former, changed = self.former.prepared(backend), self.changed.prepared(backend)

        def answer(images: Tensor) -> Sequence[Label | None]:
            first = former(images.clone())  # whoever writes into its images must not write into those of the other
            return [paired_label(*pair) for pair in zip(first, changed(images), strict=True)]

        return answer

    def mirrored(self) -> PairedClassifier:
        return PairedClassifier(self.former.mirrored(), self.changed.mirrored())

    def digest(self) -> str:
        digests = [self.former.digest(), self.changed.digest()]
        return next(filter(is_unknown, digests), None) or digest_json({"former": digests[0], "changed": digests[1]})
