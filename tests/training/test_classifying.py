import numpy as np
import pytest
import torch

from dsmooth.classifiers.checkpoints import load_checkpoint
from dsmooth.classifiers.specs import load_classifier
from dsmooth.errors import BadImage, BadModel, BadParameter
from dsmooth.images.opening import open_images
from dsmooth.smoothing.smoothed import SmoothedClassifier
from dsmooth.training.classifying import ClassifierRecipe, train_classifier

SMALL = {"steps": 6, "batch": 16, "precision": "32-true", "padding": 0, "sigma": 0.1}


@pytest.fixture
def images(tmp_path):
    rng = np.random.default_rng(0)
    labels = np.arange(160) // 40 % 2 * 7
    pixels = rng.integers(60, 110, (160, 32, 32, 3)) + 80 * (labels == 7)[:, None, None, None]
    np.savez(tmp_path / "a.npz", images=pixels.astype(np.uint8), labels=labels)
    return open_images(tmp_path / "a.npz")


def test_a_trained_classifier_certifies_without_a_denoiser(tmp_path, images):
    reports = []
    recipe = ClassifierRecipe(**{**SMALL, "steps": 30, "lr": 3e-3, "average": 0.5})
    path = train_classifier(recipe, images, tmp_path / "out", every=15, on_report=reports.append)
    assert reports[-1].loss < reports[0].loss
    assert reports[-1].scores == {"accuracy": {"resnet20": {"0.1": 1.0}}}
    smoothed = SmoothedClassifier(load_classifier(f"cifar:resnet20@{path}"), None, 0.1, workers=1)
    for position in (1, 41):
        certificate = smoothed.certify(images[position].pixels, n0=10, n=50, seed=1)
        assert certificate.answer == images[position].label
        assert certificate.radius > 0


def test_resume_goes_on_bit_for_bit(tmp_path, images):
    class StopError(Exception):
        pass

    def stop(report):
        if report.step == 5:
            raise StopError

    whole = train_classifier(ClassifierRecipe(**SMALL), images, tmp_path / "whole", every=2)
    with pytest.raises(StopError):
        train_classifier(ClassifierRecipe(**SMALL), images, tmp_path / "parts", every=2, on_report=stop)
    steps = []
    parts = train_classifier(
        ClassifierRecipe(**SMALL), images, tmp_path / "parts", every=2, resume=True,
        on_report=lambda report: steps.append(report.step),
    )  # fmt: skip
    assert steps[0] == 5  # from the checkpoint on
    a, b = load_checkpoint(whole), load_checkpoint(parts)
    assert all(torch.equal(value, b[key]) for key, value in a.items())


def test_what_does_not_fit_is_refused(tmp_path, images):
    np.savez(tmp_path / "b.npz", images=np.zeros((4, 32, 32, 3), np.uint8), labels=[0, 1, 10, 2])
    with pytest.raises(BadImage, match="a label from 0 to 9"):
        train_classifier(ClassifierRecipe(**SMALL), open_images(tmp_path / "b.npz"), tmp_path / "out")
    np.savez(tmp_path / "c.npz", images=np.zeros((4, 16, 16, 3), np.uint8), labels=[0, 1, 3, 2])
    with pytest.raises(BadImage, match="32 x 32 x 3"):
        train_classifier(ClassifierRecipe(**SMALL), open_images(tmp_path / "c.npz"), tmp_path / "out")
    with pytest.raises(BadModel, match="of depth"):
        train_classifier(ClassifierRecipe(**SMALL, depth=21), images, tmp_path / "out")
    with pytest.raises(BadParameter, match="sigma above 0"):
        ClassifierRecipe(sigma=0.0)
    assert not (tmp_path / "out").exists()
