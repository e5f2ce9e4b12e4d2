import numpy as np
import pytest

from dsmooth.errors import BadImage
from dsmooth.images.sets import LabelledImage, image_set
from dsmooth.records.digests import digest_image


class Name(str):
    """A name that counts how often names are compared."""

    compared = 0
    __hash__ = str.__hash__

    def __eq__(self, other):
        Name.compared += 1
        return str.__eq__(self, other)


def images_of(names, pixels):
    return image_set(names, [None] * len(names), [], lambda i: LabelledImage(names[i], pixels[i]))


def test_an_image_is_found_without_comparing_all_names():
    names = [Name(i) for i in range(1000)]
    images = images_of(names, [np.zeros((1, 1, 1), np.uint8)] * 1000)
    images.find("0")
    Name.compared = 0
    assert images.find("999").name == "999"
    assert images[500:].find("999").name == "999"
    assert images.find("1000") is None
    assert images[:500].find("999") is None
    assert Name.compared < 10


def test_pinned_images_are_those_of_their_digests_or_none():
    pixels = [np.full((1, 2, 3), i, np.uint8) for i in range(3)]
    images = images_of(["a", "b", "c"], pixels)
    pinned = images.pinned([digest_image(image.pixels) for image in images])
    assert [image.name for image in pinned] == ["a", "b", "c"]
    pixels[1] = pixels[1] + 1
    assert images[1].pixels.max() == 2
    for read in (lambda: pinned[1], lambda: pinned.find("b"), lambda: pinned[1:][0], lambda: list(pinned)):
        with pytest.raises(BadImage, match="b: the image changed"):
            read()
    assert pinned[2].name == "c"


def test_images_that_cannot_be_read_are_told_apart():
    def read(i):
        if i == 1:
            raise BadImage("b: broken")
        return LabelledImage("abc"[i], np.zeros((1, 1, 1), np.uint8))

    images = image_set(["a", "b", "c"], [0, 1, 2], [], read)
    good, bad = images.readable()
    assert (good.names, good.labels) == (("a", "c"), (0, 2))
    assert bad == {"b": "b: broken"}
    with pytest.raises(BadImage, match="none of the 1 images can be read: b: broken"):
        images[1:2].readable()
