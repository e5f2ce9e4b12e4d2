"""Forgeries that ended in more than they deserved once: each says what was claimed, and what may be said of it."""

import json

import numpy as np
import pytest

from dsmooth import Mode, SmoothedClassifier, TorchClassifier, open_images
from dsmooth.errors import BadRun
from dsmooth.records.certificate_file import write_certificates
from dsmooth.records.schema import votes_from_json, votes_to_json
from dsmooth.records.store import read_run
from dsmooth.runs.certify import certify_run
from dsmooth.runs.replay import replayed
from dsmooth.runs.verify import read_evidence
from dsmooth.theory.laws.lighting import Lighting
from dsmooth.theory.votes import Votes
from forging import Forger
from support import Linear

PIXELS = np.random.default_rng(0).integers(96, 170, (4, 3, 5, 3)).astype(np.uint8)
PIXELS[2] = 150  # the one that is surely certified


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    np.savez(folder / "images.npz", images=PIXELS, labels=[0, 1, 1, 0])
    with SmoothedClassifier(Linear(), None, 0.3, batch=16) as smoothed:
        run = certify_run(smoothed, open_images(folder / "images.npz"), folder / "runs" / "fixed" / "run", n=400)
    write_certificates(run, folder / "certificates")
    return folder


@pytest.fixture
def factory(tmp_path, monkeypatch):
    (tmp_path / "linear_for_test.py").write_text(
        "from dsmooth import TorchClassifier\nfrom support import Linear, Threshold\n"
        "def model():\n    return Linear()\n"
        "def named():\n    return TorchClassifier(Linear(), class_names=['dark', 'light'])\n"
        "def other():\n    return Threshold(3)\n"
    )
    monkeypatch.chdir(tmp_path)
    return "import:linear_for_test:model"


def replay_of(path, images, classifier, share=1.0):
    made = replayed(read_evidence(path), open_images(images), TorchClassifier(classifier), None, share)
    return {check.what: check for check in made}


# --- what the report shows ----------------------------------------------------------------------------------------------


def test_the_order_of_counts_is_that_of_the_counts(base, tmp_path):
    """The true class first, whatever its votes: the page said that the majority was right."""
    forger = Forger(base, tmp_path)
    wrong = next(i for i, r in enumerate(forger.records) if len(r.estimation["counts"]) > 1)
    counts = forger.records[wrong].estimation["counts"]
    forger.change(wrong, claim=False, estimation={**forger.records[wrong].estimation, "counts": counts[::-1]})
    with pytest.raises(BadRun, match="counts"):
        read_run(forger.seal())


@pytest.mark.parametrize("more", [{"accuracy": 100.0}, {"missing": False}, {"missing": 0.0}], ids=str)
def test_votes_have_one_spelling(more):
    votes = votes_to_json(Votes({1: 4, 0: 2}, 6))
    assert votes_from_json(votes) == Votes({1: 4, 0: 2}, 6)
    with pytest.raises(BadRun, match="counts"):
        votes_from_json({**votes, **more})


# --- the key ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        lambda zero: Mode("curve", (zero, 0.25)),
        lambda zero: Mode("decision", (zero,)),
        lambda zero: Mode("radius", price=zero),
        lambda zero: Lighting(0.25, brightness=0.1, colour=zero, ramp=0.0),
        lambda zero: Lighting(0.25, brightness=zero, colour=0.1, ramp=0.0),
        lambda zero: Lighting(0.25, brightness=0.1, colour=0.0, ramp=zero),
    ],
)
def test_a_question_has_one_spelling_and_so_one_noise(make):
    """-0.0 equals 0.0 and is written otherwise: when the beacon's round was known, either noise could be chosen."""
    assert json.dumps(make(-0.0).to_json()) == json.dumps(make(0.0).to_json())
    assert make(-0.0) == make(0.0)
