"""Pictures of what the classifier was shown: the recorded noise, the recorded denoiser, and no other images."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from dsmooth import BadRun, SmoothedClassifier
from dsmooth.images.sets import LabelledImage, image_set
from dsmooth.records.store import read_run
from dsmooth.records.thumbnails import LOOKS
from dsmooth.runs.certify import certify_run
from dsmooth.runs.looks import make_looks
from support import Linear, refused
from support import dsmooth as run_dsmooth

PIXELS = [np.full((64, 64, 3), value, np.uint8) for value in (90, 170)]


def halved(x, sigma):
    return x / 2


def images(pixels=PIXELS):
    return image_set("ab", (0, 1), "ab", lambda i: LabelledImage("ab"[i], pixels[i], (0, 1)[i]))


def certified(folder, denoiser=halved, seed=0):
    return certify_run(SmoothedClassifier(Linear(), denoiser, 0.25), images(), folder, n0=20, n=50, seed=seed)


def looked(run, index):
    return np.asarray(Image.open(io.BytesIO(LOOKS.read(run.folder, index)))).astype(float)


def test_image_noise_and_denoised_stand_side_by_side(tmp_path):
    run = certified(tmp_path / "run")
    seen = []
    make_looks(run, images(), halved, records=run.records, on_image=lambda: seen.append(1))
    assert len(seen) == 2
    for record in run.records:
        strip = looked(run, record.index)
        assert strip.shape == (64, 3 * 64 + 2 * 2, 3)
        clean, noisy, denoised = strip[:, :63], strip[:, 67:129], strip[:, 133:]
        assert abs(np.median(clean) - PIXELS[record.index][0, 0, 0]) <= 3
        assert 25 < noisy.std() < 80  # .25 x 255 clipped to bytes, smoothed by JPEG
        assert abs(denoised.mean() - noisy.mean() / 2) < 10
        same = np.corrcoef(noisy.mean(axis=2).ravel(), denoised[:, :62].mean(axis=2).ravel())[0, 1]
        assert same > 0.5  # of unrelated noise: 0


def test_the_noise_is_that_of_the_record(tmp_path):
    """Drawn again from the record's own stream: the same for whoever asks, another for another key."""
    runs = [certified(tmp_path / name, denoiser=None, seed=seed) for name, seed in (("a", 0), ("b", 1), ("c", 0))]
    for run in runs:
        make_looks(run, images(), None, records=run.records[:1])
    first, other, again = (LOOKS.read(run.folder, 0) for run in runs)
    assert looked(runs[0], 0).shape == (64, 2 * 64 + 2, 3)
    assert first == again
    assert first != other
    assert LOOKS.read(runs[0].folder, 1) is None


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda run: (run, images(), None), "certified with another denoiser"),
        (lambda run: (run, images([PIXELS[0] + 1, PIXELS[1]]), halved), "a does not have the pixels"),
        (lambda run: (run, images().subset([1]), halved), "a is not among the images"),
        (lambda run: (replace(run, header={**run.header, "schema": 2}), images(), halved), "made by an older version"),
    ],
)
def test_other_images_and_denoisers_are_refused(tmp_path, change, says):
    run = certified(tmp_path / "run")
    held, shown, denoiser = change(run)
    with pytest.raises(BadRun, match=says):
        make_looks(held, shown, denoiser, records=run.records)
    assert not (run.folder / "looks").exists()


def test_on_the_command_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("two.npz", images=np.stack([pixels[:32, :32] for pixels in PIXELS]), labels=[0, 1])
    (tmp_path / "linear.py").write_text(
        "from support import Linear\nfrom dsmooth import TorchClassifier\nmodel = lambda: TorchClassifier(Linear())\n"
    )
    certify = ["certify", "two.npz", "-c", "import:linear:model", "-d", "cifar10-mse", "--n", "60", "--out", "run"]
    assert run_dsmooth(*certify).code == 0
    refused(tmp_path, "report", "run", "-d", "cifar10-mse", says="pass --images too")
    refused(tmp_path, "report", "run", "--images", "two.npz", "-d", "photo", says="certified with another denoiser")
    done = run_dsmooth("report", "run", "--images", "two.npz")  # the denoiser is found by its digest
    assert done.code == 0, done.err
    assert (tmp_path / "run" / "report" / "report.html").read_text().count(" popover ") == 2
    assert looked(read_run("run"), 1).shape == (32, 3 * 32 + 2 * 2, 3)
