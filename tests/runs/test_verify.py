"""Verification: what holds is found to hold, and every way of cheating that was thought of is found out."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from dsmooth import SmoothedClassifier, TorchClassifier, open_images
from dsmooth.records.certificate_file import CertificateFile, write_certificates
from dsmooth.records.schema import certificate_of, radius_text, votes_to_json
from dsmooth.records.sidecar import SidecarWriter
from dsmooth.runs import replay
from dsmooth.runs.certify import certify_run
from dsmooth.runs.verify import Outcome, read_evidence, verify_evidence, verify_networks
from dsmooth.theory.votes import Votes
from support import Linear, Threshold, dsmooth

PIXELS = np.random.default_rng(0).integers(96, 170, (4, 3, 5, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    np.savez(folder / "images.npz", images=PIXELS, labels=[0, 1, 1, 0])
    np.savez(folder / "others.npz", images=PIXELS[::-1])
    run = certify_run(
        SmoothedClassifier(Linear(), None, 0.3, batch=16), open_images(folder / "images.npz"), folder / "run", n=80
    )
    write_certificates(run, folder / "certificates")
    return folder


def checks(path, images=None, classifier=None, share=1.0):
    evidence = read_evidence(path)
    shown = None if images is None else open_images(images)
    found = {check.what: check for check in verify_evidence(evidence, shown)}
    if classifier is not None:
        made = verify_networks(evidence, shown, TorchClassifier(classifier), None, share)
        found.update({check.what: check for check in made})
    return found


@pytest.mark.parametrize("what", ["run", "certificates/000002.json"])
def test_what_holds_is_found_to_hold(base, what):
    found = checks(base / what, base / "images.npz", Linear())
    assert {check.outcome for check in found.values()} == {Outcome.HOLDS}
    asked = 4 * 180 if what == "run" else 180
    assert found["replay"].detail == f"{asked} of {asked} votes are the same"
    open_ones = {name for name, check in checks(base / what).items() if check.outcome is Outcome.OPEN}
    assert open_ones == {"images"}


def test_other_images_and_networks_are_noticed(base):
    found = checks(base / "run", base / "others.npz", Threshold(3))
    assert found["images"].outcome is Outcome.FAILS
    assert found["classifier"].outcome is Outcome.FAILS
    assert found["denoiser"].outcome is Outcome.HOLDS
    assert found["replay"].outcome is Outcome.OPEN


class Forger:
    """A certificate whose every digest was made to fit its lie."""

    def __init__(self, base):
        self.evidence = read_evidence(base / "certificates" / "000001.json")
        self.record = self.evidence.records[0]
        self.packed = self.evidence.packed(self.record)

    def write(self, path, **changes):
        record = replace(self.record, **changes)
        certificate = certificate_of(record)
        record = replace(record, answer=certificate.label, radius=radius_text(certificate.radius))
        text = CertificateFile(record.sealed(record.previous), self.packed, self.evidence.key, None).text()
        path.write_text(text)
        return path


def test_counts_that_the_votes_do_not_have_are_noticed(base, tmp_path):
    better = votes_to_json(Votes({1: 80}, 80))
    path = Forger(base).write(tmp_path / "forged.json", estimation=better)
    assert checks(path)["votes"].outcome is Outcome.FAILS
    assert dsmooth("verify", path).code == 1


def test_invented_votes_are_noticed_when_they_are_asked_for_again(base, tmp_path, factory):
    forger = Forger(base)
    writer = SidecarWriter(tmp_path / "votes" / "000001.votes")
    writer.add([1] * 180)
    entry = writer.close()
    forger.packed = (tmp_path / entry["file"]).read_bytes()
    counts = {"selection": votes_to_json(Votes({1: 100}, 100)), "estimation": votes_to_json(Votes({1: 80}, 80))}
    path = forger.write(tmp_path / "forged.json", votes=entry, **counts)
    assert checks(path)["votes"].outcome is Outcome.HOLDS
    found = checks(path, base / "images.npz", Linear())
    assert found["replay"].outcome is Outcome.FAILS
    done = dsmooth("verify", path, "--images", base / "images.npz", "-c", factory, "--all")
    assert done.code == 1
    assert "does not hold" in done.out.splitlines()[-1]


def test_noise_that_does_not_follow_from_the_key_is_noticed(base, tmp_path):
    forger = Forger(base)
    chosen = {**forger.record.key, "estimation": "0" * 32}  # a stream that happens to certify
    assert checks(forger.write(tmp_path / "forged.json", key=chosen))["key"].outcome is Outcome.FAILS
    other = {**forger.record.key, "commitment": "0" * 64}
    assert checks(forger.write(tmp_path / "forged.json", key=other))["key"].outcome is Outcome.FAILS


def test_seeds_and_attempts_are_told(base, tmp_path):
    images = open_images(base / "images.npz")
    smoothed = SmoothedClassifier(Linear(), None, 0.3)
    for name, seed in (("one", None), ("two", None), ("seeded", 5), ("again", 5)):
        run = certify_run(smoothed, images, tmp_path / name, n=20, seed=seed)
        expected = {"one": 1, "two": 2, "seeded": 3, "again": 3}[name]  # the same key is the same attempt
        assert {record.attempt for record in run.records} == {expected}
    assert "attempt 2 at the same question" in checks(tmp_path / "two")["key"].detail
    assert "a user's seed" in checks(tmp_path / "seeded")["key"].detail
    other = certify_run(SmoothedClassifier(Linear(), None, 0.4), images, tmp_path / "other", n=20)
    assert other.header["attempt"] == 1


def test_where_votes_cannot_be_the_same_the_agreement_is_told(base, monkeypatch):
    class Nearly(Linear):
        def forward(self, x):
            return super().forward(x) + torch.tensor([0.0, 0.004])

    monkeypatch.setattr(replay, "_BEARING", ("torch",))
    run = base / "run"
    assert checks(run, base / "images.npz", Nearly())["replay"].outcome is Outcome.FAILS
    monkeypatch.setattr(replay, "versions", lambda: {"torch": "0.1"})
    found = checks(run, base / "images.npz", Nearly())["replay"]
    assert found.outcome is Outcome.OPEN
    assert "cannot be exact here: torch 0.1 in place of" in found.detail


def test_an_unfinished_run_has_an_open_end(base, tmp_path):
    folder = shutil.copytree(base / "run", tmp_path / "run")
    (folder / "end.json").unlink()
    lines = (folder / "records.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "records.jsonl").write_bytes(b"".join(lines[:2]))
    found = checks(folder)
    assert found["key"].outcome is Outcome.OPEN
    assert "its end is open" in found["chain"].detail


@pytest.fixture
def factory(tmp_path, monkeypatch):
    (tmp_path / "linear_for_test.py").write_text("from support import Linear\ndef model():\n    return Linear()\n")
    monkeypatch.chdir(tmp_path)
    return "import:linear_for_test:model"


def test_exit_codes(base, tmp_path, factory):
    one, images = base / "certificates" / "000001.json", base / "images.npz"
    assert dsmooth("verify", base / "run").code == 0
    done = dsmooth("verify", one, "--images", images, "-c", factory, "--all")
    assert done.code == 0, done.out + done.err
    assert "180 of 180 votes are the same" in done.out
    assert dsmooth("verify", one, "--images", base / "others.npz").code == 1
    value = json.loads(one.read_text())
    value["claim"]["radius"] = "9.000000000"
    (tmp_path / "lie.json").write_text(json.dumps(value))
    assert dsmooth("verify", tmp_path / "lie.json").code == 1
    (tmp_path / "half.json").write_text(one.read_text()[:200])
    assert dsmooth("verify", tmp_path / "half.json").code == 2
    assert dsmooth("verify", tmp_path / "nothing").code == 2
    assert dsmooth("verify", base / "run", "--share", "0").code == 2
    assert dsmooth("verify", one, "--images", images, "-c", "import:support:NoSuch").code == 2


def test_certificates_by_command(base, tmp_path, factory):
    arguments = [
        "certify",
        base / "images.npz",
        "-c",
        factory,
        "-d",
        "none",
        "--n",
        "20",
        "--certificates",
        tmp_path / "c",
    ]
    done = dsmooth(*arguments, "-o", tmp_path / "run")
    assert done.code == 0, done.err
    assert f"certificates: 4 files in {tmp_path / 'c'}" in done.out
    assert dsmooth("verify", tmp_path / "c" / "000003.json").code == 0
    again = dsmooth(*arguments, "-o", tmp_path / "run2")
    assert again.code == 2
    assert "new or empty folder for --certificates" in again.err
    assert not (tmp_path / "run2").exists()


def test_images_that_were_cut_are_cut_again(tmp_path, factory):
    from PIL import Image

    (tmp_path / "photos").mkdir()
    for i in range(2):
        pixels = np.random.default_rng(i).integers(0, 256, (20 + i, 30, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{i}.png")
    arguments = ["certify", tmp_path / "photos", "-c", factory, "-d", "none", "--n", "20", "--size", "8"]
    assert dsmooth(*arguments, "-o", tmp_path / "run", "--certificates", tmp_path / "c").code == 0
    done = dsmooth("verify", tmp_path / "run", "--images", tmp_path / "photos")
    assert done.code == 0, done.out
    one = dsmooth("verify", tmp_path / "c" / "000001.json", "--images", tmp_path / "photos" / "1.png")
    assert one.code == 0, one.out
    assert dsmooth("verify", tmp_path / "c" / "000001.json", "--images", tmp_path / "photos" / "0.png").code == 1


class Dice(nn.Module):
    def forward(self, x):
        return torch.rand(len(x), 2)


def test_dice_cannot_be_checked(tmp_path):
    np.savez(tmp_path / "images.npz", images=PIXELS)
    images = open_images(tmp_path / "images.npz")
    certify_run(SmoothedClassifier(Dice(), None, 0.3), images, tmp_path / "run", n=40)
    found = checks(tmp_path / "run", tmp_path / "images.npz", Dice())["replay"]
    assert found.outcome is Outcome.OPEN
    assert "randomness of its own" in found.detail
