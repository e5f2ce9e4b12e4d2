"""Functions, and models of other libraries, as classifiers: what they are given, what they may answer."""

import numpy as np
import pytest
import torch

from dsmooth import BadModel, BadRun, FunctionClassifier, SmoothedClassifier
from dsmooth.backends.eager import Eager
from dsmooth.classifiers.adapting import as_classifier
from dsmooth.images.sets import LabelledImage, image_set
from dsmooth.runs.certify import certify_run
from support import dsmooth

EAGER = Eager("fp32", 1)
IMAGES = torch.stack([torch.full((3, 4, 4), level) for level in (0.1, 0.9, 0.2)])
BRIGHT = np.full((4, 4, 3), 230, np.uint8)


def scores(images):
    mean = images.mean((1, 2, 3))
    return torch.stack([1 - mean, mean], dim=1)


class Forest:
    """As scikit-learn's: flat rows in, probabilities of `classes_` out."""

    classes_ = np.array(["dark", "light"])

    def predict_proba(self, rows):
        assert rows.shape[1:] == (48,)
        return np.stack([1 - rows.mean(axis=1), rows.mean(axis=1)], axis=1)

    def predict(self, rows):
        raise AssertionError("labels alone, where there are probabilities")


class Layers:
    """As Keras's: arrays (B, H, W, C) in, scores out, and a progress bar unless told otherwise."""

    def predict(self, images, batch_size=None, verbose="auto"):
        assert images.shape[1:] == (4, 4, 3)
        assert images.dtype == np.float32
        assert verbose == 0
        return np.stack([1 - images.mean(axis=(1, 2, 3)), images.mean(axis=(1, 2, 3))], axis=1)


class TorchLayers(torch.nn.Module, Layers):
    """As Keras's on torch: a module too, whose `forward` would get channels where it wants width."""

    input_shape = (None, 4, 4, 3)

    def forward(self, images):
        raise AssertionError("asked as a network of torch")


TorchLayers.__module__ = "keras.src.models.model"


class Output:
    """As transformers': scores as an attribute."""

    def __init__(self, logits):
        self.logits = logits


ANSWERS = {
    "a tensor of scores": scores,
    "with gradients": lambda x: scores(x).requires_grad_(),
    "an array": lambda x: scores(x).numpy(),
    "whole numbers": lambda x: (100 * scores(x)).int(),
    "lists": lambda x: scores(x).tolist(),
    "an output with logits": lambda x: Output(scores(x)),
    "labels in a tensor": lambda x: scores(x).argmax(1),
    "labels in an array": lambda x: scores(x).numpy().argmax(1),
    "labels in a list": lambda x: scores(x).argmax(1).tolist(),
    "scikit-learn": Forest(),
    "Keras": Layers(),
    "Keras on torch": TorchLayers(),
}


@pytest.mark.parametrize("function", ANSWERS.values(), ids=ANSWERS.keys())
@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_scores_and_labels_of_every_kind(function, dtype):
    assert as_classifier(function).prepared(EAGER)(IMAGES) == [0, 1, 0]
    smoothed = SmoothedClassifier(function, lambda x, sigma: x.bfloat16(), 0.25, dtype=dtype)
    assert smoothed.certify(BRIGHT, n=100).answer == 1


def test_the_size_that_keras_was_built_for_is_known():
    assert as_classifier(TorchLayers()).input_size == 4
    assert as_classifier(Layers()).input_size is None


def test_labels_may_be_text_or_missing():
    function = FunctionClassifier(lambda images: ["dark", None, "light"])
    assert function.prepared(EAGER)(IMAGES) == ["dark", None, "light"]


def test_the_function_sees_float32_of_the_layout_it_asks_for():
    seen = []
    for arrays in (False, True):
        FunctionClassifier(lambda x: seen.append(x) or [0] * len(x), arrays=arrays).prepared(EAGER)(IMAGES.bfloat16())
    assert seen[0].dtype == torch.float32
    assert seen[0].shape == (3, 3, 4, 4)
    assert seen[1].dtype == np.float32
    assert seen[1].shape == (3, 4, 4, 3)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ([0.5, 0.1, 0.2], "expected a label"),
        ([0, 1], "one answer for each of 3 images, got 2"),
        ([[1.0, 2.0]] * 2, "3 images with"),
        ([[1.0]] * 3, "at least 2 classes"),
        ([[1.0, 2.0, 3.0]] * 3, "know 2 classes, got 3 logits"),
        ([[1.0], [1.0, 2.0], [3.0]], "rows of one length"),
        ([["a", "b"]] * 3, "logits"),
        (7, "logits"),
        (None, "logits"),
    ],
)
def test_other_answers_are_refused_in_one_line(given, says):
    with pytest.raises(BadModel, match=says) as refused:
        FunctionClassifier(lambda images: given, class_names=["a", "b"]).prepared(EAGER)(IMAGES)
    assert "\n" not in str(refused.value)


def test_class_names_of_scikit_learn():
    classifier = as_classifier(Forest())
    assert (classifier.name, classifier.class_names) == ("Forest", ["dark", "light"])
    assert classifier.digest() == "unknown: builtins.Forest.predict_proba"


def test_what_a_function_raises_is_one_line():
    with pytest.raises(BadModel, match=r"do not accept images of shape .*'no such layer'"):
        SmoothedClassifier(lambda x: {}["no such layer"], None, 0.25).certify(BRIGHT, n=10)


def test_a_run_says_once_that_it_cannot_be_resumed(tmp_path):
    said = []
    images = image_set(["a", "b"], [1, 1], [], lambda i: LabelledImage("ab"[i], BRIGHT - np.uint8(i), 1))
    certify_run(SmoothedClassifier(scores, None, 0.25), images, tmp_path / "run", n=20, on_notice=said.append)
    assert len(said) == 1
    assert "plain functions have no digest (here the classifier)" in said[0]
    with pytest.raises(BadRun, match="a plain function as classifier cannot be resumed"):
        certify_run(SmoothedClassifier(scores, None, 0.25), images, tmp_path / "run", n=20, resume=True)


def test_its_certificates_are_never_verified(tmp_path):
    (tmp_path / "bright.py").write_text("def model():\n    return lambda x: x.mean((2, 3))\n")
    np.savez(tmp_path / "a.npz", images=np.stack([BRIGHT]))
    model = ("-c", "import:bright:model", "-d", "none")
    assert dsmooth("certify", "a.npz", *model, "--n", "50", "-o", "run", cwd=tmp_path).code == 0
    done = dsmooth("verify", "run", "--images", "a.npz", *model, "--all", cwd=tmp_path)
    assert done.code == 4, done.out + done.err
    assert "a plain function" in done.out
