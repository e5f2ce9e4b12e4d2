import numpy as np
import pytest

from dsmooth.errors import BadParameter
from dsmooth.images.opening import SOURCES, holds_arrays, open_images
from support import picture


def test_the_first_source_that_recognises_a_path_opens_it(tmp_path):
    folder, cifar = tmp_path / "folder", tmp_path / "cifar"
    for place in (folder, cifar):
        place.mkdir()
        picture().save(place / "x.png")
    (cifar / "test_batch.bin").write_bytes(bytes(3073))
    np.savez(tmp_path / "a.npz", images=np.zeros((1, 4, 4, 3), np.uint8))
    for name in ("tiny/val/val_annotations.txt", "tiny/wnids.txt", "imagenet/ILSVRC2012_devkit_t12/x", "splits/test/x"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    picture().save(tmp_path / "imagenet" / "ILSVRC2012_val_00000001.JPEG")
    places = {
        "cifar": cifar,
        "npz": tmp_path / "a.npz",
        "zip": tmp_path / "a.zip",
        "parquet": tmp_path / "a.parquet",
        "webdataset": tmp_path / "a.tar",
        "tiny-imagenet": tmp_path / "tiny",
        "imagenet": tmp_path / "imagenet",
        "imagefolder": tmp_path / "splits",
        "folder": folder,
        "file": folder / "x.png",
    }
    assert list(places) == list(SOURCES)
    for name, path in places.items():
        by = [kind for kind in SOURCES if SOURCES.load(kind).recognises(path)]
        assert by[0] == name
        assert holds_arrays(path) == (name in ("cifar", "npz"))
    assert not holds_arrays(tmp_path / ("x" * 5000))


def test_arrays_are_not_resized_or_labelled_anew(tmp_path):
    np.savez(tmp_path / "a.npz", images=np.zeros((1, 4, 4, 3), np.uint8))
    for changes in ({"size": 8}, {"labels": "labels.csv"}):
        with pytest.raises(BadParameter, match="its own pixels and labels"):
            open_images(tmp_path / "a.npz", **changes)


def test_each_image_keeps_name_and_label_in_a_subset(tmp_path):
    for folder in ("cat", "dog"):
        (tmp_path / folder).mkdir()
        for name in "ab":
            picture().save(tmp_path / folder / f"{name}.png")
    images = open_images(tmp_path)
    some = images.subset([3, 0])
    assert some.names == ("dog/b.png", "cat/a.png") == tuple(image.name for image in some)
    assert some.labels == (1, 0) == tuple(image.label for image in some)
    assert some.find("dog/b.png").label == 1
    assert some.find("dog/a.png") is None
    assert [image.label for image in images.without_labels()] == [None] * 4
