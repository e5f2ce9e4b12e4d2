"""A changed classifier, from an earlier run and pairs of votes to what is verified of it."""

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from dsmooth import SmoothedClassifier, TorchClassifier, open_images, read_run
from dsmooth.classifiers.base import MIRRORED
from dsmooth.classifiers.paired import PairedClassifier
from dsmooth.classifiers.remote import RemoteClassifier
from dsmooth.errors import BadModel
from dsmooth.records.changed import read_changed
from dsmooth.records.schema import certificate_of, votes_from_json, votes_to_json
from dsmooth.runs.certify import certify_run
from dsmooth.runs.changed import certify_changed_run, changed_check
from dsmooth.runs.replay import Replay
from dsmooth.runs.verify import Outcome
from dsmooth.smoothing.chunks import Chunk
from dsmooth.smoothing.sources.known import source_of
from dsmooth.theory.changed import paired_label
from dsmooth.theory.votes import Phase, Votes
from forging import Forger, labels_of
from support import Constant, Linear, refused, run

SIGMA = 0.1
PIXELS = np.full((5, 1, 3, 1), 255, np.uint8)
PIXELS[:, 0, 0, 0] = [127, 104, 60, 200, 100]
LABELS = [1, 1, 0, 1, 1]
LEVEL, MOVED = 100, 102
"""Where the former classifier begins to answer 1, and where the changed one does."""


class Former(nn.Module):
    """Class 1 where the first coordinate is above its level by half a step, else 0."""

    level = LEVEL

    def forward(self, x):
        margin = x[:, 0, 0, 0].float() * 255 - (self.level + 0.5)
        return torch.stack([-margin, margin], dim=1)


class Moved(Former):
    """The same, a little further up: of half of its new border's answers it is surer, of the other half less."""

    level = MOVED


MODELS = ("-c", "import:runs.test_changed:Former", "-d", "none")
BOTH = ("--images", "images.npz", *MODELS, "--changed", "import:runs.test_changed:Moved")
CERTIFY = ("certify", "images.npz", *MODELS, "--sigma", SIGMA, "--n", "600", "--dtype", "fp32", "--backend", "eager")
RECERTIFY = ("recertify", "run", *BOTH, "--pairs", "300")


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("changed")
    np.savez(folder / "images.npz", images=PIXELS, labels=LABELS)
    run(folder, *CERTIFY, "--seed", "1", "-o", "run")
    done = run(folder, *RECERTIFY, "--seed", "2", "-o", "new")
    (folder / "said.txt").write_text(done.out)
    return folder


@pytest.fixture
def copy(base, tmp_path):
    shutil.copytree(base, tmp_path / "copy")
    return tmp_path / "copy"


def test_what_is_promised_of_the_changed_classifier_is_true(base):
    changed = read_changed(base / "new")
    found = dict(zip([record.name for record in changed.records], changed.certificates(), strict=True))
    assert {name: certificate.answer for name, certificate in found.items()} == {
        "0": 1, "1": None, "2": 0, "3": 1, "4": None,
    }  # fmt: skip
    for name, certificate in found.items():
        if not certificate.abstained:
            border = abs(int(PIXELS[int(name), 0, 0, 0]) - MOVED - 0.5) / 255
            assert 0.4 * border < certificate.radius <= border
    assert [record.name for record in changed.pairs.records] == ["0", "2", "3"]  # of the others no 300 pairs say enough
    said = (base / "said.txt").read_text()
    former = sum(record.answer is not None for record in changed.records)
    assert f"3 of 5 images certified for {BOTH[7]}, {former} for {BOTH[3]} (gaussian 0.1, " in said
    assert "alpha 0.001: half of it for 600 former votes, half for 300 pairs" in said
    assert "asked: 903 samples of fresh noise, each of both classifiers; 2 images could not be certified" in said
    assert read_run(base / "new" / "before").records == read_run(base / "run").records


def test_report(copy):
    done = run(copy, "report", "new", "--radii", "0", "0.05")
    name = "new (a changed classifier: the votes of before, and 300 pairs an image)"
    assert f"| {name} | gaussian 0.1 | changed | 40.0 | 60.0 | " in done.out
    assert "[" not in done.out.splitlines()[-2]  # nothing is said of the population
    page = (copy / "new" / "report" / "report.html").read_text()
    assert "is for the changed classifier" in page
    assert "reported beside its former one" in run(copy, "report", "new", "run", code=2).err
    done = run(copy, "report", "new/pairs", "--radii", "0")
    assert "pairs (pairs of votes, which alone promise nothing) | gaussian 0.1 | paired-" in done.out
    assert "is for the changed classifier" not in (copy / "new/pairs/report/report.html").read_text()


def test_what_was_certified_is_verified(base):
    done = run(base, "verify", "new", *BOTH, "--all")
    assert "903 of 903 votes are the same, which is all votes" in done.out
    assert "3 certificates of 5 images follow from the former votes and 300 pairs an image" in done.out
    assert done.out.endswith("new: verified; self-chosen key, not witnessed\n")
    assert run(base, "verify", "new", code=4).out.endswith("(give --images; -c, --changed and --images)\n")
    assert "give the former as -c" in run(base, "verify", "new", *BOTH[:6], code=2).err
    assert "certify the changed classifier anew" in run(base, "verify", "new", *BOTH, "--again", code=2).err
    assert "run is none of it" in run(base, "verify", "run", *BOTH, code=2).err
    swapped = ("--images", "images.npz", "-c", BOTH[7], "-d", "none", "--changed", BOTH[3])
    done = run(base, "verify", "new", *swapped, code=1)
    assert "were certified with a different one" in done.out


def with_pairs_of(folder, *changes):
    """The pairs that lie in new/ are those of another run, which was made with these options."""
    run(folder, *CERTIFY, *changes, "--seed", "7", "-o", "other")
    run(folder, "recertify", "other", *BOTH, "--pairs", "300", "-o", "strange")
    shutil.rmtree(folder / "new" / "pairs")
    shutil.copytree(folder / "strange" / "pairs", folder / "new" / "pairs")


def beside_another_run(folder):
    """The earlier run is a luckier one."""
    with_pairs_of(folder)


def at_another_alpha(folder):
    """The pairs were drawn to spend more of alpha: sealed again under the earlier run's name, they still say so."""
    forger = Forger.at(folder / "new" / "pairs")
    asked = json.loads((forger.folder / "run.json").read_text())["question"]
    question = type(forger.records[0].asked).from_json({**asked, "alpha": 0.1})
    for i in range(3):
        forger.change(i, asked=question)
    forger.seal({"question": question.to_json()})


def without_an_image(folder):
    """The image whose pairs disagreed the most was left out."""
    forger = Forger.at(folder / "new" / "pairs")
    forger.records = [replace(record, index=i) for i, record in enumerate(forger.records[1:])]
    forger.seal({"images": 2})


def with_other_former_votes(folder):
    """The former votes are unanimous now, and everything is sealed again."""
    forger = Forger.at(folder / "new" / "before")
    votes = votes_to_json(Votes({1: 600}, 600))
    labels = labels_of(forger, 0)
    forger.votes([*labels[:100], *[1] * 600], 0).change(0, estimation=votes).seal()


@pytest.mark.parametrize("forge", [beside_another_run, at_another_alpha, without_an_image, with_other_former_votes])
def test_runs_that_do_not_belong_together_do_not_hold(copy, forge):
    forge(copy)
    done = run(copy, "verify", "new", *BOTH, "--all", code=1)
    assert done.out.endswith("new: does not hold\n")
    run(copy, "report", "new", code=2)


def invented(folder, those):
    """Of image 0: all pairs that are among those are said to be two times the certified answer."""
    forger = Forger.at(folder / "new" / "pairs")
    place = next(i for i, record in enumerate(forger.records) if record.name == "0")
    agreed, labels = paired_label(1, 1), labels_of(forger, place)
    labels = [agreed if label in those else label for label in labels]
    told = {"selection": labels[:1], "estimation": labels[1:]}
    counts = {name: Votes({label: part.count(label) for label in set(part)}, len(part)) for name, part in told.items()}
    forger.votes(labels, place)
    forger.change(place, **{name: votes_to_json(votes) for name, votes in counts.items()}).seal()


def test_pairs_that_were_invented_are_charged(copy, base):
    """The few in which the changed classifier lost the answer: no more than rounding could make."""
    invented(copy, {paired_label(1, 0)})
    claimed, honest = (read_changed(folder / "new").certificates()[0].radius for folder in (copy, base))
    assert claimed > 1.1 * honest
    done = run(copy, "verify", "new", *BOTH, "--all")
    found = re.search(r"0: verified within l2 (\S+) \(claimed (\S+)\)", done.out)
    assert 0.9 * honest < float(found[1]) <= honest < float(found[2])
    assert "new: verified, 1 of 3 claims within a smaller radius" in done.out


def test_pairs_that_were_invented_altogether_do_not_hold(copy):
    invented(copy, {paired_label(1, 0), paired_label(0, 0)})
    done = run(copy, "verify", "new", *BOTH, "--all", code=1)
    assert "explains at most" in done.out
    assert done.out.endswith("new: does not hold\n")


def test_what_may_be_wrong_is_charged_to_both(base):
    changed = read_changed(base / "new")

    def replays(records, less):
        return {
            r.name: Replay(
                r.selection["trials"] + r.estimation["trials"] - less, 0, False, certificate_of(r),
                votes_from_json(r.selection), True, doubtful=3,
            )
            for r in records
        }  # fmt: skip

    for less in (0, 1):
        drawn = replays(changed.before.records, less), replays(changed.pairs.records, less)
        check = changed_check(changed, *drawn)
        assert check.outcome is Outcome.HOLDS
        assert "verified within l2" in check.detail
        assert check.detail.endswith("with 0.002 added to alpha") is bool(less)
        assert check.less == "3 of 3 claims within a smaller radius"
    halves = [changed.certificates({"0": doubtful})[0].radius for doubtful in ((0, 0), (3, 0), (0, 3), (3, 3))]
    assert halves[0] > max(halves[1:3])
    assert min(halves[1:3]) > halves[3]
    before = {**drawn[0], "0": drawn[0]["0"].__class__(700, 0, False, None, Votes({0: 100}, 100), False, 0)}
    check = changed_check(changed, before, drawn[1])
    assert check.outcome is Outcome.OPEN
    assert "1 of them fail if the votes that may be wrong" in check.detail


def test_it_goes_on_where_it_stopped(copy, base):
    shutil.rmtree(copy / "new" / "before")
    assert "go on with --resume" in run(copy, "report", "new", code=2).err
    assert "pass --resume to continue them" in run(copy, *RECERTIFY, "--seed", "2", "-o", "new", code=2).err
    (copy / "new" / "pairs" / "end.json").unlink()
    path = copy / "new" / "pairs" / "records.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:1]))
    secret = json.loads((base / "new" / "pairs" / "end.json").read_text())["key"]
    (copy / "new" / "pairs" / "key.secret").write_text(f"{secret}\n")
    assert "unfinished, 1 of 3" in run(copy, "verify", "new", code=2).err
    run(copy, *RECERTIFY, "--seed", "2", "-o", "new", "--resume")
    assert read_changed(copy / "new").certificates() == read_changed(base / "new").certificates()
    shutil.rmtree(copy / "run")
    run(base, *CERTIFY, "--seed", "8", "-o", copy / "run")
    done = run(copy, *RECERTIFY, "-o", "new", "--resume", code=2)
    assert "was made with bound paired-" in done.err


KNOWN: set[bytes] = set()


class Memory(Former):
    """Answers as the former one wherever it saw the noisy image before, and otherwise everywhere else."""

    def forward(self, x):
        seen = torch.tensor([row.contiguous().numpy().tobytes() in KNOWN for row in x.float()])
        return torch.where(seen[:, None], super().forward(x), -super().forward(x))


def test_a_classifier_that_knows_the_old_noise_is_found_out(tmp_path):
    """The key of the old run is public: on its noise such a classifier never differs, and nothing of it may be certified."""
    np.savez(tmp_path / "images.npz", images=PIXELS[:1], labels=[1])
    images = open_images(tmp_path / "images.npz")
    former = SmoothedClassifier(TorchClassifier(Former()), None, SIGMA, dtype="fp32", backend="eager", workers=1)
    held = certify_run(former, images, tmp_path / "run", n=400)
    (record,) = held.records
    stream = bytes.fromhex(record.key["estimation"])
    noisy = source_of(held.question.law).noisy([(PIXELS[0], Chunk(Phase.ESTIMATION, stream, 0, 400))], 400)
    KNOWN.clear()
    KNOWN.update(row.contiguous().numpy().tobytes() for row in noisy.images(torch.device("cpu")))
    memory = SmoothedClassifier(TorchClassifier(Memory()), None, SIGMA, dtype="fp32", backend="eager", workers=1)
    streams, old = {Phase.ESTIMATION: stream}, [(Phase.ESTIMATION, i) for i in range(400)]
    assert list(memory.replay(images[0], streams, old)) == list(former.replay(images[0], streams, old))
    beside = certify_changed_run(
        tmp_path / "run",
        images,
        TorchClassifier(Former()),
        TorchClassifier(Memory()),
        None,
        tmp_path / "new",
        pairs=200,
    )
    assert record.answer == 1
    assert beside.certificates()[0].abstained


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("recertify", "run", *BOTH), "give --images, the former one as -c, and --out"),
        (("recertify", "run", *BOTH[:6], "-o", "no"), "--images belongs to --changed"),
        (("recertify", "run", "--pairs", "9", "-o", "no"), "--pairs belongs to --changed"),
        (("recertify", "run", *BOTH, "--alpha", "0.1", "-o", "no"), "--alpha is for the log of a service"),
        (("recertify", "run", *BOTH, "--pairs", "0", "-o", "no"), "pairs must be"),
        (("recertify", "run", *BOTH, "--pairs", "5", "-o", "no"), "5 pairs could certify none of its images"),
        (("recertify", "run", *BOTH, "-o", "run/new"), "is within the run"),
        (("recertify", "run", *BOTH, "-o", "images.npz"), "is a file"),
        (("recertify", "run", *BOTH, "-o", "run"), "is within the run"),
        (("recertify", "run", *BOTH, "-o", "new"), "pass --resume"),
        (("recertify", "nothing", *BOTH, "-o", "no"), "expected a run folder"),
        (("recertify", "curve", *BOTH, "-o", "no"), "expected a run of mode fixed under the bound cohen or multiclass"),
        (("recertify", "exact", *BOTH, "-o", "no"), "noise splitting leaves nothing to chance"),
        (
            ("recertify", "run", *BOTH, "--skip", "2", "-o", "no"),
            "is not among the images",
        ),
        (("recertify", "run", "--images", "others.npz", *BOTH[2:], "-o", "no"), "has other pixels"),
        (
            ("recertify", "run", *BOTH[:2], "-c", BOTH[7], *BOTH[4:], "-o", "no"),
            "was certified with another classifier",
        ),
        (
            ("recertify", "run", *BOTH[:4], *BOTH[6:], "-d", "tv", "-o", "no"),
            "certified with another denoiser",
        ),
        (("recertify", "run", *BOTH[:7], "aws:rekognition", "-o", "no"), "is a service"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_written(base, monkeypatch, arguments, says):
    if not (base / "curve").exists():
        run(base, *CERTIFY, "--mode", "curve", "--radii", "0.01", "-o", "curve")
        run(base, *CERTIFY[:6], "--noise", "splitting", "--levels", "5", "-o", "exact")
        np.savez(base / "others.npz", images=PIXELS[::-1].copy(), labels=LABELS)
    monkeypatch.chdir(base)
    refused(base, *arguments, says=says)


def test_pairs_of_classifiers():
    first, second = TorchClassifier(Linear(), class_names=["a", "b"]), TorchClassifier(Constant(1, 2))
    both = PairedClassifier(first, second)
    assert both.class_names == ["a", "b"]
    assert both.classes is None
    assert both.digest() != PairedClassifier(second, first).digest() != PairedClassifier(second, second).digest()
    mirrored = both.mirrored()
    assert mirrored.traits.preparation == MIRRORED
    assert mirrored.digest() != both.digest()
    assert PairedClassifier(first.mirrored(), second).traits.preparation == f"{MIRRORED}; beside it: as it is"
    with pytest.raises(BadModel, match="classes of other names"):
        PairedClassifier(first, TorchClassifier(Linear(), class_names=["b", "a"]))
    with pytest.raises(BadModel, match="is a service"):
        PairedClassifier(first, RemoteClassifier("aws:rekognition", dry=True))


class Writer(Linear):
    """Writes into what it is shown."""

    def forward(self, x):
        logits = super().forward(x)
        x.zero_()
        return logits


def test_one_of_a_pair_does_not_see_what_the_other_writes():
    image = np.full((3, 3, 1), 200, np.uint8)
    pair = PairedClassifier(TorchClassifier(Writer()), TorchClassifier(Linear()))
    smoothed = SmoothedClassifier(pair, None, 0.01, dtype="fp32", backend="eager")
    assert smoothed.predict(image, n=50).votes.counts == {"[1,1]": 50}
