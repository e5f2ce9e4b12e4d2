import numpy as np
import pytest
import torch

from dsmooth.errors import BadImage
from dsmooth.images.sets import LabelledImage
from dsmooth.training.loop import generator
from dsmooth.training.resident import Resident

CPU = torch.device("cpu")


def marked(count, side=6):
    """Images whose pixels tell number, row and column."""
    images = []
    for i in range(count):
        pixels = np.zeros((side, side, 3), np.uint8)
        pixels[..., 0] = i + 1
        pixels[..., 1] = 10 + np.arange(side)[:, None]
        pixels[..., 2] = 10 + np.arange(side)[None, :]
        images.append(LabelledImage(str(i), pixels, i % 4))
    return images


def test_each_image_is_shifted_and_perhaps_mirrored_with_its_label():
    x, labels = Resident(marked(7), 2, CPU).batch(400, generator(CPU, 1))
    assert x.shape == (400, 3, 6, 6)
    assert x.is_contiguous(memory_format=torch.channels_last)
    levels = (x * 255).round().int()
    seen = set()
    for image, label in zip(levels, labels.tolist(), strict=True):
        number = int(image[0].max())
        assert label == (number - 1) % 4
        inside = image[0] > 0
        rows, columns = image[1][inside].reshape(-1), image[2][inside].reshape(-1)
        down = int(rows[0]) - 10 - int(inside.any(1).int().argmax())
        assert rows.tolist() == sorted(rows.tolist())
        mirrored = columns.tolist()[:2] == sorted(columns.tolist()[:2], reverse=True)
        assert inside.sum() >= 16  # moved by at most 2 of 6 pixels
        seen.add((number, down, mirrored))
    assert {number for number, _, _ in seen} == set(range(1, 8))
    assert {down for _, down, _ in seen} == {-2, -1, 0, 1, 2}
    assert {mirrored for _, _, mirrored in seen} == {False, True}


def test_without_padding_an_image_stays_whole():
    x, _ = Resident(marked(1), 0, CPU).batch(20, generator(CPU, 2))
    whole = torch.from_numpy(marked(1)[0].pixels).permute(2, 0, 1).float() / 255
    assert all(torch.equal(image, whole) or torch.equal(image, whole.flip(2)) for image in x)


def test_distorted_images_are_near_the_image_and_all_different():
    side = 24
    rows, columns = np.mgrid[:side, :side] / side
    wave = 128 + 60 * np.sin(3 * rows[..., None] + 2 * columns[..., None] + np.arange(3))
    image = LabelledImage("wave", wave.astype(np.uint8), 2)
    whole = torch.from_numpy(image.pixels).permute(2, 0, 1).float() / 255
    x, labels = Resident([image], 0, CPU, distort=0.1).batch(64, generator(CPU, 5))
    assert x.is_contiguous(memory_format=torch.channels_last)
    assert labels.tolist() == [2] * 64
    assert 0.0 <= float(x.min()) <= float(x.max()) <= 1.0
    difference = torch.minimum((x - whole).abs().amax((1, 2, 3)), (x - whole.flip(2)).abs().amax((1, 2, 3)))
    assert 0.01 < float(difference.min()) < float(difference.max()) < 0.25
    assert len(torch.unique(x.flatten(1), dim=0)) == 64
    a, b = (Resident([image], 0, CPU, distort=1e-4).batch(8, generator(CPU, 6))[0] for _ in range(2))
    assert torch.equal(a, b)
    nearest = torch.minimum((a - whole).abs().amax((1, 2, 3)), (a - whole.flip(2)).abs().amax((1, 2, 3)))
    assert float(nearest.max()) < 0.005


@pytest.mark.parametrize("distort", [0.0, 0.1])
def test_a_batch_follows_from_the_generator_alone(distort):
    resident = Resident(marked(7), 2, CPU, distort)
    (a, la), (b, lb) = (resident.batch(5, generator(CPU, 3, 4)) for _ in range(2))
    assert torch.equal(a, b)
    assert torch.equal(la, lb)
    assert not torch.equal(a, resident.batch(5, generator(CPU, 3, 5))[0])


def test_unlabelled_images_have_no_labels():
    images = marked(3)
    images[1] = LabelledImage("x", images[1].pixels)
    assert Resident(images, 0, CPU).batch(2, generator(CPU, 0))[1] is None


def test_images_of_two_sizes_are_refused():
    with pytest.raises(BadImage, match="of one size"):
        Resident([*marked(1), *marked(1, side=8)], 0, CPU)
    with pytest.raises(BadImage, match="at least one"):
        Resident([], 0, CPU)


def test_nothing_is_mirrored_where_that_is_not_wanted():
    image = marked(1)
    turned, kept = (Resident(image, 0, CPU, mirror=mirror).batch(64, generator(CPU, 3))[0] for mirror in (True, False))
    assert all(torch.equal(row, kept[0]) for row in kept)
    mirrored = [not torch.equal(row, kept[0]) for row in turned]
    assert 0 < sum(mirrored) < 64
    assert all(torch.equal(row.flip(2), kept[0]) for row, was in zip(turned, mirrored, strict=True) if was)
