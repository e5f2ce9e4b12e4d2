import pytest

from dsmooth.errors import BadImage
from dsmooth.images.opening import open_images
from support import picture


def test_folders_become_labels_in_order_of_name(tmp_path):
    for folder in ("dog", "cat", "emu"):
        (tmp_path / folder).mkdir()
        picture().save(tmp_path / folder / "b.png")
        picture().save(tmp_path / folder / "a.png")
    images = open_images(tmp_path)
    assert images.names == ("cat/a.png", "cat/b.png", "dog/a.png", "dog/b.png", "emu/a.png", "emu/b.png")
    assert images.labels == (0, 0, 1, 1, 2, 2)
    assert [image.label for image in images] == [0, 0, 1, 1, 2, 2]


def test_folders_named_by_numbers_keep_them(tmp_path):
    for folder in ("7", "12"):
        (tmp_path / folder).mkdir()
        picture().save(tmp_path / folder / "a.png")
    assert dict(zip(open_images(tmp_path).names, open_images(tmp_path).labels, strict=True)) == {
        "7/a.png": 7,
        "12/a.png": 12,
    }


def test_manifests_choose_order_and_labels(tmp_path):
    for name in "abc":
        picture().save(tmp_path / f"{name}.png")
    manifest = tmp_path / "labels.csv"
    manifest.write_text("file,label\nc.png,5\na.png,2\n")
    images = open_images(tmp_path, labels=manifest)
    assert images.names == ("c.png", "a.png")
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


@pytest.mark.parametrize("heading", ["file,label,label", "file,file,label", "file,class_index,class_index"])
def test_a_column_that_stands_twice_is_refused(tmp_path, heading):
    picture().save(tmp_path / "a.png")
    (tmp_path / "labels.csv").write_text(f"{heading}\na.png,1,2\n")
    with pytest.raises(BadImage, match="expected each column once"):
        open_images(tmp_path, labels=tmp_path / "labels.csv")
