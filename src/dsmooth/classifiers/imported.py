"""`import:package.module:factory`: what the user's own Python code makes."""

from __future__ import annotations

from torch import nn

from dsmooth.classifiers.adapting import as_classifier
from dsmooth.classifiers.base import Classifier
from dsmooth.errors import BadModel
from dsmooth.registry import imported

__all__ = ["load_imported"]


def load_imported(spec: str) -> Classifier:
    """What the factory of no arguments returns, as `as_classifier` takes it; raises BadModel where it fails."""
    made = imported(spec, BadModel)
    try:
        classifier = as_classifier(made)
    except BadModel as error:
        raise BadModel(f"{spec}: {error}") from error
    if isinstance(made, nn.Module):
        classifier.name = spec
    return classifier
