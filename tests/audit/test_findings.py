"""What lies in RUN/attack comes from anybody, as the run does: it is about this run, or it is refused."""

import json
import shutil

import numpy as np
import pytest

from dsmooth import SmoothedClassifier, open_images
from dsmooth.audit.attack import Attack, attack_run
from dsmooth.audit.findings import check_of_run, read_findings
from dsmooth.audit.pgd import Ascent
from dsmooth.errors import BadRun
from dsmooth.records.store import read_run
from dsmooth.report.page import page_of
from dsmooth.report.summary import summarise
from dsmooth.runs.certify import certify_run
from support import Linear, dsmooth

QUICK = Attack(ascent=Ascent(2, 2), strengths=(0.1,), n=20)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """Two attacked runs of the same images, under other noise."""
    folder = tmp_path_factory.mktemp("attacked")
    pixels = np.random.default_rng(0).integers(96, 170, (3, 4, 4, 3)).astype(np.uint8)
    np.savez(folder / "images.npz", images=pixels, labels=[0, 1, 1])
    images = open_images(folder / "images.npz")
    for sigma in (0.25, 0.5):
        with SmoothedClassifier(Linear(), None, sigma) as smoothed:
            run = certify_run(smoothed, images, folder / f"{sigma}", n=100, seed=0)
            attack_run(run, images, smoothed, QUICK)
    return folder


@pytest.fixture
def copy(base, tmp_path):
    return shutil.copytree(base / "0.25", tmp_path / "run")


def rewritten(run, change):
    """The findings with every one of them changed."""
    path = run / "attack" / "attack.jsonl"
    head, *lines = map(json.loads, path.read_text().splitlines())
    for line in lines:
        for finding in line["findings"]:
            change(head, finding)
    path.write_text("".join(json.dumps(line) + "\n" for line in [head, *lines]))
    return run


def test_the_attack_of_a_run_is_shown_with_it(base):
    run = read_run(base / "0.25")
    check_of_run(read_findings(run.folder / "attack"), run)
    assert "Under attack" in page_of(summarise([run]))


def test_the_attack_of_another_run_is_not(base, copy):
    """Its page showed what the attack on another run had found."""
    shutil.copy(base / "0.5" / "attack" / "attack.jsonl", copy / "attack" / "attack.jsonl")
    with pytest.raises(BadRun, match="belongs to another run"):
        page_of(summarise([read_run(copy)]))
    with SmoothedClassifier(Linear(), None, 0.25) as smoothed, pytest.raises(BadRun, match="belongs to another run"):
        attack_run(read_run(copy), open_images(base / "images.npz"), smoothed, QUICK, resume=True)


@pytest.mark.parametrize(
    "change", [{"certified": 7}, {"label": 7}, {"radius": "9.000000000"}, {"name": "another"}], ids=str
)
def test_what_the_run_says_itself_is_what_it_says(copy, change):
    """Everything certified, at every strength."""
    rewritten(copy, lambda head, finding: finding.update(change))
    with pytest.raises(BadRun, match="belongs to another run"):
        page_of(summarise([read_run(copy)]))


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "change",
    [
        {"radius": "1e999999999"}, {"strength": "1e-999999999"}, {"strength": "x"}, {"norm": "two"}, {"norm": []},
        {"norm": 0.5}, {"inside": "no"}, {"votes": 3}, {"answer": {}}, {"distance": None}, {"certified": 1.5},
    ],
    ids=str,
)  # fmt: skip
def test_findings_of_other_kinds_are_refused(copy, change):
    rewritten(copy, lambda head, finding: finding.update(change))
    done = dsmooth("report", copy)
    assert (done.code, len(done.err.splitlines())) == (2, 1), done.err


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "change",
    [
        {"strengths": None}, {"strengths": ["x"]}, {"strengths": [1e400]}, {"strengths": 3}, {"steps": "<b>"},
        {"draws": None}, {"strengths": [-1.0]},
    ],
    ids=str,
)  # fmt: skip
def test_parameters_of_other_kinds_are_refused(copy, change):
    rewritten(copy, lambda head, finding: head.update(change))
    done = dsmooth("report", copy)
    assert (done.code, len(done.err.splitlines())) == (2, 1), done.err


def test_parameters_that_are_missing_are_missed(copy):
    rewritten(copy, lambda head, finding: head.pop("steps", None))
    done = dsmooth("report", copy)
    assert (done.code, len(done.err.splitlines())) == (2, 1), done.err
