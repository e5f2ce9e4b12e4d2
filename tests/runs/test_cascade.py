"""Several strengths of noise as one classifier, from the command to the verifier."""

import json
import shutil

import numpy as np
import pytest
import torch
from torch import nn

from dsmooth import CascadedClassifier, SmoothedClassifier, read_run
from dsmooth.cli import main
from dsmooth.errors import BadParameter
from dsmooth.records.cascade import read_cascade
from dsmooth.records.schema import certificate_of, votes_from_json, votes_to_json
from dsmooth.runs.cascade import cascade_check
from dsmooth.runs.replay import Replay
from dsmooth.runs.verify import Outcome
from dsmooth.theory.votes import Votes
from forging import Forger, labels_of
from support import run

LOW, HIGH = 60, 195
SIGMAS = ("--sigma", "0.1", "--sigma", "1")
PIXELS = np.full((4, 1, 3, 1), 255, np.uint8)
PIXELS[:, 0, 0, 0] = [127, 250, 130, 0]
LABELS = [1, 2, 1, 0]
NETWORKS = ("--images", "images.npz", "-c", "import:runs.test_cascade:Band", "-d", "none")


class Band(nn.Module):
    """Class 1 where the first coordinate is from LOW to HIGH, 0 below and 2 above; strong noise leaves the band."""

    def forward(self, x):
        step = x[:, 0, 0, 0].float() * 255
        return torch.stack([LOW - 0.5 - step, torch.zeros_like(step), step - HIGH - 0.5], dim=1)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cascade")
    np.savez(folder / "images.npz", images=PIXELS, labels=LABELS)
    done = run(folder, "certify", "images.npz", *NETWORKS[2:], *SIGMAS, "--cascade", "--seed", "5", "-o", "c")
    assert "4 images follow" not in done.err
    return folder


@pytest.fixture
def copy(base, tmp_path):
    shutil.copytree(base, tmp_path / "copy")
    return tmp_path / "copy"


def test_weak_noise_is_asked_where_strong_noise_decides_nothing(base):
    cascade = read_cascade(base / "c")
    assert [len(scale.records) for scale in cascade.scales] == [4, 2]
    found = {r.name: (c.answer, c.scale.sigma) for r, c in zip(cascade.records, cascade.certificates(), strict=True)}
    assert found == {"0": (1, 0.1), "1": (2, 1.0), "2": (1, 0.1), "3": (0, 1.0)}
    for record, certificate in zip(cascade.records, cascade.certificates(), strict=True):
        first = int(PIXELS[int(record.name), 0, 0, 0])
        # where strong noise answers, it does so until half of it is on this side; else until the band's end, at the latest
        truth = {0: LOW - 0.5 - first, 1: min(first - LOW + 0.5, HIGH + 0.5 - first), 2: first - HIGH - 0.5}
        assert 0.0 < certificate.radius <= truth[certificate.answer] / 255


def test_the_class_says_what_the_command_does(base):
    with CascadedClassifier(NETWORKS[3], None, sigmas=[0.1, 1.0], dtype="fp32") as cascaded:
        found = cascaded.certify(PIXELS, seed=5)
        alone = cascaded.certify(PIXELS[1], seed=5)
        predicted = cascaded.predict(PIXELS, n=2000, seed=5)
    expected = read_cascade(base / "c").certificates()
    assert found == expected
    assert alone == expected[1]
    assert [prediction.answer for prediction in predicted] == LABELS
    assert cascaded.predict(PIXELS[0], n=2000, seed=6).answer == 1
    with pytest.raises(BadParameter, match="its own bound"):
        CascadedClassifier(Band(), None, sigmas=[0.1, 1.0], law=None)
    with pytest.raises(BadParameter, match="CascadedClassifier"):
        SmoothedClassifier(Band(), None, sigma=[0.1, 1.0])


def test_predict(base):
    done = run(base, "predict", "images.npz", *NETWORKS[2:], *SIGMAS, "--cascade", "--seed", "5", "--n", "2000")
    found = sorted(line.split()[:2] for line in done.out.splitlines())
    assert found == [[str(i), str(label)] for i, label in enumerate(LABELS)]


def test_report(copy):
    done = run(copy, "report", "c", "--radii", "0", "0.05", "0.2")
    assert "| c | 1 > 0.1 | cascade | 0.0 | 100.0 [" in done.out
    assert "sigma-0.1 (one scale of a cascade, 2 images) | gaussian 0.1 | cascade-1.0,0.1 | 0.0 | 100.0 | " in done.out
    page = (copy / "c" / "report" / "report.html").read_text()
    assert "1 &gt; 0.1" in page
    assert "a cascade is reported by itself" in run(copy, "report", "c", "c/sigma-1", code=2).err


def test_what_was_certified_is_verified(base):
    done = run(base, "verify", "c", *NETWORKS, "--all")
    assert "4 certificates of 4 images follow from the votes of 2 scales" in done.out
    assert "c: verified; self-chosen key, not witnessed" in done.out
    assert run(base, "verify", "c", code=4).out.endswith("-c and --images)\n")
    assert "--again is for one run" in run(base, "verify", "c", *NETWORKS, "--again", code=2).err


def test_an_interrupted_cascade_goes_on(copy, base):
    shutil.rmtree(copy / "c" / "sigma-0.1")
    assert "sigma-0.1 is missing: continue with --resume" in run(copy, "report", "c", code=2).err
    line = ("certify", "images.npz", *NETWORKS[2:], *SIGMAS, "--cascade", "--seed", "5", "-o", "c")
    assert "--resume" in run(copy, *line, code=2).err
    run(copy, *line, "--resume")
    assert read_cascade(copy / "c").certificates() == read_cascade(base / "c").certificates()


def left_out(folder):
    """The image that strong noise leaves undecided is left out of the next scale."""
    shutil.rmtree(folder / "c" / "sigma-0.1")
    run(
        folder,
        "certify",
        "images.npz",
        *NETWORKS[2:],
        "--sigma",
        "0.1",
        "--max",
        "1",
        "--bound",
        "cohen",
        "-o",
        "c/sigma-0.1",
    )


def of_another_cascade(folder):
    """The weak scale was drawn for another cascade, whose strong scale was worse."""
    line = ("certify", "images.npz", *NETWORKS[2:], "--sigma", "2", "--sigma", "0.1", "--cascade", "--seed", "1")
    run(folder, *line, "-o", "other")
    shutil.rmtree(folder / "c" / "sigma-0.1")
    shutil.copytree(folder / "other" / "sigma-0.1", folder / "c" / "sigma-0.1")


def with_other_terms(folder):
    """The weak scale was drawn with another alpha."""
    line = (
        "certify",
        "images.npz",
        *NETWORKS[2:],
        *SIGMAS,
        "--cascade",
        "--alpha",
        "0.1",
        "--seed",
        "5",
        "-o",
        "other",
    )
    run(folder, *line)
    shutil.rmtree(folder / "c" / "sigma-0.1")
    shutil.copytree(folder / "other" / "sigma-0.1", folder / "c" / "sigma-0.1")


def of_other_images(folder):
    """The weak scale is of other images."""
    np.savez(folder / "others.npz", images=PIXELS[[1, 2]], labels=[1, 1])
    line = ("certify", "others.npz", *NETWORKS[2:], *SIGMAS, "--cascade", "--seed", "5", "-o", "other")
    run(folder, *line)
    shutil.rmtree(folder / "c" / "sigma-0.1")
    shutil.copytree(folder / "other" / "sigma-0.1", folder / "c" / "sigma-0.1")


@pytest.mark.parametrize("forge", [left_out, of_another_cascade, with_other_terms, of_other_images])
def test_runs_that_do_not_belong_together_do_not_hold(copy, forge):
    forge(copy)
    done = run(copy, "verify", "c", *NETWORKS, code=1)
    assert "c: does not hold" in done.out
    assert run(copy, "report", "c", code=2).out == ""


def test_a_forged_scale_does_not_hold(copy):
    lines = (copy / "c" / "sigma-1" / "records.jsonl").read_text().splitlines()
    record = json.loads(lines[0])
    record["selection"]["counts"] = [[2, 99]]
    (copy / "c" / "sigma-1" / "records.jsonl").write_text("\n".join([json.dumps(record), *lines[1:]]) + "\n")
    assert "does not hold" in run(copy, "verify", "c", *NETWORKS, code=1).out


def test_a_scale_that_fails_midway_is_a_failure_and_no_traceback(copy):
    """The votes of its second image are invented."""
    forger = Forger.at(copy / "c" / "sigma-0.1")
    labels = labels_of(forger, 1)
    first = forger.records[1].selection["trials"]
    later = [2] * (len(labels) - first)
    forger.votes([*labels[:first], *later], 1).change(1, estimation=votes_to_json(Votes({2: len(later)}, len(later))))
    forger.seal()
    done = run(copy, "verify", "c", *NETWORKS, "--all", code=1)
    assert "rounding explains at most" in done.out
    assert done.out.splitlines()[-1] == "c: does not hold"


@pytest.mark.parametrize("spared", [0, 1])
def test_what_is_added_to_alpha_is_said_of_all_scales(base, spared):
    cascade = read_cascade(base / "c")
    replays = [
        {
            r.name: Replay(1100 - spared, 0, False, certificate_of(r), votes_from_json(r.selection), True, doubtful=1)
            for r in scale.records
        }
        for scale in cascade.scales
    ]
    check = cascade_check(cascade, replays)
    assert check.outcome is Outcome.HOLDS
    assert "verified within l2" in check.detail
    assert check.detail.endswith("with 0.002 added to alpha") is bool(spared)
    assert check.less == "4 of 4 certificates of the cascade within a smaller radius"


def test_scales_that_are_exchanged_while_they_are_checked_are_noticed(copy, base, monkeypatch):
    """Read once for what they promise together, and once for their votes."""
    strong = copy / "c" / "sigma-1"
    forger = Forger.at(strong)
    place = next(i for i, record in enumerate(forger.records) if record.name == "1")
    votes = Votes({2: forger.records[place].question.n}, forger.records[place].question.n)
    forger.change(place, estimation=votes_to_json(votes)).seal()

    def exchanged(folder):
        found = read_cascade(folder)
        shutil.rmtree(strong)
        shutil.copytree(base / "c" / "sigma-1", strong)
        return found

    monkeypatch.setattr("dsmooth.records.cascade.read_cascade", exchanged)
    monkeypatch.chdir(copy)
    monkeypatch.setattr("sys.argv", ["dsmooth", "verify", "c", *NETWORKS, "--all"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2


def test_a_strong_scale_alone_suffices_where_it_decides_everything(copy):
    np.savez(copy / "far.npz", images=PIXELS[[1, 3]], labels=[2, 0])
    run(copy, "certify", "far.npz", *NETWORKS[2:], *SIGMAS, "--cascade", "--seed", "5", "-o", "far")
    assert [path.name for path in (copy / "far").iterdir()] == ["sigma-1"]
    assert "100.0" in run(copy, "report", "far").out
    assert len(read_run(copy / "far" / "sigma-1").records) == 2


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--sigma", "1"), "a cascade needs 2 to 16 different sigmas"),
        ((*SIGMAS, "--mode", "curve", "--radii", "0.1"), "each sigma, got mode curve"),
        ((*SIGMAS, "--bound", "cohen"), "leave out --bound cohen"),
        ((*SIGMAS, "--brightness", "0.1"), "is for Gaussian noise"),
        ((*SIGMAS, "--plan"), "are for single runs"),
        ((*SIGMAS, "--certificates", "files"), "are for single runs"),
        ((*SIGMAS, "--witness"), "--witness is for a single run"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_written(base, options, says):
    before = sorted(base.rglob("*"))
    done = run(base, "certify", "images.npz", *NETWORKS[2:], *options, "--cascade", "-o", "new", code=2)
    assert says in done.err
    assert sorted(base.rglob("*")) == before
