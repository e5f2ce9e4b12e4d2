import csv
import io
import os
import zipfile

import numpy as np
import pytest
from PIL import Image

from dsmooth.errors import BadImage, BadParameter
from dsmooth.images import check_pixels, open_images, read_image
from support import data


def picture(mode="RGB", size=(6, 4), **pixels):
    rng = np.random.default_rng(0)
    return Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)).convert(mode)


def test_folders_become_labels_in_order_of_name(tmp_path):
    for folder in ("dog", "cat", "emu"):
        (tmp_path / folder).mkdir()
        picture().save(tmp_path / folder / "b.png")
        picture().save(tmp_path / folder / "a.png")
    images = open_images(tmp_path)
    assert images.keys == ("cat/a.png", "cat/b.png", "dog/a.png", "dog/b.png", "emu/a.png", "emu/b.png")
    assert images.labels == (0, 0, 1, 1, 2, 2)
    assert [image.label for image in images] == [0, 0, 1, 1, 2, 2]


def test_folders_named_by_numbers_keep_them(tmp_path):
    for folder in ("7", "12"):
        (tmp_path / folder).mkdir()
        picture().save(tmp_path / folder / "a.png")
    assert dict(zip(open_images(tmp_path).keys, open_images(tmp_path).labels, strict=True)) == {
        "7/a.png": 7,
        "12/a.png": 12,
    }


def test_manifests_choose_order_and_labels(tmp_path):
    for name in "abc":
        picture().save(tmp_path / f"{name}.png")
    manifest = tmp_path / "labels.csv"
    manifest.write_text("file,label\nc.png,5\na.png,2\n")
    images = open_images(tmp_path, labels=manifest)
    assert images.keys == ("c.png", "a.png")
    assert images.labels == (5, 2)
    for text, message in (
        ("name,label\nc.png,5\n", "columns file and label"),
        ("", "columns file and label"),
        ("file,label\nc.png,cat\n", "line 2: expected a class number in label, got 'cat'"),
        ("file,label\nc.png,1\nx.png,1\n", "line 3: 'x.png' is not in"),
    ):
        manifest.write_text(text)
        with pytest.raises(BadImage, match=message):
            open_images(tmp_path, labels=manifest)
    with pytest.raises(BadImage, match="cannot read it"):
        open_images(tmp_path, labels=tmp_path / "none.csv")


def test_zip_files_are_folders(tmp_path):
    path = tmp_path / "images.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("b.png", "a.png", "readme.txt"):
            buffer = io.BytesIO()
            picture().save(buffer, "PNG")
            archive.writestr(name, buffer.getvalue())
    assert open_images(path).keys == ("a.png", "b.png")
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
    assert images.keys == ("0", "20", "40", "60")
    assert images[1:3].keys == ("20", "40")
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


def test_what_happens_before_the_noise_is_said(tmp_path):
    turned = picture(size=(6, 4))
    exif = Image.Exif()
    exif[0x0112] = 6
    turned.save(tmp_path / "turned.jpg", exif=exif)
    image = read_image(tmp_path / "turned.jpg", name="x")
    assert image.pixels.shape == (6, 4, 3)
    assert image.decoding == ("turned as EXIF says",)
    picture("L").save(tmp_path / "grey.png")
    assert read_image(tmp_path / "grey.png", name="x").decoding == ("L to RGB",)
    assert read_image(tmp_path / "grey.png", name="x", channels=1).pixels.shape == (4, 6, 1)
    picture("RGBA").save(tmp_path / "alpha.png")
    assert read_image(tmp_path / "alpha.png", name="x").decoding == ("transparency on white", "RGBA to RGB")
    picture("P").save(tmp_path / "palette.png")
    assert read_image(tmp_path / "palette.png", name="x").decoding == ("P to RGB",)
    picture("CMYK").save(tmp_path / "cmyk.jpg")
    assert read_image(tmp_path / "cmyk.jpg", name="x").decoding == ("CMYK to RGB",)
    image = read_image(tmp_path / "grey.png", name="x", size=14)
    assert image.pixels.shape == (14, 14, 3)
    assert image.decoding == ("L to RGB", "shorter side to 16 (Lanczos)", "centre 14 x 14")
    picture(size=(14, 14)).save(tmp_path / "right.png")
    assert read_image(tmp_path / "right.png", name="x", size=14).decoding == ()


def bomb():
    import struct
    import zlib

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk)) + b"\0" * 20


def encoded(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


BROKEN = {
    "empty": b"",
    "text": b"hello",
    "truncated png": encoded(picture(size=(60, 60)), "PNG")[:300],
    "truncated jpeg": encoded(picture(size=(60, 60)), "JPEG")[:400],
    "bomb": bomb(),
    "gif": encoded(picture(), "GIF"),
    "tiff": encoded(picture(), "TIFF"),
    "animated webp": encoded(picture(), "WEBP", save_all=True, append_images=[picture("L").convert("RGB")]),
    "16 bits": encoded(Image.fromarray(np.zeros((4, 4), np.uint16)), "PNG"),
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN.keys())
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_broken_and_hostile_files_are_refused(tmp_path, content):
    (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(BadImage, match=r"x\.png: expected"):
        open_images(tmp_path / "x.png")[0]


def test_paths_that_are_no_images(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    for path, message in (
        (tmp_path / "missing", "no such file"),
        (tmp_path, "found none"),
        (tmp_path / "pipe.png", "device or pipe"),
    ):
        with pytest.raises(BadImage, match=message):
            open_images(path)


def test_every_byte_survives_every_float():
    grid = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    for dtype in (np.float16, np.float32, np.float64):
        assert np.array_equal(check_pixels((grid / 255).astype(dtype)), grid)
    with pytest.raises(BadImage, match="between its steps"):
        check_pixels((grid / 255 * 0.999).astype(np.float32))


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


def test_half_precision_is_no_excuse_for_other_pixels():
    grid = np.arange(1, 255, dtype=np.float64).reshape(2, 127, 1)
    for shift in (-0.2, 0.2):
        with pytest.raises(BadImage, match="between its steps"):
            check_pixels(((grid + shift) / 255).astype(np.float16))
    for dtype in (np.float16, np.float32):
        assert np.array_equal(check_pixels(grid.astype(dtype) * dtype(1 / 255)), grid)


def test_sixteen_bit_colour_is_refused(tmp_path):
    import struct
    import zlib

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 2, 2, 16, 2, 0, 0, 0)
    rows = zlib.compress((b"\0" + b"\x01\x80" * 6) * 2)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    (tmp_path / "x.png").write_bytes(png)
    with pytest.raises(BadImage, match="expected 8 bits a channel"):
        open_images(tmp_path / "x.png")[0]


def test_names_that_are_no_text_are_refused(tmp_path):
    picture().save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(os.fsdecode(bytes(tmp_path) + b"/a\xff.png"))
    with pytest.raises(BadImage, match="UTF-8"):
        open_images(tmp_path)
