import csv
import io
import os
import zipfile

import numpy as np
import pytest

from dsmooth.errors import BadImage, BadParameter
from dsmooth.images.opening import open_images
from support import data, picture


def test_zip_files_are_folders(tmp_path):
    path = tmp_path / "images.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("b.png", "a.png", "readme.txt"):
            buffer = io.BytesIO()
            picture().save(buffer, "PNG")
            archive.writestr(name, buffer.getvalue())
    assert open_images(path).names == ("a.png", "b.png")
    assert open_images(path)[0].pixels.shape == (4, 6, 3)
    (tmp_path / "broken.zip").write_bytes(path.read_bytes()[:100])
    with pytest.raises(BadImage, match="broken"):
        open_images(tmp_path / "broken.zip")


def test_cifar_binary_folders(tmp_path):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (5, 3, 32, 32), dtype=np.uint8)
    labels = np.arange(5, dtype=np.uint8)
    (tmp_path / "test_batch.bin").write_bytes(
        np.concatenate([labels[:, None], pixels.reshape(5, -1)], axis=1).tobytes()
    )
    for path in (tmp_path, tmp_path / "test_batch.bin"):
        images = open_images(path)
        assert images.labels == (0, 1, 2, 3, 4)
        assert np.array_equal(images[3].pixels, pixels[3].transpose(1, 2, 0))
    for i in range(1, 6):
        (tmp_path / f"data_batch_{i}.bin").write_bytes(bytes([i]) + bytes([40 * i]) * 3072)
    training = open_images(tmp_path, training=True)
    assert training.labels == (1, 2, 3, 4, 5)
    assert [int(image.pixels[31, 31, 2]) for image in training] == [40, 80, 120, 160, 200]
    assert open_images(tmp_path).labels == (0, 1, 2, 3, 4)
    (tmp_path / "test_batch.bin").write_bytes(b"x" * 100)
    with pytest.raises(BadImage, match="records of 3073 bytes, got a file of 100 bytes"):
        open_images(tmp_path)
    (tmp_path / "test_batch.bin").unlink()
    with pytest.raises(BadImage, match=r"test_batch\.bin"):
        open_images(tmp_path)


def test_npz_files(tmp_path):
    pixels = np.zeros((4, 5, 6, 3), np.uint8)
    np.savez(tmp_path / "a.npz", images=pixels, labels=np.arange(4), indices=np.arange(4) * 20)
    images = open_images(tmp_path / "a.npz")
    assert images.names == ("0", "20", "40", "60")
    assert images[1:3].names == ("20", "40")
    assert images[1:3].fingerprint != images.fingerprint == images[:].fingerprint
    for arrays, message in (
        ({"pictures": pixels}, "no `images`"),
        ({"images": pixels.astype(float)}, "float64"),
        ({"images": pixels, "labels": np.arange(3)}, "labels as 4 whole numbers"),
        ({"images": np.array([object()])}, "cannot read it"),
    ):
        np.savez(tmp_path / "b.npz", **arrays)
        with pytest.raises(BadImage, match=message):
            open_images(tmp_path / "b.npz")
    np.savez(tmp_path / "c.npz", images=pixels, indices=np.array([1, 2, 2, 3]))
    with pytest.raises(BadParameter, match="each image once"):
        open_images(tmp_path / "c.npz")


def test_paths_that_are_no_images(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    for path, message in (
        (tmp_path / "missing", "no such file"),
        (tmp_path, "found none"),
        (tmp_path / "pipe.png", "device or pipe"),
    ):
        with pytest.raises(BadImage, match=message):
            open_images(path)


def test_names_that_are_no_text_are_refused(tmp_path):
    picture().save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(os.fsdecode(bytes(tmp_path) + b"/a\xff.png"))
    with pytest.raises(BadImage, match="UTF-8"):
        open_images(tmp_path)


def test_the_real_sets():
    folder = data()
    cifar = open_images(folder / "cifar10" / "test_every20.npz")
    assert len(cifar) == 500
    assert cifar[1].pixels.shape == (32, 32, 3)
    with (folder / "imagenet" / "val50_labels.csv").open() as file:
        rows = list(csv.DictReader(file))
    val = open_images(folder / "imagenet" / "val50_224.zip", labels=folder / "imagenet" / "val50_labels.csv")
    assert [int(row["class_index"]) for row in rows] == list(val.labels)
    assert val[0].pixels.shape == (224, 224, 3)
