"""Data sets in the layouts in which they are distributed, with labels where each layout keeps them."""

import io
import json
import os
import tarfile

import numpy as np
import pytest
from scipy.io import savemat

from dsmooth.errors import BadImage, BadParameter
from dsmooth.images.opening import open_images
from dsmooth.images.sources.tar_index import members_of, read_member
from support import picture


def encoded(grey=100, kind="PNG"):
    file = io.BytesIO()
    picture(size=(6, 4)).point(lambda _: grey).save(file, kind)
    return file.getvalue()


def put(path, content=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded() if content is None else content)


def pixel(image):
    return int(image.pixels[0, 0, 0])


# --- Parquet ------------------------------------------------------------------------------------------------------------


def write_parquet(path, greys, labels=None, *, info=True, rows=2, names=("image", "label"), **columns):
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    kind = arrow.struct([("bytes", arrow.binary()), ("path", arrow.string())])
    files = [{"bytes": None if grey is None else encoded(grey), "path": "/etc/passwd"} for grey in greys]
    held = {names[0]: arrow.array(files, kind), **columns}
    features = {names[0]: {"_type": "Image"}}
    if labels is not None:
        held[names[1]] = arrow.array(labels, arrow.int64())
        features[names[1]] = {"names": ["cat", "dog"], "_type": "ClassLabel"}
    table = arrow.table(held)
    if info:
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(table, path, row_group_size=rows)


def test_parquet_files_are_read_by_row_group(tmp_path):
    write_parquet(tmp_path / "set" / "data" / "test-00000-of-00002.parquet", range(5), [0, 1, 0, 1, -1])
    write_parquet(tmp_path / "set" / "data" / "test-00001-of-00002.parquet", range(5, 8), [1, 1, 0])
    write_parquet(tmp_path / "set" / "data" / "train-00000-of-00001.parquet", [50], [0])
    images = open_images(tmp_path / "set")
    assert images.labels == (0, 1, 0, 1, None, 1, 1, 0)
    assert images.names[4:6] == ("test-00000-of-00002.parquet/4", "test-00001-of-00002.parquet/0")
    assert [pixel(image) for image in images] == list(range(8))
    assert [pixel(images[i]) for i in (7, 0, 4)] == [7, 0, 4]
    assert [pixel(image) for image in open_images(tmp_path / "set", training=True)] == [50]
    one = open_images(tmp_path / "set" / "data" / "test-00001-of-00002.parquet", size=2)
    assert one[0].pixels.shape == (2, 2, 3)
    assert one.listing() == images[5:].listing() != images.listing()
    with pytest.raises(BadParameter, match="its own labels"):
        open_images(tmp_path / "set", labels=tmp_path / "labels.csv")


def test_columns_are_those_that_the_file_names_or_the_usual_ones(tmp_path):
    write_parquet(tmp_path / "told.parquet", [1, 2], [1, 0], names=("scan", "diagnosis"))
    write_parquet(tmp_path / "usual.parquet", [1, 2], [1, 0], info=False, names=("img", "fine_label"))
    write_parquet(tmp_path / "unlabelled.parquet", [1, 2])
    assert open_images(tmp_path / "told.parquet").labels == open_images(tmp_path / "usual.parquet").labels == (1, 0)
    assert open_images(tmp_path / "unlabelled.parquet").labels == (None, None)
    write_parquet(tmp_path / "strange.parquet", [1], info=False, names=("scan", ""))
    with pytest.raises(BadImage, match="expected a column of image files, got scan"):
        open_images(tmp_path / "strange.parquet")


def test_parquet_files_are_not_believed(tmp_path):
    write_parquet(tmp_path / "path.parquet", [1, None])
    images = open_images(tmp_path / "path.parquet")
    with pytest.raises(BadImage, match="paths are not followed"):
        _ = images[1]
    write_parquet(tmp_path / "large.parquet", [1], [10**9])
    whole = (tmp_path / "path.parquet").read_bytes()
    for name, content in {"cut": whole[:-40], "none": b"", "other": b"PAR1" * 30}.items():
        (tmp_path / f"{name}.parquet").write_bytes(content)
    for name, message in {"large": "class numbers", "cut": "Parquet", "none": "Parquet", "other": "Parquet"}.items():
        with pytest.raises(BadImage, match=message):
            open_images(tmp_path / f"{name}.parquet")


# --- tars ---------------------------------------------------------------------------------------------------------------


def write_tar(path, files, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", **options) as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mtime = (
                len(content),
                1700000000.25,
            )  # as WebDataset's writer does: an extended header each
            tar.addfile(member, io.BytesIO(content))


def samples(greys):
    files = {}
    for i, grey in enumerate(greys):
        files |= {f"{i:04d}.png": encoded(grey), f"{i:04d}.cls": b"%d\n" % (grey % 3), f"{i:04d}.json": b"{}"}
    return files


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_tars_keep_classes_beside_images(tmp_path, form):
    write_tar(tmp_path / "a.tar", samples([7, 8, 9]), format=form)
    images = open_images(tmp_path / "a.tar")
    assert images.names == ("0000.png", "0001.png", "0002.png")
    assert images.labels == (1, 2, 0)
    assert [pixel(image) for image in images] == [7, 8, 9]
    assert images.passed_over == ("0000.json", "0001.json", "0002.json")


def test_a_folder_of_tars_is_one_set(tmp_path):
    for name, greys in {"val-000.tar": [1, 2], "val-001.tar": [3], "train-000.tar": [4]}.items():
        write_tar(tmp_path / name, samples(greys))
    images = open_images(tmp_path)
    assert images.names == ("val-000.tar/0000.png", "val-000.tar/0001.png", "val-001.tar/0000.png")
    assert [(pixel(image), image.label) for image in images] == [(1, 1), (2, 2), (3, 0)]
    assert [pixel(image) for image in open_images(tmp_path, training=True)] == [4]
    (tmp_path / "labels.csv").write_text("file,label\nval-001.tar/0000.png,5\n")
    chosen = open_images(tmp_path, labels=tmp_path / "labels.csv")
    assert (chosen.labels, pixel(chosen[0])) == ((5,), 3)


def test_tars_without_classes_are_folders(tmp_path):
    write_tar(tmp_path / "a.tar", {"./dog/x.png": encoded(), "./cat/a.b.png": encoded(), "./readme.txt": b""})
    assert open_images(tmp_path / "a.tar").labels == (1, 0)
    assert open_images(tmp_path / "a.tar").names == ("dog/x.png", "cat/a.b.png")


@pytest.mark.parametrize("long", ["x" * 300, "y" * 90 + "/" + "z" * 90])
@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_what_is_indexed_is_what_tarfile_finds(tmp_path, form, long):
    files = {f"{long}.png": encoded(), "dir/ä.txt": b"short", "b": b"", "c": b"x" * 1000}
    write_tar(tmp_path / "a.tar", files, format=form)
    with tarfile.open(tmp_path / "a.tar", "a") as tar:
        for kind, name in ((tarfile.SYMTYPE, "link"), (tarfile.DIRTYPE, "dir"), (tarfile.FIFOTYPE, "pipe")):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            tar.addfile(member)
    members = members_of(tmp_path / "a.tar")
    assert {member.name: read_member(tmp_path / "a.tar", member) for member in members} == files
    assert {member.name: member.short for member in members} == {
        name: content if len(content) <= 32 else None for name, content in files.items()
    }


@pytest.mark.parametrize("name", ["../x.png", "/etc/x.png", "a/../../x.png"])
@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_names_that_lead_out_of_a_tar_are_refused(tmp_path, form, name):
    write_tar(tmp_path / "a.tar", {name: encoded()}, format=form)
    with pytest.raises(BadImage, match="names within the tar"):
        open_images(tmp_path / "a.tar")


def test_broken_tars_are_refused(tmp_path):
    write_tar(tmp_path / "a.tar", samples([1]))
    whole = (tmp_path / "a.tar").read_bytes()
    (tmp_path / "a.tar.gz").write_bytes(b"")
    with pytest.raises(BadImage, match="not compressed"):
        open_images(tmp_path / "a.tar.gz")
    end = len(whole.rstrip(b"\0"))
    for length in (0, 100, 512, 1024, 1600, end // 512 * 512):
        (tmp_path / "cut.tar").write_bytes(whole[:length])
        with pytest.raises(BadImage, match="cut-off"):
            open_images(tmp_path / "cut.tar")
    for at in (0, 124, 150, 512, 513, 1024 + 124):  # a name, a size, a checksum, an extended header
        (tmp_path / "torn.tar").write_bytes(whole[:at] + b"\xff" + whole[at + 1 :])
        with pytest.raises(BadImage, match=r"torn\.tar"):
            open_images(tmp_path / "torn.tar")
    write_tar(tmp_path / "words.tar", {"a.png": encoded(), "a.cls": b"dog"})
    with pytest.raises(BadImage, match=r"class number in 'a\.cls'"):
        open_images(tmp_path / "words.tar")
    write_tar(tmp_path / "b.tar", samples([1, 2]))
    images = open_images(tmp_path / "b.tar")
    os.truncate(tmp_path / "b.tar", 2048)
    with pytest.raises(BadImage, match="cut off"):
        _ = images[1]


# --- folders ------------------------------------------------------------------------------------------------------------


def test_tiny_imagenet(tmp_path):
    (tmp_path / "wnids.txt").write_text("n02\nn01\n")
    put(tmp_path / "val" / "images" / "val_0.JPEG")
    put(tmp_path / "val" / "images" / "val_1.JPEG")
    put(tmp_path / "train" / "n02" / "images" / "n02_0.JPEG")
    annotations = tmp_path / "val" / "val_annotations.txt"
    annotations.write_text("val_0.JPEG\tn02\t0\t32\t44\t62\nval_1.JPEG\tn01\t0\t0\t1\t1\n")
    images = open_images(tmp_path)
    assert dict(zip(images.names, images.labels, strict=True)) == {
        "val/images/val_0.JPEG": 1,
        "val/images/val_1.JPEG": 0,
    }
    assert images[1].label == 0
    assert open_images(tmp_path, class_names=["n02", "n01"]).labels == (0, 1)
    training = open_images(tmp_path, training=True)
    assert (training.names, training.labels) == (("train/n02/images/n02_0.JPEG",), (1,))
    annotations.write_text("val_0.JPEG\tn02\n")
    with pytest.raises(BadImage, match=r"none for 'val/images/val_1\.JPEG'"):
        open_images(tmp_path)


WORDS = [f"n{i:08d}" for i in range(1000)]


def write_devkit(folder, truth, words=WORDS):
    """A devkit whose own numbers of the classes run the other way."""
    kind = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O")]
    rows = [(len(words) - i, word, "x") for i, word in enumerate(words)] + [(1500, "n99999999", "animal")]
    (folder / "data").mkdir(parents=True)
    savemat(folder / "data" / "meta.mat", {"synsets": np.array(rows, dtype=kind).reshape(-1, 1)})
    (folder / "data" / "ILSVRC2012_validation_ground_truth.txt").write_text("".join(f"{number}\n" for number in truth))


def test_imagenet_beside_its_devkit(tmp_path):
    write_devkit(tmp_path / "ILSVRC2012_devkit_t12", [1000, 1, 998])
    for i in (1, 2, 3):
        put(tmp_path / "val" / f"ILSVRC2012_val_{i:08d}.JPEG")
    for path in (tmp_path, tmp_path / "val"):
        images = open_images(path)
        assert images.names[0] == "ILSVRC2012_val_00000001.JPEG"
        assert images.labels == (0, 999, 2)
    put(tmp_path / "val" / "ILSVRC2012_val_00000004.JPEG")
    with pytest.raises(BadImage, match="none for 'ILSVRC2012_val_00000004"):
        open_images(tmp_path)


def test_imagenet_in_folders_beside_its_class_index(tmp_path):
    index = {str(i): [word, f"word {i}"] for i, word in enumerate(WORDS)}
    (tmp_path / "imagenet_class_index.json").write_text(json.dumps(index))
    put(tmp_path / "val" / WORDS[7] / "ILSVRC2012_val_00000001.JPEG")
    put(tmp_path / "val" / WORDS[3] / "x.JPEG")
    assert open_images(tmp_path / "val").labels == (3, 7)
    names = [f"word {i}" for i in range(1000)]
    assert open_images(tmp_path / "val", class_names=names).labels == (3, 7)
    assert open_images(tmp_path / "val", class_names=names[:9], by_order=False).labels == (None, None)
    put(tmp_path / "val" / "other" / "x.JPEG")
    with pytest.raises(BadImage, match="none for 'other/x"):
        open_images(tmp_path / "val")


@pytest.mark.parametrize("broken", ["devkit", "short", "index"])
def test_a_broken_key_to_imagenet_is_one_line(tmp_path, broken):
    put(tmp_path / "val" / ("ILSVRC2012_val_00000001.JPEG" if broken != "index" else f"{WORDS[0]}/x.JPEG"))
    if broken == "index":
        (tmp_path / "imagenet_class_index.json").write_text('{"0": ["n00000000", "x"]}')
    else:
        write_devkit(tmp_path / "ILSVRC2012_devkit_t12", [1], WORDS[:10] if broken == "short" else WORDS)
    if broken == "devkit":
        (tmp_path / "ILSVRC2012_devkit_t12" / "data" / "meta.mat").write_bytes(b"MATLAB 5.0" + bytes(300))
    with pytest.raises(BadImage, match=r"meta\.mat|class_index\.json"):
        open_images(tmp_path / "val")


def test_image_folders_with_splits(tmp_path):
    for name in ("train/cat/a.png", "test/cat/b.png", "test/dog/c.png"):
        put(tmp_path / name)
    images = open_images(tmp_path)
    assert (images.names, images.labels) == (("test/cat/b.png", "test/dog/c.png"), (0, 1))
    assert open_images(tmp_path, training=True).names == ("train/cat/a.png",)
    put(tmp_path / "extra" / "d.png")  # not only splits: folders are classes, as ever
    assert open_images(tmp_path).labels == (0, 1, 1, 2)


@pytest.mark.parametrize(
    ("name", "text", "labels"),
    [
        ("metadata.csv", "file_name,label\nb.png,4\na.png,3\n", (3, 4)),
        ("metadata.jsonl", '{"file_name": "a.png", "label": "dog"}\n{"file_name": "b.png", "label": "cat"}\n', (1, 0)),
        ("metadata.csv", "file_name,text\na.png,a dog\n", (None, None)),
    ],
)
def test_image_folders_with_metadata(tmp_path, name, text, labels):
    for within in ("", "validation/"):
        folder = tmp_path / ("split" if within else "plain")
        for image in "ab":
            put(folder / f"{within}{image}.png")
        (folder / f"{within}{name}").write_text(text)
        images = open_images(folder)
        assert (images.names, images.labels) == ((f"{within}a.png", f"{within}b.png"), labels)
        assert images.passed_over == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file_name,label\na.png,1\n", r"none for 'b\.png'"),
        ("file_name,label\na.png,\nb.png,1\n", "row 1: expected a number or name"),
        ("name,label\na.png,1\n", "row 1: expected a file_name"),
        ("file_name,label\n\xff", "expected the metadata"),
    ],
)
def test_metadata_that_say_too_little_are_refused(tmp_path, text, message):
    for image in "ab":
        put(tmp_path / f"{image}.png")
    (tmp_path / "metadata.csv").write_text(text, encoding="latin-1")
    with pytest.raises(BadImage, match=message):
        open_images(tmp_path)
