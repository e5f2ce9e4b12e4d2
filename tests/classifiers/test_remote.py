"""A service as a classifier: its votes are those of the model behind it."""

import numpy as np
import pytest
import torch

from dsmooth import RemoteClassifier, SmoothedClassifier, load_classifier, open_images
from dsmooth.backends.eager import Eager
from dsmooth.classifiers.base import Classifier
from dsmooth.errors import BadModel, BadParameter, ServiceStopped
from dsmooth.images.sets import LabelledImage
from dsmooth.services.gate import Limits
from dsmooth.services.voting import LabelMap, Presence
from dsmooth.smoothing.chunks import MasterKey
from services.local import Local
from services.servers import SECRETS, Brain, Server, brightness, connection, server
from support import data

WIRES = ["aws", "google", "azure", "clarifai", "http"]
KEY = MasterKey.draw(seed=3)


@pytest.fixture(autouse=True)
def keys(monkeypatch):
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)


def middling(count, side=9):
    pixels = np.random.default_rng(0).integers(100, 156, (count, side, side, 3)).astype(np.uint8)
    return [LabelledImage(str(i), image) for i, image in enumerate(pixels)]


def votes(classifier, images, denoiser=None, **options):
    found = []
    with SmoothedClassifier(classifier, denoiser, 0.25, **options) as smoothed:
        question = smoothed.question(n0=7, n=40)
        for _ in smoothed.tallies(images, question, KEY, on_votes=lambda tally, chunk, labels: found.extend(labels)):
            pass
    return found


@pytest.mark.parametrize("wire", WIRES)
def test_votes_over_the_wire_are_those_of_the_local_model(wire):
    brain = Brain(brightness)
    with server(wire, brain) as running:
        spec, endpoint = connection(wire, running.url)
        remote = RemoteClassifier(spec, endpoint=endpoint)
        assert isinstance(remote, Classifier)
        over_the_wire = votes(remote, middling(3))
        remote.close()
    assert over_the_wire == votes(Local(brightness, remote), middling(3), batch=32)
    assert {"light", "dark"} == set(over_the_wire)
    assert brain.queries == 3 * 47  # neither padding nor the probe is asked


@pytest.mark.slow
@pytest.mark.parametrize("wire", ["aws", "google", "azure", "clarifai"])
def test_an_imagenet_model_behind_a_wire_votes_as_it_does_here(wire):
    lite = load_classifier("efficientnet-lite0")
    answer = lite.prepared(Eager("fp32", 1))
    answer(torch.zeros(1, 3, 224, 224))  # folded at the first batch, which no other thread may disturb
    folder = data() / "imagenet"

    def model(pixels):
        image = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 255
        return [(lite.class_names[answer(image)[0]], 1.0)]

    images = list(open_images(folder / "val50_224.zip", labels=folder / "val50_labels.csv")[:2])
    with server(wire, Brain(model)) as running:
        remote = RemoteClassifier(connection(wire, running.url)[0], endpoint=running.url)
        over_the_wire = votes(remote, images, "photo", batch=8)
        remote.close()
    assert over_the_wire == votes(Local(model, remote), images, "photo", batch=8)
    assert len(set(over_the_wire)) > 1


def test_an_answer_that_is_empty_or_unknown_is_a_missing_vote():
    brain = Brain(brightness, {0: "empty", 5: "empty"})
    with Server(brain) as running:
        remote = RemoteClassifier(f"{running.url}/x", rule=LabelMap({"dim": ["Dark"], "none": ["nothing"]}))
        bright = [LabelledImage("bright", np.full((9, 9, 3), 250, np.uint8))]
        found = votes(remote, bright)
        assert found.count(None) == 2
        assert found.count(0) == 45  # "light" is on top, and the map knows "dark" only
        remote.close()
    assert brain.queries == 47


def test_presence_of_a_label():
    with Server(Brain(brightness)) as running:
        remote = RemoteClassifier(f"{running.url}/x", rule=Presence("Light", 0.3))
        assert remote.class_names == ["Light", "no Light"]
        assert set(votes(remote, [LabelledImage("dim", np.full((9, 9, 3), 120, np.uint8))])) == {0}
        assert set(votes(remote, [LabelledImage("dark", np.full((9, 9, 3), 3, np.uint8))])) == {1}
        remote.close()


def test_a_denoiser_that_fails_costs_no_query():
    def sometimes(x, sigma):
        x = x.clone()
        x[x[:, 0, 0, 0] < 0.5] = torch.nan
        return x

    brain = Brain(brightness)
    with Server(brain) as running:
        remote = RemoteClassifier(f"{running.url}/x")
        found = votes(remote, middling(1), sometimes)
        remote.close()
    assert 0 < found.count(None) < 47
    assert brain.queries == 47 - found.count(None)


def test_a_denoiser_that_looks_at_the_whole_batch_is_refused_before_anything_is_sent():
    brain = Brain(brightness)
    with Server(brain) as running:
        remote = RemoteClassifier(f"{running.url}/x")
        with pytest.raises(BadModel, match="depends on the other images in the batch"):
            votes(remote, middling(1), lambda x, sigma: x - x.mean(dim=0))
        remote.close()
    assert brain.queries == 0


def test_after_an_interruption_it_can_be_used_again_within_the_same_budget():
    brain = Brain(brightness)
    with Server(brain) as running:
        remote = RemoteClassifier(f"{running.url}/x", limits=Limits(max_queries=60))
        smoothed = SmoothedClassifier(remote, None, 0.25)
        pixels = middling(1)[0].pixels
        assert smoothed.predict(pixels, n=20).votes.trials == 20
        remote.interrupt()
        assert smoothed.predict(pixels, n=20).votes.trials == 20
        for _ in range(2):
            with pytest.raises(ServiceStopped, match="budget"):
                smoothed.certify(pixels)
            assert brain.queries == 60
        remote.close()


def test_rates_and_prices_are_the_providers_unless_they_are_given():
    remote = RemoteClassifier("aws:rekognition")
    assert (remote.limits.rate, remote.limits.price) == (5.0, 1.0)
    remote.close()
    remote = RemoteClassifier("aws:rekognition", endpoint="http://127.0.0.1:9", limits=Limits(price=0.5))
    assert (remote.limits.rate, remote.limits.price) == (None, 0.5)
    remote.close()
    with pytest.raises(BadParameter, match="is not known: pass --price"):
        RemoteClassifier("http://127.0.0.1:9/x", limits=Limits(max_dollars=1.0))


def test_the_digest_follows_all_that_makes_a_vote():
    def digest(spec="http://127.0.0.1:9/x", **options):
        remote = RemoteClassifier(spec, **options)
        remote.close()
        return remote.digest()

    one, two = LabelMap({"a": ["x"], "b": ["y"]}), LabelMap({"b": ["y"], "a": ["x"]})
    digests = [
        digest(),
        digest("http://127.0.0.1:9/y"),
        digest("google:vision"),
        digest(rule=one),
        digest(rule=two),
        digest(rule=Presence("x")),
        digest(wire={"request": "{image}", "labels": "x"}),
    ]
    assert len(set(digests)) == len(digests)
    assert digest() == digests[0]


def test_grey_images_and_pixels_beyond_the_range_are_sent_as_8_bits():
    seen = []

    def model(pixels):
        seen.append(pixels)
        return [("x", 1.0)]

    with Server(Brain(model)) as running:
        remote = RemoteClassifier(f"{running.url}/x")
        remote.prepared(Eager("fp32", 1))(torch.tensor([[[[-0.5, 0.2], [0.5019, 1.7]]]]))
        remote.close()
    assert seen[0].tolist() == [[0, 51], [128, 255]]
