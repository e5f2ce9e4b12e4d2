"""What programs hand in: every form of one image is the same image, and what is changed is said."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from dsmooth import BadImage, BadParameter, SmoothedClassifier, TorchClassifier
from dsmooth.images.decoding import centred
from dsmooth.images.given import Given
from support import Linear

BYTES = np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype=np.uint8)
CHANNELS_FIRST = torch.from_numpy(BYTES).permute(2, 0, 1)
GREY = BYTES[:, :, 0]
SAME = {
    "bytes": BYTES,
    "floats": BYTES / np.float32(255),
    "a picture": Image.fromarray(BYTES),
    "a tensor of bytes": CHANNELS_FIRST,
    "a tensor of floats": CHANNELS_FIRST / 255,
    "a tensor with gradients": (CHANNELS_FIRST / 255).requires_grad_(),
    "a tensor (H, W, C)": torch.from_numpy(BYTES),
}


@pytest.mark.parametrize("given", SAME.values(), ids=SAME.keys())
def test_every_form_is_the_same_image(given):
    image = Given().image(given, name="x", label=3)
    assert np.array_equal(image.pixels, BYTES)
    assert (image.name, image.label, image.decoding) == ("x", 3, ())
    assert Given().batch(given) is None


@pytest.mark.parametrize("given", SAME.values(), ids=SAME.keys())
def test_a_list_is_a_batch(given):
    batch = Given().batch([given, given])
    assert [image.name for image in batch] == ["image 0", "image 1"]
    assert all(np.array_equal(image.pixels, BYTES) for image in batch)


def test_a_batch_of_tensors_and_images_of_several_sizes():
    (image,) = Given().batch(CHANNELS_FIRST[None] / 255)
    assert np.array_equal(image.pixels, BYTES)
    first, second = Given().batch([BYTES, BYTES[:4]])
    assert (first.pixels.shape, second.pixels.shape) == ((6, 5, 3), (4, 5, 3))


@pytest.mark.parametrize("given", [GREY, GREY[:, :, None], torch.from_numpy(GREY)[None], Image.fromarray(GREY)])
def test_grey_becomes_rgb_where_nothing_else_is_taken(given):
    assert Given().image(given).pixels.shape == (6, 5, 1)
    with pytest.warns(UserWarning, match="L to RGB"):
        image = Given(channels=3).image(given)
    assert np.array_equal(image.pixels, np.stack([GREY] * 3, axis=2))
    assert image.decoding == ("L to RGB",)


def test_floats_are_rounded_where_that_is_asked_for():
    floats = torch.rand(3, 6, 5, generator=torch.Generator().manual_seed(0))
    with pytest.raises(BadImage, match="quantise=True"):
        Given().image(floats)
    with pytest.warns(UserWarning, match="rounded to whole steps of 1/255"):
        image = Given(quantise=True).image(floats)
    assert np.array_equal(image.pixels, (floats * 255).round().byte().permute(1, 2, 0).numpy())
    assert Given(quantise=True).image(BYTES / 255).decoding == ()  # nothing changed, nothing said
    with pytest.raises(BadImage, match=r"\[0, 1\]"):
        Given(quantise=True).image(floats + 1)


@pytest.mark.parametrize("given", [BYTES, CHANNELS_FIRST, Image.fromarray(BYTES)])
def test_images_are_resized_as_files_are(given):
    with pytest.warns(UserWarning, match="centre 4 x 4"):
        image = Given(size=4).image(given)
    assert np.array_equal(image.pixels, np.asarray(centred(Image.fromarray(BYTES), 4)[0]))


class Numbers(Dataset):
    """As people write them: no end but its length."""

    def __len__(self):
        return 3

    def __getitem__(self, i):
        return CHANNELS_FIRST / 255, i + 10


LOADED = TensorDataset(torch.stack([CHANNELS_FIRST] * 3) / 255, torch.tensor([10, 11, 12]))
STREAMS = {
    "a loader": DataLoader(LOADED, batch_size=2),
    "a data set": LOADED,
    "a data set of one's own": Numbers(),
    "a loader of it": DataLoader(Numbers(), batch_size=3),
    "a generator": ((BYTES, label) for label in (10, 11, 12)),
    "pictures": [(Image.fromarray(BYTES), label) for label in (10, 11, 12)],
}


@pytest.mark.parametrize("source", STREAMS.values(), ids=STREAMS.keys())
def test_data_sets_and_loaders_are_streams(source):
    images = list(Given().stream(source))
    assert [(image.name, image.label) for image in images] == [("0", 10), ("1", 11), ("2", 12)]
    assert all(np.array_equal(image.pixels, BYTES) for image in images)


def test_streams_need_no_labels_and_may_be_endless():
    def endless():
        while True:
            yield CHANNELS_FIRST

    stream = Given().stream(endless())
    assert [next(stream).name for _ in range(3)] == ["0", "1", "2"]
    assert [image.label for image in Given().stream([BYTES, BYTES])] == [None, None]
    assert len(list(Given().stream([[BYTES, BYTES]]))) == 2
    for wrong, says in ((5, "expected a data set or loader"), ([(CHANNELS_FIRST[None], [1, 2])], "a label for each")):
        with pytest.raises(BadImage, match=says):
            list(Given().stream(wrong))


def test_a_loader_is_certified():
    smoothed = SmoothedClassifier(Linear(), None, 0.25)
    found = {
        image.name: (image.label, certificate) for image, certificate in smoothed.certify_stream(LOADED, n=60, seed=1)
    }
    assert {name: label for name, (label, _) in found.items()} == {"0": 10, "1": 11, "2": 12}
    assert found["1"][1] == smoothed.certify(BYTES, n=60, seed=1)
    assert list(smoothed.certify_stream([])) == []


def test_options_of_the_smoothed_classifier():
    mean = (0.5, 0.5, 0.5)
    classifier = TorchClassifier(Linear(), mean=mean, std=mean, input_size=4)
    smoothed = SmoothedClassifier(classifier, None, 0.25, resize=True, quantise=True)
    with pytest.warns(UserWarning, match="converted image: rounded .*, L to RGB, .*centre 4 x 4"):
        certificate = smoothed.certify(torch.full((1, 6, 5), 0.9), n=20)
    assert certificate.estimation.trials == 20
    with pytest.raises(BadParameter, match="does not state its image size"):
        SmoothedClassifier(nn.Flatten(), None, 0.25, resize=True)
