"""Runs from before the engine was rebuilt: the same streams give the same noise, votes, numbers of votes and radii.

Noise and radii are equal on every machine. Votes are equal where networks round as they did then; elsewhere most are.
"""

import base64
import hashlib
import json
import zlib
from collections import Counter
from contextlib import nullcontext
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

from dsmooth import RemoteClassifier, SmoothedClassifier
from dsmooth.backends.versions import versions
from dsmooth.images.sets import LabelledImage
from dsmooth.records.digests import digest_image
from dsmooth.records.schema import radius_text
from dsmooth.smoothing.chunks import Chunk
from dsmooth.smoothing.sources.grid import GridSource
from dsmooth.theory.laws.gaussian import Gaussian
from dsmooth.theory.modes import Mode
from dsmooth.theory.pilot import Sizes
from dsmooth.theory.stopping import StoppingRule
from dsmooth.theory.votes import Phase, StoppedVotes, Votes
from golden.cases import centre, images_of, pattern, processor
from services.servers import Brain, Server
from support import data

GOLDEN = json.loads(Path(__file__).with_name("runs.json").read_text())
CASES = [pytest.param(case, id=case["name"]) for case in GOLDEN["cases"]]
ALIKE = {"fp32": 0.99, "bf16": 0.95}
"""The part of the votes that are the same where networks round otherwise."""
PHASES = ("selection", "estimation")


# What the library is asked, all of it here.


def noisy(sigma, pixels, stream, samples):
    """Noisy pixels (samples, H, W, C) of these samples of a stream, in steps of 1/255."""
    asked = [(pixels, Chunk(Phase.ESTIMATION, stream, sample, 1)) for sample in samples]
    rows = GridSource(Gaussian(sigma)).noisy(asked, len(samples))
    assert not rows.undecided.any()
    return np.asarray(rows.steps)


def plan(case):
    """The mode of a case, with its numbers and its bound."""
    norm = float(case["norm"])
    return Mode.from_json(case["mode"]).plan(
        case["bound"], Gaussian(case["sigma"]), n=case["n"], alpha=case["alpha"], norm=norm
    )


def estimated(case, selection, labels, dim):
    """The estimation votes among these labels, to the last that the mode of the case wants, and those of the best look."""
    demand = plan(case).demand
    if isinstance(demand, StoppingRule):
        held, best, wanted = 0, counted([]), 0
        while wanted is not None:
            votes = counted(labels[:wanted])
            verdict = demand.look(selection, votes, held=held, dim=dim)
            if verdict.held > held:
                held, best = verdict.held, votes
            wanted = verdict.more
        return votes, best
    return counted(labels[: demand.size(selection) if isinstance(demand, Sizes) else demand]), None


def concluded(case, selection, estimation, reached, dim):
    """Answer, radius and the name of the bound, from counts."""
    outcome = estimation if reached is None else StoppedVotes(estimation, reached)
    certificate = plan(case).certify(selection, outcome, dim)
    return certificate.answer, radius_text(certificate.radius), certificate.certifier


def voter(case, classifier):
    """Pixels, the keys of their streams, samples (phase, number) -> the votes of these samples."""
    smoothed = SmoothedClassifier(
        classifier,
        case["denoiser"].format(data=data()),
        case["sigma"],
        dtype=case["dtype"],
        backend=case["backend"],
        batch=case["batch"],
        workers=1,
    )

    def votes(pixels, streams, samples):
        asked = [(Phase(phase), sample) for phase, sample in samples]
        keys = {Phase(phase): stream for phase, stream in streams.items()}
        return list(smoothed.replay(LabelledImage("image", pixels), keys, asked))

    return votes


# What was recorded.


def counted(labels):
    return Votes(Counter(label for label in labels if label is not None), len(labels))


def votes_of(counts):
    return None if counts is None else Votes(dict(counts["counts"]), counts["trials"])


def labels_of(image):
    """The recorded votes: selection, estimation."""
    codes = np.frombuffer(zlib.decompress(base64.b64decode(image["votes"])), dtype="<u2")
    labels = [None if code == 0 else image["labels"][code - 1] for code in codes]
    first = image["selection"]["trials"]
    return labels[:first], labels[first:]


def digests(rows):
    return [hashlib.sha256(np.ascontiguousarray(row, dtype="<i2").tobytes()).hexdigest() for row in rows]


def pixels_of(case):
    """The images of a case, which are those that were recorded."""
    images = images_of(data(), case["file"], [image["position"] for image in case["images"]], case["side"])
    assert [digest_image(pixels) for pixels in images] == [image["digest"] for image in case["images"]]
    return images


def rounds_as_then(case):
    """Whether processor and packages are those that decided the last digit of these networks' answers."""
    here, bearing = {**versions(), "processor": processor()}, ["processor", "machine", "cpu", "torch"]
    if case["backend"] == "openvino":
        bearing.append("openvino")
    if case["classifier"].startswith("onnx:"):
        here["onnxruntime"] = version("onnxruntime")
        bearing.append("onnxruntime")
    return all(here.get(name) == GOLDEN["made"][name] for name in bearing)


@pytest.mark.parametrize("case", GOLDEN["noise"], ids=lambda case: f"{case['sigma']}, {case['shape']}")
def test_the_noise_of_a_stream_is_the_same(case):
    rows = noisy(case["sigma"], pattern(tuple(case["shape"])), bytes.fromhex(case["stream"]), GOLDEN["samples"])
    assert digests(rows) == case["noisy"]


@pytest.mark.parametrize("case", CASES)
def test_the_noise_on_the_images_of_a_run_is_the_same(case):
    for image, pixels in zip(case["images"], pixels_of(case), strict=True):
        for phase in PHASES:
            rows = noisy(case["sigma"], pixels, bytes.fromhex(image["streams"][phase]), GOLDEN["samples"])
            assert digests(rows) == image["noisy"][phase], (image["position"], phase)


@pytest.mark.parametrize("case", CASES)
def test_the_same_votes_are_wanted_and_give_the_same_radius(case):
    assert case["law"] == "gaussian/255"
    for image in case["images"]:
        side = case["side"] or (32 if case["file"].startswith("cifar10") else 224)
        dim = 3 * side * side
        first, later = labels_of(image)
        selection, estimation, reached = (votes_of(image[name]) for name in (*PHASES, "reached"))
        assert counted(first) == selection
        assert selection.trials == case["n0"]
        # beyond the last vote that was counted there are others, which nobody may look at
        assert estimated(case, selection, [*later, *["never seen"] * case["n"]], dim) == (estimation, reached)
        told = (image["answer"], image["radius"], case["certifier"])
        assert concluded(case, selection, estimation, reached, dim) == told


@pytest.mark.filterwarnings("ignore:the denoiser photo was trained on")
@pytest.mark.parametrize("case", CASES)
def test_the_networks_vote_the_same(case):
    """Batches of the recorded shape, on other threads and in other company than then."""
    same = asked = 0
    with Server(Brain(centre)) if case["classifier"] == "service" else nullcontext() as server:
        service = None if server is None else RemoteClassifier(f"{server.url}/x")
        votes = voter(case, service or case["classifier"].format(data=data()))
        for image, pixels in zip(case["images"], pixels_of(case), strict=True):
            streams = {phase: bytes.fromhex(image["streams"][phase]) for phase in PHASES}
            expected = dict(zip(PHASES, labels_of(image), strict=True))
            samples = [(phase, sample) for phase in PHASES for sample in range(len(expected[phase]))]
            found = votes(pixels, streams, samples)
            assert len(found) == len(samples)
            same += sum(vote == expected[phase][i] for vote, (phase, i) in zip(found, samples, strict=True))
            asked += len(samples)
        if service is not None:
            service.close()
    least = asked if rounds_as_then(case) or case["denoiser"] == "none" else ALIKE[case["dtype"]] * asked
    assert least <= same <= asked, (same, asked)
