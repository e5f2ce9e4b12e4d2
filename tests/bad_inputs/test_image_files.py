"""Image files: what is read, and what was done to it; what is refused, and why."""

import io
import os
import struct
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from dsmooth import BadImage
from dsmooth.images.decoding import read_image
from dsmooth.images.opening import open_images
from support import dsmooth, frugal, refused

MODEL = ("-c", "import:support:Linear", "-d", "none")


def picture(mode="RGB", size=(12, 9)):
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(noise).convert(mode)


def encoded(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def turned():
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(picture(), "JPEG", exif=exif)


def transparent_palette():
    image = picture("P")
    return encoded(image, "PNG", transparency=0)


def half_transparent():
    image = picture("RGBA")
    image.putalpha(128)
    return image


READ = {
    "grey png": (encoded(picture("L"), "PNG"), (9, 12), ["L to RGB"]),
    "grey with alpha": (encoded(picture("LA"), "PNG"), (9, 12), ["transparency on white", "RGBA to RGB"]),
    "alpha": (encoded(picture("RGBA"), "PNG"), (9, 12), ["transparency on white", "RGBA to RGB"]),
    "palette": (encoded(picture("P"), "PNG"), (9, 12), ["P to RGB"]),
    "palette with a hole": (transparent_palette(), (9, 12), ["transparency on white", "RGBA to RGB"]),
    "black and white": (encoded(picture("1"), "PNG"), (9, 12), ["1 to RGB"]),
    "cmyk jpeg": (encoded(picture("CMYK"), "JPEG"), (9, 12), ["CMYK to RGB"]),
    "grey jpeg": (encoded(picture("L"), "JPEG"), (9, 12), ["L to RGB"]),
    "turned by exif": (turned(), (12, 9), ["turned as EXIF says"]),
    "progressive jpeg": (encoded(picture(), "JPEG", progressive=True), (9, 12), []),
    "webp": (encoded(picture(), "WEBP"), (9, 12), []),
    "webp with alpha": (encoded(half_transparent(), "WEBP"), (9, 12), ["transparency on white", "RGBA to RGB"]),
    "bmp": (encoded(picture(), "BMP"), (9, 12), []),
    "one pixel": (encoded(picture(size=(1, 1)), "PNG"), (1, 1), []),
}


@pytest.mark.parametrize(("data", "shape", "steps"), READ.values(), ids=READ.keys())
def test_what_is_read_says_what_was_done_to_it(data, shape, steps):
    image = read_image(io.BytesIO(data), name="x")
    assert image.pixels.shape == (*shape, 3)
    assert list(image.decoding) == steps


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, depth=8, colour=2, data=b""):
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def jpeg_header(width, height):
    whole = bytearray(encoded(picture(), "JPEG"))
    place = whole.index(b"\xff\xc0")
    whole[place + 5 : place + 9] = struct.pack(">HH", height, width)
    return bytes(whole)


def bmp_header(width, height):
    whole = bytearray(encoded(picture(), "BMP"))
    whole[18:26] = struct.pack("<ii", width, height)
    return bytes(whole)


def text_bomb():
    info = PngImagePlugin.PngInfo()
    info.add_text("comment", "x" * 50_000_000, zip=True)
    return encoded(picture(), "PNG", pnginfo=info)


def frames(kind, **options):
    return encoded(picture(), kind, save_all=True, append_images=[picture("L").convert("RGB"), picture()], **options)


GOOD = encoded(picture(size=(40, 40)), "PNG")
READABLE = "expected a readable PNG, JPEG, WEBP, BMP file"
REFUSED = {
    "nothing": (b"", READABLE),
    "text": (b"a photograph of a cat", READABLE),
    "html": (b"<html><img src=x></html>", READABLE),
    "svg": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', READABLE),
    "zeros": (b"\0" * 5000, READABLE),
    "gif": (encoded(picture("P"), "GIF"), READABLE),
    "tiff": (encoded(picture(), "TIFF"), READABLE),
    "ppm": (encoded(picture(), "PPM"), READABLE),
    "ico": (encoded(picture(size=(16, 16)), "ICO"), READABLE),
    "pdf": (encoded(picture(), "PDF"), READABLE),
    "eps that runs a program": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nquit", READABLE),
    "a pickle": (b"\x80\x04cos\nsystem\n.", READABLE),
    "16 bits, grey": (encoded(Image.fromarray(np.zeros((5, 5), np.uint16)), "PNG"), "expected 8 bits per channel"),
    "16 bits, colour": (png(4, 4, 16, 2, b"\0" * 4 * 25), "expected 8 bits per channel"),
    "animated png": (frames("PNG"), "expected a still image, got 3 frames"),
    "animated webp": (frames("WEBP", lossless=True), "expected a still image, got 3 frames"),
    "png cut in its header": (GOOD[:20], READABLE),
    "png cut in its pixels": (GOOD[: len(GOOD) // 2], READABLE),
    "png without its end": (png(40, 40, data=b"\0" * 500), READABLE),
    "png with a wrong checksum": (GOOD[:45] + bytes([GOOD[45] ^ 1]) + GOOD[46:], READABLE),
    "jpeg cut": (encoded(picture(size=(60, 60)), "JPEG")[:900], READABLE),
    "webp cut": (encoded(picture(size=(60, 60)), "WEBP", lossless=True)[:400], READABLE),
    "bmp cut": (encoded(picture(size=(60, 60)), "BMP")[:400], READABLE),
    "png bomb by header": (png(60_000, 60_000), "expected at most 25,000,000 pixels"),
    "png bomb by header, long": (png(2**31 - 1, 2**31 - 1), "expected"),
    "png bomb beyond the limit by one": (png(25_000_001, 1), "expected at most 25,000,000 pixels"),
    "jpeg bomb by header": (jpeg_header(65_500, 65_500), "expected at most 25,000,000 pixels"),
    "bmp bomb by header": (bmp_header(2**30, 2**30), "expected"),
    "bmp of no size": (bmp_header(0, 0), "expected"),
    "png of no size": (png(0, 0), "expected"),
    "png with a text bomb": (text_bomb(), READABLE),
}


@pytest.mark.parametrize(("data", "says"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_refused(data, says):
    with frugal(), pytest.raises(BadImage) as caught:
        read_image(io.BytesIO(data), name="x.png")
    assert str(caught.value).startswith("x.png: ")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def place(folder, name, data):
    (folder / name).write_bytes(data)


def fifo(folder):
    os.mkfifo(folder / "pipe.png")
    return "pipe.png", "got a device or pipe"


def folder_of_a_fifo(folder):
    (folder / "pipes").mkdir()
    os.mkfifo(folder / "pipes" / "a.png")
    return "pipes", "expected images"


def labels_from_a_fifo(folder):
    os.mkfifo(folder / "labels.csv")
    return "images --labels labels.csv", "expected a CSV file of labels"


def device(folder):
    return "/dev/zero", "got a device or pipe"


def folder_named_like_an_image(folder):
    (folder / "x" / "a.png").mkdir(parents=True)
    return "x", "expected images"


def dangling_link(folder):
    (folder / "x").mkdir()
    (folder / "x" / "a.png").symlink_to(folder / "nothing")
    return "x", "expected images"


def name_not_in_utf8(folder):
    (folder / "x").mkdir()
    (folder / os.fsdecode(b"x/\xff.png")).write_bytes(GOOD)
    return "x", "expected file names in UTF-8"


def name_that_is_a_command(folder):
    place(folder, "\x1b[2J\x07; rm -rf ~ $(true).png", b"no picture")
    return "\x1b[2J\x07; rm -rf ~ $(true).png", "?[2J?; rm -rf ~ $(true).png: expected a readable"


def very_long_name(folder):
    return "x" * 5000 + ".png", "File name too long"


def very_long_image(folder):
    place(folder, "long.png", encoded(Image.new("RGB", (1, 200_000)), "PNG"))
    return "long.png --size 224", "expected an image with a usual aspect ratio"


def broken_among_good(folder):
    place(folder, "images/light/9.png", GOOD[:60])
    return "images", "light/9.png: expected a readable"


def zip_of(folder, **entries):
    with zipfile.ZipFile(folder / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return "x.zip"


def zip_without_images(folder):
    return zip_of(folder, readme=b"x"), "expected images"


def zip_bomb(folder):
    return zip_of(folder, **{"a.png": b"\0" * 101_000_000}), "expected an image file of at most 100,000,000 bytes"


def zip_that_is_broken(folder):
    place(folder, "x.zip", b"PK\x03\x04" + b"\0" * 100)
    return "x.zip", "expected a zip file of images"


def zip_with_a_broken_entry(folder):
    zip_of(folder, **{"a.png": GOOD})
    data = bytearray((folder / "x.zip").read_bytes())
    data[60] ^= 255
    place(folder, "x.zip", bytes(data))
    return "x.zip", "a.png"


def zip_with_a_lying_size(folder):
    zip_of(folder, **{"a.png": GOOD})
    data = (folder / "x.zip").read_bytes()
    directory = data.index(b"PK\x01\x02")
    place(folder, "x.zip", data[: directory + 24] + struct.pack("<I", 10) + data[directory + 28 :])
    return "x.zip", "a.png"


def zip_with_the_same_name_twice(folder):
    with zipfile.ZipFile(folder / "x.zip", "w") as archive:
        archive.writestr("a.png", GOOD)
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("a.png", READ["bmp"][0])
    return "x.zip", "one name twice"


def zip_labels_outside(folder):
    zip_of(folder, **{"a.png": GOOD})
    (folder / "l.csv").write_text("file,label\n../../etc/passwd,1\n")
    return "x.zip --labels l.csv", "expected a file within"


def csv_absolute(folder):
    (folder / "l.csv").write_text("file,label\n/etc/passwd,1\n")
    return "images --labels l.csv", "expected a file within"


def csv_twice(folder):
    (folder / "l.csv").write_text("file,label\ndark/0.png,1\ndark/0.png,0\n")
    return "images --labels l.csv", "expected each image once"


def csv_short_rows(folder):
    (folder / "l.csv").write_text("file,label\ndark/0.png\n")
    return "images --labels l.csv", "expected a class number"


def csv_of_bytes(folder):
    (folder / "l.csv").write_bytes(b"\xff\xfe\0\0file,label")
    return "images --labels l.csv", "l.csv"


def csv_of_one_long_field(folder):
    (folder / "l.csv").write_text("file,label\n" + "x" * 200_000 + ",1\n")
    return "images --labels l.csv", "cannot read it"


def csv_with_a_huge_label(folder):
    (folder / "l.csv").write_text("file,label\ndark/0.png," + "9" * 5000 + "\n")
    return "images --labels l.csv", "digits"


def cifar_of_a_wrong_size(folder):
    place(folder, "x.bin", b"\0" * 3072)
    return "x.bin", "3073 bytes"


def cifar_of_nothing(folder):
    place(folder, "x.bin", b"")
    return "x.bin", "3073 bytes"


def cifar_with_label_200(folder):
    place(folder, "x.bin", bytes([200]) + b"\0" * 3072)
    return "x.bin", "labels from 0 to 9, got 200"


def cifar_folder_without_tests(folder):
    (folder / "x").mkdir()
    place(folder, "x/data_batch_1.bin", b"\0" * 3073)
    return "x", "test_batch.bin"


def npz(folder, **arrays):
    np.savez(folder / "x.npz", **arrays)
    return "x.npz"


PIXELS = np.zeros((2, 8, 8, 3), np.uint8)


def npz_of_nothing(folder):
    place(folder, "x.npz", b"")
    return "x.npz", "expected an .npz"


def npz_that_is_a_pickle(folder):
    place(folder, "x.npz", b"\x80\x04cos\nsystem\n.")
    return "x.npz", "expected an .npz"


def npz_with_pickled_objects(folder):
    return npz(folder, images=np.array([{"a": 1}], dtype=object)), "expected an .npz"


def npz_without_images(folder):
    return npz(folder, pixels=PIXELS), "got no `images`"


def npz_of_floats(folder):
    return npz(folder, images=PIXELS / 255), "got float64"


def npz_of_one_image(folder):
    return npz(folder, images=PIXELS[0]), "(N, H, W, 1 or 3)"


def npz_of_no_images(folder):
    return npz(folder, images=PIXELS[:0]), "(N, H, W, 1 or 3)"


def npz_with_float_labels(folder):
    return npz(folder, images=PIXELS, labels=[0.0, 1.0]), "expected labels as 2 whole numbers"


def npz_with_few_labels(folder):
    return npz(folder, images=PIXELS, labels=[0]), "expected labels as 2 whole numbers"


def npz_with_negative_labels(folder):
    return npz(folder, images=PIXELS, labels=[0, -1]), "expected labels of at least 0"


def npz_with_the_same_index_twice(folder):
    return npz(folder, images=PIXELS, indices=[3, 3]), "expected each image once"


def npz_with_a_lying_header(folder):
    npz(folder, images=PIXELS)
    with zipfile.ZipFile(folder / "x.npz") as archive:
        data = archive.read("images.npy")
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (10000000000000, 8, 8, 3), }"
    lie = data[:8] + struct.pack("<H", len(header)) + header + data[-384:]
    with zipfile.ZipFile(folder / "x.npz", "w") as archive:
        archive.writestr("images.npy", lie)
    return "x.npz", "expected an .npz"


def npz_bomb(folder):
    npz(folder, images=PIXELS)
    data = (folder / "x.npz").read_bytes()
    directory = data.index(b"PK\x01\x02")
    place(folder, "x.npz", data[: directory + 24] + struct.pack("<I", 2**31) + data[directory + 28 :])
    return "x.npz", "expected arrays of at most"


PLACES = [
    fifo, folder_of_a_fifo, labels_from_a_fifo, device, folder_named_like_an_image, dangling_link, name_not_in_utf8,
    name_that_is_a_command, very_long_name, very_long_image, broken_among_good, zip_without_images, zip_bomb,
    zip_that_is_broken, zip_with_a_broken_entry, zip_with_a_lying_size, zip_with_the_same_name_twice, zip_labels_outside,
    csv_absolute, csv_twice, csv_short_rows, csv_of_bytes, csv_of_one_long_field, csv_with_a_huge_label,
    cifar_of_a_wrong_size, cifar_of_nothing, cifar_with_label_200, cifar_folder_without_tests, npz_of_nothing,
    npz_that_is_a_pickle, npz_with_pickled_objects, npz_without_images, npz_of_floats, npz_of_one_image, npz_of_no_images,
    npz_with_float_labels, npz_with_few_labels, npz_with_negative_labels, npz_with_the_same_index_twice,
    npz_with_a_lying_header, npz_bomb,
]  # fmt: skip


@pytest.mark.parametrize("make", PLACES, ids=lambda make: make.__name__)
def test_places(folder, make):
    images, says = make(folder)
    name, *options = images.split(" --") if " --" in images else [images]
    extra = [part for option in options for part in f"--{option}".split(" ", 1)]
    refused(folder, "certify", name, *extra, *MODEL, "-o", "run", says=says)


def test_hostile_names_are_harmless(folder):
    (folder / "hostile").mkdir()
    names = [
        "-rf.png",
        "<script>alert(1)<script>.png",
        "=cmd|' \\C calc'!A0.png",
        "a\nb.png",
        "$(touch x).png",
        "%s%n.png",
    ]
    for i, name in enumerate(names):
        (folder / "hostile" / name).write_bytes(encoded(picture(size=(8, 8 + i)), "PNG"))
    assert dsmooth("certify", "hostile", *MODEL, "--n", "20", "-o", "run").code == 0
    assert dsmooth("report", "run").code == 0
    page = (folder / "run" / "report" / "report.html").read_text()
    assert "<script>alert" not in page
    assert "&lt;script&gt;" in page
    assert {p.name for p in folder.iterdir()} == {"images", "arrays.npz", "hostile", "run"}
    assert set(open_images(folder / "hostile").names) == set(names)
