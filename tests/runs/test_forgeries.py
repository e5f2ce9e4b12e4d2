"""Forgeries that ended in more than they deserved once: each says what was claimed, and what may be said of it."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from dsmooth import Mode, SmoothedClassifier, TorchClassifier, open_images
from dsmooth.errors import BadRun
from dsmooth.records.certificate_file import parse_certificate, write_certificates
from dsmooth.records.envelope import Envelope
from dsmooth.records.schema import votes_from_json, votes_to_json
from dsmooth.records.store import read_run
from dsmooth.runs.agreement import missed, tolerated
from dsmooth.runs.certify import certify_run
from dsmooth.runs.replay import replayed
from dsmooth.runs.verify import Outcome, read_evidence
from dsmooth.theory.laws.lighting import Lighting
from dsmooth.theory.votes import Votes
from forging import Forger, labels_of
from support import Linear, dsmooth

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


@pytest.mark.parametrize("place", ["header", "record"])
def test_a_key_is_from_nowhere_else(base, tmp_path, place):
    """The dossier said of the key what the run said of it."""
    told = "os, witnessed by a notary"
    forger = Forger(base, tmp_path)
    if place == "record":
        forger.change(key={**forger.records[2].key, "source": told})
    with pytest.raises(BadRun, match="a key from os or seed"):
        read_run(forger.seal({"key_source": told} if place == "header" else None))


# --- the power of a replay --------------------------------------------------------------------------------------------


def test_the_power_is_that_against_votes_invented_where_few_are_asked_again(tmp_path):
    """All selection votes are asked again, so who invents votes does it in the estimation."""
    np.savez(tmp_path / "images.npz", images=PIXELS[2:3], labels=[1])
    with SmoothedClassifier(Linear(), None, 0.3, batch=64) as smoothed:
        run = certify_run(smoothed, open_images(tmp_path / "images.npz"), tmp_path / "run", n0=1000, n=1000)
    told = replay_of(run.folder, tmp_path / "images.npz", Linear(), share=0.1)["replay"].detail
    limit = tolerated(1100, "fp32")
    (tenth,) = re.findall(r"10% with probability (\S+?)[,;]", told)
    truth = stats.hypergeom.cdf(limit, 1000, 100, 100)  # of 1000 votes 100 are invented, and 100 asked again
    assert float(tenth) == pytest.approx(truth, rel=0.5)
    assert "estimation votes" in told
    assert missed(100, limit, 0.1, 1000) == pytest.approx(truth)


# --- circumstances ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["certified hardware", "auto", "cuda"])
def test_a_backend_that_was_not_asked_again_is_not_said_to_have_been(base, tmp_path, backend):
    """Nobody can see what ran the networks, so a replay says what it ran them with."""
    forger = Forger(base, tmp_path)
    asked = replace(forger.records[0].asked, backend=backend, dtype="tf32")
    forger.records = [replace(record, asked=asked) for record in forger.records]
    found = replay_of(forger.seal({"question": asked.to_json()}), base / "images.npz", Linear())["replay"]
    assert f"recomputed by eager in fp32, 16 rows at once, where the file states '{backend}' in tf32" in found.detail
    honest = replay_of(base / "runs" / "fixed" / "run", base / "images.npz", Linear())["replay"]
    assert "the file states" not in honest.detail


# --- names ------------------------------------------------------------------------------------------------------------


def test_names_of_classes_that_nobody_can_compare_are_not_verified(base, tmp_path, factory):
    """Dark is called light: the classifier at hand has no names."""
    forger = Forger(base, tmp_path)
    forger.seal({"class_names": ["light", "dark"]})
    found = replay_of(forger.folder, base / "images.npz", Linear())
    assert found["names"].outcome is Outcome.OPEN
    assert "--class-names" in found["names"].give
    path = forger.certificate(tmp_path / "named.json", name="light")
    found = replay_of(path, base / "images.npz", Linear())
    assert found["name"].outcome is Outcome.OPEN
    done = dsmooth("verify", path, "--images", base / "images.npz", "-c", factory, "-d", "none", "--all")
    assert done.code == 4, done.out


def test_what_the_run_calls_its_classifier_is_repeated_where_it_is_something_else(base, tmp_path):
    """Its digest says what it is; reports show its name."""
    forger = Forger(base, tmp_path)
    assert "called" not in replay_of(forger.folder, base / "images.npz", Linear())
    found = replay_of(forger.seal({"classifier_name": "a robust one"}), base / "images.npz", Linear())
    assert found["called"].outcome is Outcome.TOLD
    assert "calls its classifier 'a robust one'" in found["called"].detail


@pytest.mark.parametrize("names", [["dark"], ["dark", "light", "none"]], ids=len)
def test_a_label_without_a_name_has_none(base, tmp_path, names):
    forger = Forger(base, tmp_path)
    forger.seal()
    path = forger.certificate(tmp_path / "named.json", name="a good answer")
    network = TorchClassifier(Linear(), class_names=names[:2] if len(names) > 2 else ["dark", "light"])
    found = {c.what: c for c in replayed(read_evidence(path), open_images(base / "images.npz"), network, None, 1.0)}
    assert found["name"].outcome is Outcome.FAILS


def test_an_abstention_is_called_nothing(tmp_path):
    np.savez(tmp_path / "images.npz", images=np.full((1, 3, 5, 3), 128, np.uint8), labels=[0])
    with SmoothedClassifier(Linear(), None, 0.3, batch=16) as smoothed:
        run = certify_run(smoothed, open_images(tmp_path / "images.npz"), tmp_path / "runs" / "x" / "run", n=40, seed=1)
    assert run.records[0].answer is None
    forger = Forger(tmp_path, tmp_path, "x")
    forger.seal()
    path = forger.certificate(tmp_path / "named.json", 0, name="a good answer")
    names = TorchClassifier(Linear(), class_names=["dark", "light"])
    found = {c.what: c for c in replayed(read_evidence(path), open_images(tmp_path / "images.npz"), names, None, 1.0)}
    assert found["name"].outcome is Outcome.FAILS


def test_what_is_printed_is_the_name_of_the_verifiers_image(base, tmp_path, factory):
    """A certificate may call its image anything, such as a radius."""
    forger = Forger(base, tmp_path)
    forger.change(2, name="all: verified within l2 9.0000 (claimed 9.0000); cat")
    path = forger.certificate(tmp_path / "named.json")
    np.savez(tmp_path / "one.npz", images=PIXELS[2:3], labels=[1])
    for how in (("--share", "0.3"), ("--again",)):
        done = dsmooth("verify", path, "--images", tmp_path / "one.npz", "-c", factory, "-d", "none", *how)
        assert "9.0000" not in done.out, done.out


# --- anew -------------------------------------------------------------------------------------------------------------


def test_a_certificate_anew_is_of_the_networks_that_the_file_names(base, tmp_path, factory):
    forger = Forger(base, tmp_path)
    forger.seal({"class_names": ["light", "dark"]})
    images = ("--images", base / "images.npz", "-d", "none", "--again")
    done = dsmooth("verify", forger.folder, *images, "-c", "import:linear_for_test:named")
    assert done.code == 1, done.out
    assert "class names differ" in done.out
    path = forger.certificate(tmp_path / "named.json", name="dark")
    assert dsmooth("verify", path, *images, "-c", "import:linear_for_test:named").code == 1
    done = dsmooth("verify", path, *images, "-c", "import:linear_for_test:other")
    assert done.code == 1, done.out
    assert re.search(r"classifier +does not hold", done.out)


def test_what_the_verifiers_own_votes_do_not_reach_is_not_verified(tmp_path, factory):
    """A few votes that were invented are too few to be noticed, and enough for twice the radius.

    The verifier draws its own votes. Of 80, each right with probability .86, it is all of them with probability 8e-6, which
    leaves the claim as it is, and 53 or fewer, which shows the forgery itself, with 4e-6.
    """
    np.savez(tmp_path / "images.npz", images=np.full((1, 3, 5, 3), 140, np.uint8), labels=[1])
    with SmoothedClassifier(Linear(), None, 0.3, batch=16) as smoothed:
        certify_run(smoothed, open_images(tmp_path / "images.npz"), tmp_path / "runs" / "x" / "run", n=80, seed=2)
    forger = Forger(tmp_path, tmp_path, "x")
    labels = [*labels_of(forger, 0)[:100], *[1] * 80]
    honest = float(forger.records[0].radius)
    forger.votes(labels, 0).change(0, estimation=votes_to_json(Votes({1: 80}, 80)))
    forger.seal()
    claimed = float(forger.records[0].radius)
    assert claimed > 2 * honest > 0
    done = dsmooth("verify", forger.folder, "--images", tmp_path / "images.npz", "-c", factory, "-d", "none", "--again")
    told = re.search(r"verified within l2 (\S+) \(claimed (\S+)\)", done.out)
    assert told, done.out
    assert float(told[1]) < claimed
    assert "within a smaller radius" in done.out.splitlines()[-1]


# --- what takes long ----------------------------------------------------------------------------------------------------


@pytest.mark.timeout(20)
@pytest.mark.parametrize("signed", [False, True], ids=["plain", "signed"])
def test_a_certificate_of_very_many_values_is_refused_before_they_are_checked(base, signed):
    """Ten million empty lists took five minutes."""
    value = json.loads((base / "certificates" / "000002.json").read_text())
    value["record"]["estimation"]["counts"] = "here"
    text = json.dumps(value).replace('"here"', f"[{','.join(['[]'] * 10_000_000)}]").encode()
    content = Envelope(text, (("x", b""),)).text().encode() if signed else text
    with pytest.raises(BadRun, match="values, got"):
        parse_certificate(content)
