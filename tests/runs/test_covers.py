"""Runs against families of transformations: certify, records, certificate files, verify, attack, report, and forgeries."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from dsmooth import SmoothedClassifier, TorchClassifier, open_images
from dsmooth.audit.attack import Attack, attack_run
from dsmooth.audit.findings import curve_of
from dsmooth.audit.pgd import Ascent
from dsmooth.errors import BadParameter, BadRun, Disproved
from dsmooth.records.certificate_file import CertificateFile, read_certificate, write_certificates
from dsmooth.records.digests import digest_image
from dsmooth.records.schema import Record, certificate_of, cover_to_json, cover_votes, radius_text, votes_to_json
from dsmooth.records.sidecar import SidecarWriter
from dsmooth.records.store import read_run
from dsmooth.records.table import csv_of
from dsmooth.report.dossier import dossier_of
from dsmooth.report.page import page_of
from dsmooth.report.summary import summarise
from dsmooth.runs.certify import certify_run
from dsmooth.runs.replay import replayed
from dsmooth.runs.verify import Outcome, evidence_of, read_evidence, verify_evidence
from dsmooth.smoothing.chunks import MasterKey
from dsmooth.theory.covers import CoverVotes
from dsmooth.theory.laws.gaussian import Gaussian
from dsmooth.theory.modes import Mode
from dsmooth.theory.threats.known import threat_from_text
from dsmooth.theory.threats.listed import Listed
from dsmooth.theory.votes import Phase
from support import Linear, dsmooth, refused

PIXELS = np.random.default_rng(0).integers(70, 240, (3, 8, 8, 3)).astype(np.uint8)
PIXELS[0] //= 2  # surely dark
MODES = {
    text: Mode("cover", (0.2, 0.4, 0.8), against=threat_from_text(text))
    for text in ("contrast 0.8 1.2", "gamma 0.8 1.25", "shift 1", "rotation 3", "blur 0.5", "jpeg 90")
}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    np.savez(folder / "images.npz", images=PIXELS, labels=[0, 1, 1])
    images, smoothed = open_images(folder / "images.npz"), SmoothedClassifier(Linear(), None, 0.3, batch=64)
    for text, mode in MODES.items():
        run = certify_run(
            smoothed, images, folder / text / "run", n0=30, n=400, alpha=0.01, mode=mode, thumbnails=False
        )
        write_certificates(run, folder / text / "certificates")
    smoothed.close()
    return folder


def checks(evidence, images=None, classifier=None):
    shown = None if images is None else open_images(images)
    found = {check.what: check for check in verify_evidence(evidence, shown)}
    if classifier is not None:
        found.update({check.what: check for check in replayed(evidence, shown, TorchClassifier(classifier), None, 0.1)})
    return found


def outcomes(found, outcome):
    return {what for what, check in found.items() if check.outcome is outcome}


@pytest.mark.parametrize("text", MODES)
def test_what_was_certified_is_verified(base, text):
    run = read_run(base / text / "run")
    assert any(record.answer is not None for record in run.records), [record.cover for record in run.records]
    for record in run.records:
        assert record.cover["by"] == MODES[text].against.by
        assert record.estimation["trials"] == cover_votes(record).pooled.trials
        assert record.answer is None or record.cover["centres"][0]["image"] == digest_image(PIXELS[record.index])
    for path in (base / text / "run", base / text / "certificates" / "000000.json"):
        found = checks(read_evidence(path), base / "images.npz", Linear())
        assert outcomes(found, Outcome.FAILS) == outcomes(found, Outcome.OPEN) == set(), found
        assert "recomputed" in found["cover"].detail
        alone = checks(read_evidence(path))
        assert outcomes(alone, Outcome.FAILS) == set()
        assert {"cover", "images"} <= outcomes(alone, Outcome.OPEN)


def test_a_certificate_says_what_is_covered_in_words_and_numbers_and_by_what(base):
    path = base / "rotation 3" / "certificates" / "000000.json"
    claim = json.loads(path.read_text())["claim"]
    told = r"rotation by up to 3 degrees either way \(\d+ centres\); rotation 1: bilinear, rounded .*, black outside"
    assert re.fullmatch(told, claim["against"])
    value = json.loads(path.read_text())
    value["claim"]["against"] = claim["against"].replace("3 degrees", "30 degrees")
    path.with_name("more.json").write_text(json.dumps(value))
    with pytest.raises(Disproved, match="the claim does not follow"):
        read_certificate(path.with_name("more.json"))


# --- forgeries whose every digest was made to fit ---------------------------------------------------------------------


class Forger:
    """The certificate of the first image under a key of the forger's, with votes and centres of his choice."""

    def __init__(self, base, text="contrast 0.8 1.2"):
        run = read_run(base / text / "run")
        self.run, self.record = run, next(record for record in run.records if record.index == 0)
        self.votes = cover_votes(self.record)
        self.labels = [0] * self.record.selection["trials"]

    def sealed(self, folder, *, rho=None, centres=None):
        """As many unanimous votes at each of these centres as the rule asks for, everything else made to fit."""
        digests = [centre["image"] for centre in self.record.cover["centres"]] if centres is None else centres
        rho = self.votes.rho if rho is None else rho
        part = self.votes.parts[0]
        votes = CoverVotes(rho, len(digests), (part,) * len(digests))
        folder.mkdir()
        (folder / "votes").mkdir()
        writer = SidecarWriter(folder / "votes" / "000000.votes")
        writer.add([*self.labels, *[0] * votes.pooled.trials])
        told = cover_to_json(votes, digests, self.record.cover["by"])
        record = replace(
            self.record, cover=told, estimation=votes_to_json(votes.pooled), votes=writer.close(), drawn=10**6
        )
        certificate = certificate_of(record)
        record = replace(record, answer=certificate.answer, radius=radius_text(certificate.radius)).sealed(
            record.previous
        )
        packed = (folder / "votes" / "000000.votes").read_bytes()
        text = CertificateFile(Record.parse(record.line()), packed, self.run.key, None).text()
        (folder / "one.json").write_text(text)
        return evidence_of(read_certificate(folder / "one.json"))


def test_what_the_forger_does_with_the_true_centres_is_consistent(base, tmp_path):
    """Otherwise the next tests would show nothing."""
    forger = Forger(base)
    assert forger.record.selection["counts"] == [[0, 30]]
    assert all(part.last.counts == {0: part.last.trials} for part in forger.votes.parts[:1])
    found = checks(forger.sealed(tmp_path / "forged"), base / "images.npz")
    assert outcomes(found, Outcome.FAILS) == set(), found


@pytest.mark.parametrize("forgery", ["moved", "left out", "another order", "one more"])
def test_other_centres_are_noticed(base, tmp_path, forgery):
    forger = Forger(base)
    centres = [centre["image"] for centre in forger.record.cover["centres"]]
    assert len(centres) >= 3
    if forgery == "moved":
        moved = PIXELS[0].copy()
        moved[0, 0, 0] += 1
        centres[1] = digest_image(moved)
    elif forgery == "left out":
        del centres[-1]
    elif forgery == "another order":
        centres[1], centres[2] = centres[2], centres[1]
    else:
        centres.append("0" * 64)
    found = checks(forger.sealed(tmp_path / "forged", centres=centres), base / "images.npz")
    assert "claims" in outcomes(found, Outcome.FAILS), found


def test_another_radius_is_noticed(base, tmp_path):
    forger = Forger(base)
    others = [rho for rho in MODES["contrast 0.8 1.2"].radii if rho != forger.votes.rho]
    for rho in others:
        found = checks(forger.sealed(tmp_path / f"{rho}", rho=rho), base / "images.npz")
        assert "claims" in outcomes(found, Outcome.FAILS), found
    with pytest.raises(BadRun, match="one of the radii in the settings"):
        forger.sealed(tmp_path / "none", rho=0.3)


def test_votes_that_were_invented_at_the_centres_are_not_verified(base, tmp_path):
    """Unanimous votes for a label that the networks do not give."""
    forger = Forger(base)
    found = checks(forger.sealed(tmp_path / "forged"), base / "images.npz", Linear())
    assert outcomes(found, Outcome.FAILS) == set()

    class Other(Linear):
        def forward(self, x):
            return -super().forward(x)

    found = checks(forger.sealed(tmp_path / "again"), base / "images.npz", Other())
    assert "replay" in outcomes(found, Outcome.FAILS), found
    assert "votes differ from those of the networks" in found["replay"].detail


def test_what_was_made_elsewhere_is_not_verified(base, tmp_path):
    forger = Forger(base, "jpeg 90")
    forger.record = replace(forger.record, cover={**forger.record.cover, "by": "Pillow 1.0, libjpeg 6: Image.save"})
    found = checks(forger.sealed(tmp_path / "forged"), base / "images.npz", Linear())
    assert outcomes(found, Outcome.FAILS) == set()
    assert {"cover", "replay"} <= outcomes(found, Outcome.OPEN)
    assert "made by Pillow 1.0, libjpeg 6" in found["cover"].detail


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda cover: {**cover, "centres": [*cover["centres"][:1], *cover["centres"][:1]]}, "each centre once"),
        (lambda cover: {**cover, "centres": [{**cover["centres"][0], "image": "no"}]}, "64 hexadecimal digits"),
        (lambda cover: {**cover, "centres": [{"image": "0" * 64}]}, "image, estimation and reached"),
        (lambda cover: {**cover, "more": 1}, "expected a cover"),
        (lambda cover: {**cover, "centres": []}, "votes at the centres of a cover"),
        (lambda cover: None, "a cover that fits mode cover"),
    ],
)
def test_records_of_other_covers_are_refused(base, change, error):
    record = read_run(base / "contrast 0.8 1.2" / "run").records[0]
    changed = replace(record, cover=change(record.cover)).sealed(record.previous)
    with pytest.raises(BadRun, match=error):
        Record.parse(changed.line())


# --- attack, report, the command line ----------------------------------------------------------------------------------


def test_true_certificates_survive_the_search_and_false_ones_do_not(base):
    """A certificate that was invented for a label which the family loses is found false at the parameter that loses it."""
    images = open_images(base / "images.npz")
    smoothed = SmoothedClassifier(Linear(), None, 0.3, batch=64)
    quick = Attack(ascent=Ascent(6, 4), n=60, strengths=(0.1,))
    for text in ("contrast 0.8 1.2", "shift 1"):
        found = attack_run(read_run(base / text / "run"), images, smoothed, quick)
        searched = [finding for finding in found.all if not finding.in_ball]
        assert {finding.norm for finding in searched} == {MODES[text].against.name}
        assert all(finding.inside for finding in searched)
        assert not found.flips
        assert curve_of(found) is not None
        run = read_run(base / text / "run")
        page, dossier = (re.sub(r"\s+", " ", made(summarise([run]))) for made in (page_of, dossier_of))
        assert f"by any image of this family: {MODES[text].against.words}; {MODES[text].against.by}. Images" in dossier
        assert MODES[text].against.words in "".join(csv_of([run]))
        assert f"{MODES[text].against.words} (cover bound)" in page
        assert f"a certificate covers ({MODES[text].against.name} or l<sub>2</sub> or l<sub>∞</sub>)" in page
    smoothed.close()


def test_a_claim_that_the_family_breaks_is_found(tmp_path):
    """Half grey, and a gamma that darkens it far: certified by hand as bright at all of the family."""
    np.savez(tmp_path / "images.npz", images=np.full((1, 8, 8, 3), 150, np.uint8), labels=[1])
    images, smoothed = open_images(tmp_path / "images.npz"), SmoothedClassifier(Linear(), None, 0.3, batch=64)
    mode = Mode("cover", (0.2,), against=threat_from_text("gamma 0.5 2.5"))
    run = certify_run(smoothed, images, tmp_path / "run", n0=30, n=400, alpha=0.01, mode=mode, seed=0)
    assert run.records[0].answer is None
    part = cover_votes(run.records[0]).parts[0]
    digests = [centre["image"] for centre in run.records[0].cover["centres"]]
    votes = CoverVotes(0.2, len(digests), (part,) * len(digests))
    forged = replace(
        run.records[0], cover=cover_to_json(votes, digests, "gamma 1: of levels in [0, 1], rounded half up"), answer=1,
        estimation=votes_to_json(votes.pooled),
    )  # fmt: skip
    found = attack_run(
        replace(run, records=[forged]), images, smoothed, Attack(ascent=Ascent(6, 4), n=60, strengths=(0.1,))
    )
    (flip,) = [finding for finding in found.flips if finding.norm == "gamma"]
    assert flip.where == "gamma 2.5"
    assert flip.claimed == "against gamma"
    smoothed.close()


def test_the_command(base, tmp_path):
    (tmp_path / "bright.py").write_text("from support import Linear\ndef model():\n    return Linear()\n")
    line = [
        "certify", base / "images.npz", "-c", "import:bright:model", "-d", "none", "--sigma", 0.3, "--n0", 30, "--n", 400,
        "--alpha", 0.01, "--dtype", "fp32", "--backend", "eager", "--against", "contrast 0.9 1.1", "--rho", 0.2, 0.4,
    ]  # fmt: skip
    done = dsmooth(*line, "--out", tmp_path / "run", cwd=tmp_path)
    assert done.code == 0, done.err
    assert re.search(r"contrast 0\.9 to 1\.1 \(\d+ centres\)", done.out)
    assert "cover bound, alpha 0.01" in done.out
    assert read_run(tmp_path / "run").question.mode.radii == (0.2, 0.4)
    networks = ["--images", base / "images.npz", "-c", "import:bright:model", "-d", "none"]
    checked = dsmooth("verify", tmp_path / "run", *networks, cwd=tmp_path)
    assert checked.code == 0, checked.out + checked.err
    again = dsmooth("verify", tmp_path / "run", *networks, "--again", cwd=tmp_path)
    assert again.code in (0, 4), again.out + again.err
    assert "these networks do not give" not in again.out
    attacked = dsmooth("attack", tmp_path / "run", *networks, "--steps", 4, "--draws", 2, "--n", 40, cwd=tmp_path)
    assert attacked.code == 0, attacked.out + attacked.err
    assert "contrast " in attacked.out
    for wrong, says in (
        (["--against", "snow 3"], "what a certificate is against must be one of contrast, gamma"),
        (["--against", "rotation 90"], "from 0.02 to 45, got 90"),
        (["--rho", 0.0], "radii above 0"),
        (["--mode", "fixed", "--radii", 0.1], "leave out --radii, --radius, --lambda and --rivals"),
        (["--mode", "decision", "--radius", 0.1], "leave out --mode, got decision"),
        (["--noise", "uniform", "--levels", 127], "under Gaussian noise, got noise uniform"),
        (["--norm", "inf"], "leave out --norm"),
    ):
        kept = [part for part in line if part not in ("--sigma", 0.3)] if "--noise" in wrong else list(line)
        if wrong[0] in kept:
            place = kept.index(wrong[0])
            kept[place : place + (3 if wrong[0] == "--rho" else 2)] = []
        refused(tmp_path / "run", *kept, *wrong, "--out", tmp_path / "wrong", says=says)


def test_what_a_run_cannot_be_against_is_refused_before_anything_is_written(base, tmp_path):
    images, smoothed = open_images(base / "images.npz"), SmoothedClassifier(Linear(), None, 0.3)
    mine = type("Mine", (Listed,), {"name": "mine"})("mine")
    for threat, says in (
        (mine, "certify single images against your own"),
        (threat_from_text("blur 3"), "pixels a side"),
    ):
        with pytest.raises(BadParameter, match=says):
            certify_run(smoothed, images, tmp_path / "run", mode=Mode("cover", against=threat))
        assert not (tmp_path / "run").exists()


def test_a_run_goes_on_after_an_interruption(base, tmp_path):
    """With the noise that the images would have had, centre by centre."""
    images = open_images(base / "images.npz")
    arguments = {"n0": 30, "n": 400, "alpha": 0.01, "mode": MODES["gamma 0.8 1.25"], "thumbnails": False}

    class Stop(Exception):
        pass

    def stop(progress):
        if progress.finished is not None:
            raise Stop

    whole = certify_run(SmoothedClassifier(Linear(), None, 0.3, batch=64), images, tmp_path / "a", seed=5, **arguments)
    with pytest.raises(Stop):
        certify_run(
            SmoothedClassifier(Linear(), None, 0.3, batch=64),
            images,
            tmp_path / "b",
            seed=5,
            on_progress=stop,
            **arguments,
        )
    told = []
    resumed = certify_run(
        SmoothedClassifier(Linear(), None, 0.3, batch=64), images, tmp_path / "b", resume=True, on_progress=told.append,
        **arguments,
    )  # fmt: skip
    covers = [{record.name: record.cover for record in run.records} for run in (whole, resumed)]
    assert covers[0] == covers[1]
    assert told[-1].samples == told[-1].samples_in_all
    assert MasterKey.draw(5).commitment == resumed.header["key_commitment"]
    assert resumed.records[0].key[Phase.ESTIMATION.value] == whole.records[0].key[Phase.ESTIMATION.value]


@pytest.mark.parametrize("bound", ["cohen-randomised", "top-2-of-9"])
def test_a_cover_brings_its_own_bound(bound):
    """What may be wrong with votes at a centre is charged for the plain rule that looks, and for no other."""
    with pytest.raises(BadParameter, match="mode cover has its own bound"):
        next(iter(MODES.values())).plan(bound, Gaussian(0.25), n=100, alpha=0.001)
