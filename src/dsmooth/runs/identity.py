"""Whether the networks that a verifier has are those that a file names: by digest, preparation and names of classes."""

from __future__ import annotations

from collections.abc import Iterator

from dsmooth.classifiers.base import Classifier
from dsmooth.denoisers.base import Denoise
from dsmooth.records.digests import is_unknown
from dsmooth.runs.verify import Check, Evidence, Outcome
from dsmooth.smoothing.pipeline import denoiser_digest
from dsmooth.theory.top_k import top_k_named

__all__ = ["same_networks", "same_version"]


def same_networks(evidence: Evidence, classifier: Classifier, denoiser: Denoise | None) -> Iterator[Check]:
    """One check for each thing that the file states about its networks."""
    first = evidence.first  # in a run all records have one question, or it was refused when it was read
    if first is not None and first.addressed and first.asked.preparation != classifier.traits.preparation:
        yield Check("preparation", Outcome.FAILS, f"{first.name}: this classifier uses other preprocessing")
    for what, digest in {"classifier": classifier.digest(), "denoiser": denoiser_digest(denoiser)}.items():
        if first is not None and getattr(first.asked, what) != digest:
            yield Check(what, Outcome.FAILS, f"{first.name} and others were certified with a different one")
        elif is_unknown(digest):
            yield Check(what, Outcome.OPEN, "a plain function: cannot tell whether it is the same one", "a network")
        else:
            yield Check(what, Outcome.HOLDS, "same digest")
    called = None if evidence.run is None else evidence.run.header.get("classifier_name")
    if called is not None and called != classifier.name:
        yield Check(
            "called",
            Outcome.TOLD,
            f"the run calls its classifier {called!r:.80}, here it is {classifier.name!r:.80}; reports show the run's name",
        )
    yield from _classes(evidence, classifier)
    yield from _names(evidence, classifier)


def same_version(evidence: Evidence, classifier: Classifier) -> Iterator[Check]:
    """A check where the service now reports another model version than the file does for its votes."""
    for record in evidence.records:
        told = None if record.service is None else record.service.get("version")
        if record.service is not None and told != classifier.version:
            what = f"{told!r:.60}, but the service is now at {classifier.version!r:.60}"
            yield Check("version", Outcome.OPEN, f"votes are of model version {what}", "the same version")
            return


def _classes(evidence: Evidence, classifier: Classifier) -> Iterator[Check]:
    """The number of classes, where the bound depends on it."""
    rule = None if evidence.first is None else top_k_named(evidence.first.question.bound)
    if rule is None or classifier.classes == rule.classes:
        return
    told = f"the bound is for {rule.classes} classes, but"
    if classifier.classes is None:
        yield Check("classes", Outcome.OPEN, f"{told} the classifier's number is unknown", "--class-names")
    else:
        yield Check("classes", Outcome.FAILS, f"{told} the classifier has {classifier.classes}")


def _names(evidence: Evidence, classifier: Classifier) -> Iterator[Check]:
    """What classes are called, where the file says it."""
    told = None if evidence.run is None else evidence.run.header.get("class_names")
    names = classifier.class_names
    if told is None and evidence.name is None:
        return
    what = "name" if told is None else "names"
    if names is None:
        yield Check(what, Outcome.OPEN, "class names as the file states: this classifier has none", "--class-names")
    elif told is not None:
        same = list(told) == list(names)
        yield Check(
            what,
            Outcome.HOLDS if same else Outcome.FAILS,
            "same class names" if same else "class names differ",
        )
    else:
        answer = None if evidence.first is None else evidence.first.answer
        same = isinstance(answer, int) and 0 <= answer < len(names) and names[answer] == evidence.name
        yield Check(
            what,
            Outcome.HOLDS if same else Outcome.FAILS,
            "same name of the label" if same else "the label has another name",
        )
