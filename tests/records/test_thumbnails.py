"""Pictures in a run folder: small, for people alone, and whatever lies there instead does no harm."""

import io
import os

import numpy as np
import pytest
from PIL import Image

from dsmooth import SmoothedClassifier
from dsmooth.errors import BadRun
from dsmooth.images.sets import ImageSet, LabelledImage
from dsmooth.records.store import RunWriter
from dsmooth.records.thumbnails import LOOKS, THUMBNAILS
from dsmooth.runs.certify import certify_run
from small_runs import HEADER, KEY, written
from support import Linear, different_images


def picture(data):
    return Image.open(io.BytesIO(data))


def jpeg(side=32, **options):
    file = io.BytesIO()
    Image.fromarray(np.full((side, side, 3), 90, np.uint8)).save(file, "JPEG", **options)
    return file.getvalue()


@pytest.mark.parametrize(
    ("shape", "size"),
    [((300, 150, 3), (32, 64)), ((32, 32, 3), (32, 32)), ((2, 500, 1), (64, 1)), ((1, 1, 3), (1, 1))],
)
def test_a_picture_has_at_most_64_pixels_a_side(tmp_path, shape, size):
    THUMBNAILS.write(tmp_path, 7, np.full(shape, 200, np.uint8))
    read = picture(THUMBNAILS.read(tmp_path, 7))
    assert read.size == size
    assert abs(np.asarray(read).astype(int) - 200).max() <= 2
    assert THUMBNAILS.read(tmp_path, 8) is None


def test_a_look_may_be_wider(tmp_path):
    LOOKS.write(tmp_path, 0, np.full((300, 900, 3), 200, np.uint8))
    assert picture(LOOKS.read(tmp_path, 0)).size == (528, 176)
    (tmp_path / "looks" / "000001.jpg").write_bytes(jpeg(178 + 1))
    assert LOOKS.read(tmp_path, 1) is None


def test_five_hundred_pictures_of_noise_fit_in_a_page(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (224, 224, 3)).astype(np.uint8)
    THUMBNAILS.write(tmp_path, 0, noise)
    assert 500 * len(THUMBNAILS.read(tmp_path, 0)) * 4 / 3 < 2_000_000


def test_a_comment_in_a_picture_goes_no_further(tmp_path):
    THUMBNAILS.write(tmp_path, 0, np.zeros((8, 8, 3), np.uint8))
    (tmp_path / "thumbnails" / "000000.jpg").write_bytes(jpeg(comment=b"<script>alert(1)</script>"))
    assert b"script" not in THUMBNAILS.read(tmp_path, 0)


def png():
    file = io.BytesIO()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [b"", b"<svg onload='alert(1)'/>", png(), jpeg(65), jpeg()[:200], jpeg() + bytes(1 << 14), b"\xff\xd8\xff\xe0"],
    ids=["empty", "svg", "png", "large", "cut off", "padded", "marker"],
)
def test_anything_but_a_small_jpeg_is_no_picture(tmp_path, content):
    (tmp_path / "thumbnails").mkdir()
    (tmp_path / "thumbnails" / "000000.jpg").write_bytes(content)
    assert THUMBNAILS.read(tmp_path, 0) is None


@pytest.mark.parametrize("kind", ["link", "pipe", "folder", "linked folder"])
def test_what_is_no_file_of_the_run_is_not_opened(tmp_path, kind):
    run, mine = tmp_path / "run", tmp_path / "mine"
    run.mkdir()
    THUMBNAILS.write(tmp_path, 0, np.zeros((8, 8, 3), np.uint8))
    (tmp_path / "thumbnails").rename(mine)
    if kind == "linked folder":
        (run / "thumbnails").symlink_to(mine)
    else:
        (run / "thumbnails").mkdir()
        path = run / "thumbnails" / "000000.jpg"
        make = {"link": lambda: path.symlink_to(mine / "000000.jpg"), "pipe": lambda: os.mkfifo(path)}
        make.get(kind, path.mkdir)()
    assert THUMBNAILS.read(run, 0) is None


def test_nothing_is_written_through_a_link(tmp_path):
    written(tmp_path / "run", 2)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run" / "thumbnails").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        THUMBNAILS.write(tmp_path / "run", 0, np.zeros((8, 8, 3), np.uint8))
    assert not list((tmp_path / "elsewhere").iterdir())
    (tmp_path / "run" / "thumbnails").unlink()
    (tmp_path / "run" / "thumbnails").mkdir()
    (tmp_path / "run" / "thumbnails" / "000002.jpg").symlink_to(tmp_path / "elsewhere" / "x")
    with pytest.raises(BadRun, match="symbolic links"), RunWriter(tmp_path / "run", HEADER, KEY, resume=True):
        pass


def test_a_run_is_the_same_with_pictures_and_without(tmp_path):
    pixels = [different_images(1, value)[0] for value in (60, 120, 200)]
    images = ImageSet(("a", "b", "c"), (0, 1, 1), "f", lambda i: LabelledImage("abc"[i], pixels[i], (0, 1, 1)[i]))

    def facts(name, **terms):
        model = SmoothedClassifier(Linear(), None, 0.25)
        run = certify_run(model, images, tmp_path / name, n0=10, n=50, seed=1, **terms)
        return [(r.image, r.key, r.selection, r.estimation, r.votes["sha256"], r.radius) for r in run.records]

    assert facts("with") == facts("without", thumbnails=False)
    assert sorted(path.name for path in (tmp_path / "with" / "thumbnails").iterdir()) == [
        "000000.jpg", "000001.jpg", "000002.jpg",
    ]  # fmt: skip
    assert not (tmp_path / "without" / "thumbnails").exists()
