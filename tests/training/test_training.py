import json

import numpy as np
import pytest
import torch
from PIL import Image

from dsmooth.denoisers.weights import describe, load_denoiser
from dsmooth.errors import BadImage, BadModel, BadParameter, BadRun, TrainingDiverged
from dsmooth.images import open_images
from dsmooth.training.denoising import Recipe, train
from dsmooth.training.judging import psnr
from dsmooth.training.patches import Patches, split

SMALL = {
    "config": {"widths": [8, 12], "blocks": [1, 1]},
    "steps": 8,
    "batch": 4,
    "patch": 16,
    "precision": "32-true",
}


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    y, x = np.mgrid[0:40, 0:48]
    for i in range(6):
        waves = 127 + 100 * np.sin((x * (i + 1) + y * 2) / 9)
        Image.fromarray(np.stack([waves, waves[::-1], 255 - waves], -1).astype(np.uint8)).save(folder / f"{i}.png")
    return open_images(folder)


def weights(path):
    return {key: value.clone() for key, value in load_denoiser(path).state_dict().items()}


def test_training_lowers_the_error_of_held_out_images(tmp_path, images):
    reports = []
    recipe = Recipe(**{**SMALL, "steps": 150, "lr": 3e-3, "average": 0.9})
    path = train(recipe, [images], tmp_path / "out", data="waves", every=50, on_report=reports.append)
    first, last = (r.scores["psnr"] for r in (reports[49], reports[-1]))
    assert last["0.35"] > first["0.35"]
    assert last["0.35"] > 9.1 + 4  # the noisy images have -20 log10(.35) = 9.1 dB
    described = describe(path)
    assert described.data == "waves"
    assert described.sigma_range == (0.1, 0.6)
    assert described.metrics["psnr_held_out"] == last
    assert described.metrics["recipe"]["steps"] == 150
    lines = [json.loads(line) for line in (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [50, 100, 150]


def test_resume_goes_on_bit_for_bit(tmp_path, images):
    whole = train(Recipe(**SMALL), [images], tmp_path / "whole", data="", every=4)

    class StopError(Exception):
        pass

    def stop(report):
        if report.step == 6:
            raise StopError

    with pytest.raises(StopError):
        train(Recipe(**SMALL), [images], tmp_path / "parts", data="", every=4, on_report=stop)
    assert not (tmp_path / "parts" / "model.safetensors").exists()
    parts = train(Recipe(**SMALL), [images], tmp_path / "parts", data="", every=4, resume=True)
    for key, value in weights(whole).items():
        assert torch.equal(value, weights(parts)[key]), key


def test_a_torn_checkpoint_is_passed_over(tmp_path, images):
    whole = train(Recipe(**SMALL), [images], tmp_path / "out", data="", every=4)
    expected = weights(whole)
    newest = tmp_path / "out" / "checkpoint-00000008.pt"
    newest.write_bytes(newest.read_bytes()[:1000])
    train(Recipe(**SMALL), [images], tmp_path / "out", data="", every=4, resume=True)
    assert all(torch.equal(value, weights(whole)[key]) for key, value in expected.items())


def test_two_checkpoints_are_kept(tmp_path, images):
    train(Recipe(**SMALL), [images], tmp_path / "out", data="", every=2)
    assert sorted(p.name for p in (tmp_path / "out").glob("*.pt")) == [
        "checkpoint-00000006.pt",
        "checkpoint-00000008.pt",
    ]


def test_nan_stops_and_keeps_the_last_good_checkpoint(tmp_path, images):
    recipe = Recipe(**{**SMALL, "lr": 1e30})
    with pytest.raises(TrainingDiverged, match=r"the loss is .* lower --lr"):
        train(recipe, [images], tmp_path / "out", data="", every=1)
    assert not (tmp_path / "out" / "model.safetensors").exists()
    for path in (tmp_path / "out").glob("checkpoint-*.pt"):
        torch.load(path, weights_only=True)


def test_another_training_in_the_folder_is_refused(tmp_path, images):
    train(Recipe(**SMALL), [images], tmp_path / "out", data="", every=8)
    with pytest.raises(BadRun, match="--resume"):
        train(Recipe(**SMALL), [images], tmp_path / "out", data="")
    with pytest.raises(BadRun, match="trained with batch 4, not 5"):
        train(Recipe(**{**SMALL, "batch": 5}), [images], tmp_path / "out", data="", resume=True)
    with pytest.raises(BadRun, match="trained with images"):
        train(Recipe(**SMALL), [images[1:]], tmp_path / "out", data="", resume=True)


def test_a_training_can_start_from_another(tmp_path, images):
    first = train(Recipe(**SMALL), [images], tmp_path / "a", data="")
    recipe = {**SMALL, "start": str(first), "lr": 1e-12, "average": 0.0, "steps": 1}
    second = train(Recipe(**recipe), [images], tmp_path / "b", data="")
    assert all(torch.allclose(v, weights(first)[k], atol=1e-4) for k, v in weights(second).items())
    with pytest.raises(BadModel, match="to hold unet"):
        train(Recipe(**{**recipe, "config": {"widths": [4], "blocks": [1]}}), [images], tmp_path / "c", data="")


def test_patches_follow_from_the_generator_alone(images):
    training, held_out = split([images])
    assert len(held_out) == 1
    assert len(training[0]) == 5
    patches = Patches(training, 16)
    (a, _), (b, _) = (patches.batch(6, np.random.default_rng(3)) for _ in range(2))
    assert np.array_equal(a, b)
    assert a.shape == (6, 3, 16, 16)
    assert a.dtype == np.float32
    assert 0 <= a.min() < a.max() <= 1
    with pytest.raises(BadImage, match="at least 41 x 41"):
        Patches(training, 41)


def test_psnr():
    clean = torch.full((1, 1, 4, 4), 0.5)
    assert psnr(clean + 0.1, clean) == pytest.approx(20.0, abs=1e-4)
    assert psnr(clean, clean) == float("inf")
    assert psnr(clean + 7, clean) == pytest.approx(psnr(clean + 0.5, clean))  # clipped to [0, 1]


@pytest.mark.parametrize(
    "changes",
    [{"steps": 0}, {"batch": 0}, {"patch": -1}, {"lr": 0.0}, {"lr": float("nan")}, {"average": 1.0},
     {"sigma_range": (0.5, 0.1)}, {"sigma_range": (0.0, 0.1)}],
)  # fmt: skip
def test_impossible_recipes_are_refused(changes):
    with pytest.raises(BadParameter):
        Recipe(**{**SMALL, **changes})
