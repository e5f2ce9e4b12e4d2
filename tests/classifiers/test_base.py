import sys

import numpy as np
import pytest
import torch
from torch import nn

from dsmooth import SmoothedClassifier
from dsmooth.backends.eager import Eager
from dsmooth.classifiers.adapting import as_classifier
from dsmooth.classifiers.base import Classifier, DifferentiableClassifier, Traits, labels_of
from dsmooth.classifiers.local import TorchClassifier
from dsmooth.errors import BadModel
from dsmooth.records.querylog import Address
from support import Linear

EAGER = Eager("fp32", 1)
IMAGES = torch.rand(4, 3, 5, 5)


class Mine(Classifier):
    """Gives what a test wants, and keeps what it was asked."""

    name = "mine"

    def __init__(self, given, traits=Traits()):  # noqa: B008 (frozen)
        self.given, self.traits, self.asked = given, traits, []

    def answers(self, backend):
        def answer(*asked):
            self.asked.append(asked)
            return self.given

        return answer

    def digest(self):
        return "0" * 64


class Looks:
    """No subclass of anything, with the members of a classifier."""

    name, class_names, input_size = "looks", ["a", "b"], 32

    def prepared(self, backend):
        return lambda images: np.arange(len(images))

    def digest(self):
        return "1" * 64


def test_labels_are_whole_numbers_text_or_none():
    given = [np.int64(3), torch.tensor(2), "cat", None]
    labels = Mine(given).prepared(EAGER)(IMAGES)
    assert labels == [3, 2, "cat", None]
    assert [type(label) for label in labels] == [int, int, str, type(None)]


@pytest.mark.parametrize(
    "wrong",
    [
        1.0,
        float("nan"),
        np.float32(1),
        [1],
        torch.tensor(0.5),
        b"cat",
        True,
        np.True_,
        torch.tensor(True),
        "\ud800",
        10**13,
    ],
)
def test_anything_else_is_refused(wrong):
    with pytest.raises(BadModel, match="mine: expected a label"):
        Mine([0, 0, wrong, 0]).prepared(EAGER)(IMAGES)


@pytest.mark.parametrize(
    ("given", "got"), [([0, 0, 0], "3"), ([0] * 5, "5"), (None, "NoneType"), (iter([0] * 4), "iter")]
)
def test_there_is_one_answer_for_each_row(given, got):
    with pytest.raises(BadModel, match=f"one answer for each of 4 images, got .*{got}"):
        Mine(given).prepared(EAGER)(IMAGES)


@pytest.mark.parametrize(
    "wrong",
    ["cat", (name for name in "ab"), ["a", 1], ["a", "\ud800"], 5],
    ids=["text", "a generator", "a number", "half a character", "no sequence"],
)
def test_class_names_are_text(wrong):
    with pytest.raises(BadModel, match="class_names"):
        TorchClassifier(Linear(), class_names=wrong)
    mine = Mine([0, 1])
    mine.class_names = wrong
    with pytest.raises(BadModel, match="class_names"):
        SmoothedClassifier(mine, None, 0.25)


class Answers(nn.Module):
    """Two scores, made into something else on the way out."""

    def __init__(self, change):
        super().__init__()
        self.change = change

    def forward(self, x):
        margin = x.mean(dim=(1, 2, 3)) - 0.5
        return self.change(torch.stack([-margin, margin], dim=1))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda logits: logits[:, 1:], "at least 2 classes, got 1"),
        (lambda logits: logits[:, 2:], "at least 2 classes, got 0"),
        (lambda logits: logits.to(torch.complex64), "real logits"),
        (lambda logits: (row for row in logits), "got generator"),
        (lambda logits: sys.exit(), "sys.exit"),
        (lambda logits: sys.exit(0), "sys.exit"),
    ],
    ids=["one column", "no column", "complex", "generator", "exit", "exit 0"],
)
def test_logits_that_say_nothing_are_refused(change, says):
    with pytest.raises(BadModel, match=says):
        TorchClassifier(Answers(change)).prepared(EAGER)(IMAGES)
    with pytest.raises(BadModel, match=says):
        SmoothedClassifier(Answers(change), None, 0.25).certify(np.zeros((5, 5, 3), np.uint8), n=20)


def test_one_column_is_refused_wherever_labels_are_made_of_logits():
    with pytest.raises(BadModel, match="every answer would be class 0"):
        labels_of(torch.rand(4, 1))


def test_rows_that_are_not_usable_have_no_label():
    mine = Mine([0, 1, 2, 3])
    assert mine.prepared(EAGER)(IMAGES, [True, False, True, False]) == [0, None, 2, None]
    ((images,),) = mine.asked
    assert images is not None
    assert len(images) == 4


def test_a_billed_classifier_is_not_asked_about_padding():
    addresses = [Address("x", "estimation", i) for i in range(3)]
    mine = Mine([5, 6, 7], Traits(billed=True, logged=True))
    assert mine.prepared(EAGER)(IMAGES, [True, False, True, True], addresses) == [5, None, 7, None]
    ((images, usable, ats),) = mine.asked
    assert torch.equal(images, IMAGES[:3])
    assert usable == [True, False, True]
    assert ats == addresses
    mine = Mine([5, 6, 7, 8])
    assert mine.prepared(EAGER)(IMAGES, None, addresses) == [5, 6, 7, 8]  # what is free answers whole batches
    assert len(mine.asked[0]) == 1


def test_a_log_is_kept_by_those_who_declare_it(tmp_path):
    with pytest.raises(BadModel, match="mine keeps no log"):
        Mine([]).logged(tmp_path, key_commitment="", parameters="", canaries=[])


def test_what_has_the_members_of_a_classifier_is_one():
    classifier = as_classifier(Looks())
    assert isinstance(classifier, Classifier)
    assert not isinstance(classifier, DifferentiableClassifier)
    assert (classifier.name, classifier.class_names, classifier.input_size) == ("looks", ["a", "b"], 32)
    assert classifier.digest() == "1" * 64
    assert classifier.traits == Traits()
    assert classifier.prepared(EAGER)(IMAGES) == [0, 1, 2, 3]
    mine = Mine([])
    assert as_classifier(mine) is mine
    assert isinstance(as_classifier(Linear()), TorchClassifier)
    for wrong, says in (
        (3, "got int"),
        ("timm:resnet18", "got str"),
        (object(), "got object"),
        (Looks, r"as in Looks\(\)"),
    ):
        with pytest.raises(BadModel, match=says):
            as_classifier(wrong)


def test_with_a_network_it_can_be_trained_through():
    class Network(Looks):
        def network(self):
            return Linear()

    classifier = as_classifier(Network())
    assert isinstance(classifier, DifferentiableClassifier)
    assert isinstance(classifier.network(), Linear)
