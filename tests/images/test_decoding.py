import io

import numpy as np
import pytest
from PIL import Image

from dsmooth.errors import BadImage
from dsmooth.images.decoding import read_image
from dsmooth.images.opening import open_images
from support import picture


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


def test_sixteen_bit_colour_is_refused(tmp_path):
    import struct
    import zlib

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 2, 2, 16, 2, 0, 0, 0)
    rows = zlib.compress((b"\0" + b"\x01\x80" * 6) * 2)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    (tmp_path / "x.png").write_bytes(png)
    with pytest.raises(BadImage, match="expected 8 bits per channel"):
        open_images(tmp_path / "x.png")[0]
