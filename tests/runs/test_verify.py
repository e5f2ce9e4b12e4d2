"""Verification: what was certified is verified, and every way of cheating that was thought of is found out or open."""

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from dsmooth import Mode, SmoothedClassifier, TorchClassifier, open_images
from dsmooth.errors import BadParameter, BadRun, Disproved
from dsmooth.records.certificate_file import read_certificate, write_certificates
from dsmooth.records.digests import canonical_json, digest_json
from dsmooth.records.question import Question
from dsmooth.records.schema import Record, certificate_of, votes_to_json
from dsmooth.records.store import read_run
from dsmooth.runs.again import certified_anew
from dsmooth.runs.certify import certify_run
from dsmooth.runs.replay import replayed
from dsmooth.runs.verify import Outcome, data_digest, read_evidence, verify_evidence
from dsmooth.smoothing.chunks import MasterKey
from dsmooth.theory.bounds import round_down, weight_of
from dsmooth.theory.certifiers import Cohen, Multiclass
from dsmooth.theory.laws.gaussian import Gaussian
from dsmooth.theory.laws.splitting import Splitting
from dsmooth.theory.top_k import TopK
from dsmooth.theory.votes import Phase, Votes
from forging import Forger, labels_of
from support import Linear, Threshold, dsmooth

PIXELS = np.random.default_rng(0).integers(96, 170, (4, 3, 5, 3)).astype(np.uint8)
PIXELS[2] = 150  # the one that is surely certified
LABELS = [0, 1, 1, 0]
MODES = {
    "fixed": Mode(),
    "curve": Mode("curve", (0.0, 0.1, 0.2, 0.5)),
    "decision": Mode("decision", (0.1,)),
    "rivals": Mode("curve", (0.0, 0.1, 0.2), rivals=True),
    "radius": Mode("radius", price=1e-4),
}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    np.savez(folder / "images.npz", images=PIXELS, labels=LABELS)
    np.savez(folder / "others.npz", images=PIXELS[::-1], labels=LABELS)
    images, smoothed = open_images(folder / "images.npz"), SmoothedClassifier(Linear(), None, 0.3, batch=16)
    for name, mode in MODES.items():
        # 5 of 100,000 keys would give image 2 the unanimous votes that are a forgery below
        run = certify_run(smoothed, images, folder / "runs" / name / "run", n=400, mode=mode, seed=0)
        write_certificates(run, folder / "certificates" / name)
    return folder


def checks(path, images=None, classifier=None, share=1.0):
    evidence = read_evidence(path)
    shown = None if images is None else open_images(images)
    found = {check.what: check for check in verify_evidence(evidence, shown)}
    if classifier is not None:
        made = replayed(evidence, shown, TorchClassifier(classifier), None, share)
        found.update({check.what: check for check in made})
    return found


def outcomes(found, outcome):
    return {what for what, check in found.items() if check.outcome is outcome}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("what", ["runs/{}/run", "certificates/{}/000002.json"])
def test_what_was_certified_is_verified(base, mode, what):
    path = base / what.format(mode)
    found = checks(path, base / "images.npz", Linear())
    assert outcomes(found, Outcome.FAILS) == outcomes(found, Outcome.OPEN) == set(), found
    assert "not witnessed" in found["key"].detail
    alone = checks(path)
    assert outcomes(alone, Outcome.FAILS) == set()
    assert "images" in outcomes(alone, Outcome.OPEN)


@pytest.fixture(scope="module")
def randomised(tmp_path_factory):
    """A run under a randomised bound with few votes, where W counts."""
    folder = tmp_path_factory.mktemp("randomised")
    np.savez(folder / "images.npz", images=PIXELS, labels=LABELS)
    smoothed = SmoothedClassifier(Linear(), None, 0.3, batch=16, certifier=Cohen(randomised=True))
    certify_run(smoothed, open_images(folder / "images.npz"), folder / "runs" / "fixed" / "run", n=60, n0=20, seed=4)
    return folder


def test_a_randomised_bound_follows_from_the_key_and_is_verified_without_its_luck(randomised):
    path = randomised / "runs" / "fixed" / "run"
    run = read_run(path)
    assert run.question.bound == "cohen-randomised"
    for record in run.records:
        assert record.weight == weight_of(MasterKey(run.key, "").stream(run.question, record.image, Phase.BOUND))
    gained = [r for r in run.records if r.answer is not None and certificate_of(r).radius > without_luck(r).radius]
    assert gained
    found = checks(path, randomised / "images.npz", Linear())
    assert outcomes(found, Outcome.FAILS) == set(), found
    assert "may have been chosen" in found["weight"].detail
    surely = [record for record in gained if not without_luck(record).abstained]
    for record in surely:
        told = f"{record.name}: verified within l2 {round_down(without_luck(record).radius)}"
        assert told in found["replay"].detail
    evidence = read_evidence(path)
    shown = open_images(randomised / "images.npz")
    network = TorchClassifier(Linear())
    *_, believed = replayed(evidence, shown, network, None, 1.0, witnessed=True)  # nobody chose this key
    assert believed.outcome is Outcome.HOLDS
    assert "verified within" not in believed.detail


def without_luck(record):
    return certificate_of(record, Cohen())


def test_another_weight_than_the_keys_is_noticed(randomised, tmp_path):
    forger = Forger(randomised, tmp_path)
    forger.change(key={**forger.records[2].key, "bound": "00" * 16})
    assert float(forger.records[2].radius) > float(forger.run.records[2].radius)
    found = checks(forger.seal(), randomised / "images.npz", Linear())
    assert outcomes(found, Outcome.FAILS) == {"key"}
    assert "the bound stream does not follow" in found["key"].detail
    forger.records[2] = replace(forger.records[2], key={k: v for k, v in forger.records[2].key.items() if k != "bound"})
    with pytest.raises(BadRun, match="the bound stream"):
        read_run(forger.seal())


def test_a_randomised_bound_cannot_be_chosen_after_the_votes(base, tmp_path):
    forger = Forger(base, tmp_path)
    evaluated = replace(forger.records[2].asked, bound="cohen-randomised")
    forger.records = [replace(record, evaluated=evaluated) for record in forger.records]
    with pytest.raises(BadRun, match="must be chosen before the votes"):
        read_run(forger.seal({"evaluated": evaluated.to_json()}))


def test_other_images_and_networks_are_noticed(base):
    found = checks(base / "runs" / "fixed" / "run", base / "others.npz", Threshold(3))
    assert {"images", "chain", "classifier", "replay"} <= outcomes(found, Outcome.FAILS)
    assert found["denoiser"].outcome is Outcome.HOLDS


# --- forgeries whose every digest was made to fit ---------------------------------------------------------------------


@pytest.mark.parametrize("radii", [(0.0, 0.1, 0.5), (0.25,)], ids=["curve", "decision"])
def test_reached_is_recomputed(tmp_path, radii):
    """All of a hundred claimed at a look that was never so good."""
    pixels = np.full((1, 3, 5, 3), 136, np.uint8)  # the true radius is near .2
    np.savez(tmp_path / "images.npz", images=pixels)
    mode = Mode("curve" if len(radii) > 1 else "decision", radii)
    smoothed = SmoothedClassifier(Linear(), None, 0.3)
    certify_run(
        smoothed, open_images(tmp_path / "images.npz"), tmp_path / "runs" / "x" / "run", n=4000, mode=mode, seed=1
    )
    forger = Forger(tmp_path, tmp_path, "x")
    label, votes = forger.records[0].estimation["counts"][0]
    assert votes >= 60
    look = 100 * (votes // 100) or 100
    forged = Votes({label: min(votes, look)}, look)
    assert votes_to_json(forged) != forger.records[0].reached
    forger.change(0, reached=votes_to_json(forged))
    found = checks(forger.seal())
    assert found["claims"].outcome is Outcome.FAILS
    assert "best look" in found["claims"].detail or "radius" in found["claims"].detail


def test_the_dimension_is_the_images(base, tmp_path):
    forger = Forger(base, tmp_path)
    forger.change(shape=(1, 1, 1), batch=(16, 1, 1, 1))
    found = checks(forger.seal(), base / "images.npz")
    assert found["images"].outcome is Outcome.FAILS
    assert "shape" in found["images"].detail


def test_the_number_of_votes_of_mode_radius_is_recomputed(base, tmp_path):
    forger = Forger(base, tmp_path, "radius")
    record, labels = forger.records[2], labels_of(forger)
    kept = labels[: 100 + record.estimation["trials"] - 7]  # a prefix that looks better
    counts = {label: kept[100:].count(label) for label in set(kept[100:])}
    forger.votes(kept).change(estimation=votes_to_json(Votes(counts, len(kept) - 100)))
    assert checks(forger.seal())["claims"].outcome is Outcome.FAILS


RESEALED = {
    "labels": {"label": 0},
    "decoding": {"decoding": ("grey to RGB",)},
    "generator": {"asked": {"generator": "dice"}},
    "batch": {"batch": (17, 3, 3, 5)},
    "batch of another shape": {"batch": (16, 3, 5, 3)},
    "nondeterministic": {"nondeterministic": True},
    "service": {"service": {"provider": "oracle", "wire": "x", "version": "1", "log": "queries.jsonl"}},
}


@pytest.mark.parametrize("what", RESEALED)
def test_whatever_is_sealed_again_is_noticed(base, tmp_path, what):
    forger = Forger(base, tmp_path)
    changes = dict(RESEALED[what])
    header = {}
    if "asked" in changes:
        asked = replace(forger.records[2].asked, **changes["asked"])
        for i in range(4):
            forger.change(i, asked=asked)
        header = {"question": asked.to_json()}
    else:
        forger.change(claim=False, **changes)
    found = checks(forger.seal(header), base / "images.npz", Linear())
    assert outcomes(found, Outcome.FAILS), found


def test_attempts_and_key_sources_are_not_believed(base, tmp_path):
    """What the file says of them is not repeated; runs that lie beside it are counted."""
    images, smoothed = open_images(base / "images.npz"), SmoothedClassifier(Linear(), None, 0.3, batch=16)
    for name in ("one", "two", "three"):
        certify_run(smoothed, images, tmp_path / "runs" / name, n=40)
    shutil.move(tmp_path / "runs" / "three", tmp_path / "run")
    forger = Forger.__new__(Forger)
    forger.folder = tmp_path / "runs" / "three"
    shutil.move(tmp_path / "run", forger.folder)
    forger.run = read_run(forger.folder)
    forger.records = [replace(r, attempt=1, key={**r.key, "source": "seed"}) for r in forger.run.records]
    found = checks(forger.seal({"attempt": 1, "key_source": "seed"}))
    assert "3 runs of the same images, networks and noise" in found["attempts"].detail
    assert not any("attempt 1" in check.detail or "seed" in check.detail for check in found.values())


def test_images_that_were_left_out_are_missed(base, tmp_path):
    forger = Forger(base, tmp_path)
    forger.records.pop(1)
    forger.records = [replace(record, index=i) for i, record in enumerate(forger.records)]
    found = checks(forger.seal({"images": 3}), base / "images.npz")
    assert found["chain"].outcome is Outcome.FAILS
    images = open_images(base / "images.npz").subset([0, 2, 3])
    np.savez(tmp_path / "fewer.npz", images=PIXELS[[0, 2, 3]], labels=[0, 1, 0])
    assert (
        checks(forger.folder, tmp_path / "fewer.npz")["chain"].outcome is Outcome.FAILS
    )  # the data's digest is of four
    assert len(images) == 3


def test_the_digest_of_the_data_is_in_no_streams_key_but_recomputed(base, tmp_path):
    forger = Forger(base, tmp_path)
    found = checks(forger.seal({"data": "0" * 64}), base / "images.npz")
    assert found["chain"].outcome is Outcome.FAILS


def test_two_phases_with_one_stream_are_noticed_while_the_key_is_secret(base, tmp_path):
    forger = Forger(base, tmp_path)
    key = {**forger.records[2].key, "estimation": forger.records[2].key["selection"]}
    forger.change(key=key)
    (forger.folder / "end.json").unlink()
    (forger.folder / "key.secret").write_text(forger.run.key.hex())
    found = checks(forger.seal())
    assert found["key"].outcome is Outcome.FAILS
    assert "the same noise" in found["key"].detail
    other = Forger(base, tmp_path / "two")
    other.change(key={**other.records[2].key, "estimation": other.records[1].key["estimation"]})
    (other.folder / "end.json").unlink()
    assert checks(other.seal())["key"].outcome is Outcome.FAILS


@pytest.mark.parametrize(
    "asked",
    [{"alpha": 0.05}, {"n": 399}, {"n0": 99}, {"norm": float("inf")}, {"bound": "cohen"}, {"bound": "multiclass-0.5"}],
    ids=str,
)
def test_nothing_can_be_chosen_after_the_votes(base, tmp_path, asked):
    """Alpha, n, norm or share changed afterwards: the noise is no longer that of the question."""
    forger = Forger(base, tmp_path)
    question = replace(forger.records[0].asked, **asked)
    for i in range(4):
        labels = labels_of(forger, i)
        first, later = labels[: question.n0], labels[100 : 100 + question.n]
        forger.votes([*first, *later], i)
        counted = [votes_to_json(Votes({x: part.count(x) for x in set(part)}, len(part))) for part in (first, later)]
        forger.change(i, asked=question, selection=counted[0], estimation=counted[1])
    found = checks(forger.seal({"question": question.to_json()}), base / "images.npz", Linear())
    assert found["key"].outcome is Outcome.FAILS
    assert "does not follow from the key and the settings" in found["key"].detail


def test_what_was_chosen_afterwards_is_said(base, tmp_path):
    forger = Forger(base, tmp_path)
    later = replace(forger.records[0].asked, alpha=0.05)
    for i in range(4):
        forger.change(i, evaluated=later)
    found = checks(forger.seal({"evaluated": later.to_json()}))
    assert "chosen after the votes" in found["claim"].detail
    assert outcomes(found, Outcome.FAILS) == set()


def test_counts_that_the_votes_do_not_have_are_noticed(base, tmp_path):
    forger = Forger(base, tmp_path)
    forger.change(estimation=votes_to_json(Votes({1: 400}, 400)))
    assert checks(forger.seal())["claims"].outcome is Outcome.FAILS
    path = forger.certificate(tmp_path / "forged.json")
    assert dsmooth("verify", path).code == 1


def invented(base, tmp_path, share):
    """A certificate with so many of its estimation votes invented."""
    forger = Forger(base, tmp_path)
    labels = labels_of(forger, 1)
    first, later = labels[:100], labels[100:]
    top = max(set(first), key=first.count)
    for place in [i for i, label in enumerate(later) if label != top][: round(share * 400)]:
        later[place] = top
    counts = votes_to_json(Votes({label: later.count(label) for label in set(later)}, 400))
    forger.votes([*first, *later], 1).change(1, estimation=counts)
    forger.seal()
    return forger


def test_votes_that_were_invented_are_not_verified(base, tmp_path):
    everything = invented(base, tmp_path, 1.0)
    assert checks(everything.folder)["claims"].outcome is Outcome.HOLDS
    found = checks(everything.folder, base / "images.npz", Linear())
    assert found["replay"].outcome is Outcome.FAILS
    assert "rounding explains at most" in found["replay"].detail
    few = invented(base, tmp_path / "few", 0.02)  # eight votes: rounding might have changed them
    held = checks(few.folder, base / "images.npz", Linear())["replay"]
    if held.outcome is Outcome.HOLDS:  # then they were charged against the radius
        assert "verified within" in held.detail


def test_a_million_invented_votes_are_consistent_at_most(base, tmp_path):
    forger = Forger(base, tmp_path)
    question = replace(forger.records[2].asked, n=1_000_000)
    key = {"commitment": forger.records[2].key["commitment"], "source": "os"}
    streams = MasterKey(forger.run.key, "os").streams(question, forger.records[2].image)
    forger.votes([1] * 1_000_100)
    votes = {"selection": votes_to_json(Votes({1: 100}, 100)), "estimation": votes_to_json(Votes({1: 10**6}, 10**6))}
    forger.change(
        asked=question, drawn=1_000_100, key={**key, **{p.value: s.hex() for p, s in streams.items()}}, **votes
    )
    path = forger.certificate(tmp_path / "million.json")
    done = dsmooth("verify", path)
    assert done.code == 4
    assert "consistent, not verified" in done.out.splitlines()[-1]


@pytest.mark.parametrize("fake", [{"versions": {"torch": "0.1"}}, {"nondeterministic": True}], ids=str)
def test_a_failure_is_not_excused_by_what_the_file_says_of_its_machine(base, tmp_path, fake):
    forger = invented(base, tmp_path, 1.0)
    for i in range(4):
        forger.change(i, **fake)
    found = checks(forger.seal(), base / "images.npz", Linear())
    assert found["replay"].outcome is Outcome.FAILS


def test_where_none_of_the_votes_agree_it_fails_whatever_the_machine(base, tmp_path):
    forger = Forger(base, tmp_path)
    labels = [None if label is None else 1 - label for label in labels_of(forger)]
    counts = [votes_to_json(Votes({x: p.count(x) for x in set(p)}, len(p))) for p in (labels[:100], labels[100:])]
    forger.votes(labels).change(selection=counts[0], estimation=counts[1], versions={"torch": "9.9"})
    found = checks(forger.seal(), base / "images.npz", Linear())
    assert found["replay"].outcome is Outcome.FAILS


def test_noise_that_does_not_follow_from_the_key_is_noticed(base, tmp_path):
    for i, key in enumerate(({"estimation": "0" * 32}, {"commitment": "0" * 64})):
        forger = Forger(base, tmp_path / str(i))
        forger.change(key={**forger.records[2].key, **key})
        path = forger.certificate(tmp_path / f"{i}.json")
        assert checks(path)["key"].outcome is Outcome.FAILS


@pytest.mark.parametrize(
    "key",
    [
        {"selection": ""},
        {"selection": "no hexadecimal digits, all told"},
        {"selection": "A" * 32},
        {"estimation": "00"},
    ],
    ids=["empty", "words", "capitals", "short"],
)
def test_streams_are_written_in_one_way(base, tmp_path, key):
    forger = Forger(base, tmp_path)
    forger.change(key={**forger.records[2].key, **key})
    with pytest.raises(BadRun, match="stream as 32 hexadecimal digits"):
        checks(forger.seal())


@pytest.mark.parametrize("kept", [3, 1, 0])
def test_records_that_were_left_out_are_missed_whatever_the_end_says(base, tmp_path, kept):
    forger = Forger(base, tmp_path)
    forger.records = forger.records[:kept]
    with pytest.raises(Disproved, match=f"the run ended with {kept} records"):
        checks(forger.seal(), base / "images.npz", Linear())


def test_images_stand_where_they_stand_among_the_images(base, tmp_path):
    forger = Forger(base, tmp_path)
    forger.records = [replace(record, index=3 - record.index) for record in forger.records]
    found = checks(forger.seal(), base / "images.npz")
    assert found["images"].outcome is Outcome.FAILS
    assert "another index" in found["images"].detail


@pytest.mark.parametrize(
    "changes",
    [
        {"law": Gaussian(4.0)},
        {"law": Splitting(420)},
        {"denoiser": None, "preparation": "upside down"},
        {"classifier": "0" * 64},
        {"mode": Mode("curve", (0.5,))},
        {"n": 401},
    ],
    ids=str,
)
def test_votes_are_evaluated_as_they_were_asked_for(base, tmp_path, changes):
    """Another noise, network or mode afterwards, or more votes than there were: no record says so."""
    forger = Forger(base, tmp_path)
    told = forger.records[2].asked.to_json()
    told.update(replace(forger.records[2].asked, **changes).to_json())
    value = forger.records[2].value()
    value["evaluated"] = told
    line = canonical_json({**value, "digest": digest_json({**value, "digest": ""})})
    with pytest.raises(BadRun, match=r"that the votes were drawn for|as drawn|expected a question"):
        Record.parse(line)


def test_what_was_chosen_afterwards_is_never_verified(base, tmp_path):
    """Fewer votes than were asked for, because the first ones looked better."""
    forger = Forger(base, tmp_path)
    record = forger.records[2]
    labels = labels_of(forger)
    kept = [*labels[:100], *labels[100:300]]
    asked = replace(record.asked, n=200)
    forger.votes(kept, 2)
    counts = votes_to_json(Votes({label: kept[100:].count(label) for label in set(kept[100:])}, 200))
    forger.change(2, evaluated=asked, estimation=counts)
    path = forger.certificate(tmp_path / "fewer.json", 2)
    found = checks(path, base / "images.npz", Linear())
    assert found["claim"].outcome is Outcome.OPEN
    assert "chosen after the votes" in found["claim"].detail


class ThreeWays(torch.nn.Module):
    """Class 0 where the mean is high; class 1 or 2 below, by the first coordinate."""

    def forward(self, x):
        mean, first = x.mean(dim=(1, 2, 3)), x[:, 0, 0, 0]
        below = (0.5 - mean) * 100
        return torch.stack([0 * mean, below + 0.01 * (first > 0.5), below + 0.01 * (first <= 0.5)], 1)


@pytest.mark.parametrize("law", [Gaussian(0.3), Splitting(255)], ids=str)
def test_votes_that_are_moved_between_rivals_are_charged(tmp_path, law):
    """Half of the strongest rival's votes, said to be those of a class that nobody has: the multiclass bound would rise."""
    pixels = np.full((1, 4, 4, 3), 131, np.uint8)
    np.savez(tmp_path / "images.npz", images=pixels)
    smoothed = SmoothedClassifier(ThreeWays(), None, law, batch=64)
    run = certify_run(smoothed, open_images(tmp_path / "images.npz"), tmp_path / "runs" / "x" / "run", n=4000, seed=3)
    (record,) = run.records
    honest = float(record.radius)
    forger = Forger(tmp_path, tmp_path, "x")
    first = record.selection["trials"]
    labels = labels_of(forger, 0)
    later = labels[first:]
    rival = max((label for label in set(later) if label != record.answer), key=later.count)
    moved = [place for place, label in enumerate(later) if label == rival]
    moved = moved[: min(len(moved) // 2, len(later) // 30)]
    for place in moved:
        later[place] = 9
    counts = Votes({label: later.count(label) for label in set(later)}, len(later))
    forger.votes([*labels[:first], *later], 0).change(0, estimation=votes_to_json(counts))
    forger.seal()
    assert float(forger.records[0].radius) >= honest
    (check,) = [
        check
        for check in replayed(
            read_evidence(forger.folder), open_images(tmp_path / "images.npz"), TorchClassifier(ThreeWays()), None, 1.0
        )
        if check.what == "replay"
    ]
    told = re.search(r"verified within l\S+ (\S+)", check.detail)
    verified = float(forger.records[0].radius) if told is None else float(told[1])
    assert check.outcome is not Outcome.HOLDS or verified <= honest + 1e-9


class FourWays(nn.Module):
    """Class 1 where the mean is above the middle, else 0; but 2 for a part, by the first coordinate; 3 never."""

    def forward(self, x):
        mean, first = x.mean(dim=(1, 2, 3)), x[:, 0, 0, 0]
        logits = torch.stack([0.5 - mean, mean - 0.5], 1)
        return torch.cat([logits, (first[:, None] < 0.1) * 1.0, first[:, None] * 0.0 - 9.0], 1)


FOUR_NAMES = ["a", "b", "c", "d"]


def made_top_2(folder, value=131):
    np.savez(folder / "images.npz", images=np.full((1, 4, 4, 3), value, np.uint8))
    network = TorchClassifier(FourWays(), class_names=FOUR_NAMES)
    smoothed = SmoothedClassifier(network, None, 0.3, batch=64, certifier=TopK(2, 4))
    return certify_run(smoothed, open_images(folder / "images.npz"), folder / "runs" / "x" / "run", n=4000, seed=3)


def replay_of(path, images, network):
    made = replayed(read_evidence(path), open_images(images), network, None, 1.0)
    return {check.what: check for check in made}


def test_a_claim_for_the_first_two_is_verified_for_so_many_classes(tmp_path):
    run = made_top_2(tmp_path)
    (record,) = run.records
    assert run.question.bound == "top-2-of-4"
    assert record.answer == 1
    assert float(record.radius) > 2 * certificate_of(record, Multiclass()).radius
    network = TorchClassifier(FourWays(), class_names=FOUR_NAMES)
    found = {**checks(run.folder, tmp_path / "images.npz"), **replay_of(run.folder, tmp_path / "images.npz", network)}
    assert outcomes(found, Outcome.FAILS) == outcomes(found, Outcome.OPEN) == set(), found
    nameless = replay_of(run.folder, tmp_path / "images.npz", TorchClassifier(FourWays()))
    assert nameless["classes"].outcome is Outcome.OPEN
    forger = Forger(tmp_path, tmp_path, "x")
    fewer = replace(forger.records[0].asked, bound="top-2-of-3")
    forger.change(0, asked=fewer).seal({"question": fewer.to_json()})
    assert float(forger.records[0].radius) > float(record.radius)
    assert replay_of(forger.folder, tmp_path / "images.npz", network)["classes"].outcome is Outcome.FAILS
    with pytest.raises(BadParameter, match="has 4 classes, got top-2-of-5"):
        SmoothedClassifier(network, None, 0.3, certifier=TopK(2, 5))


def test_votes_that_are_moved_away_from_the_second_rival_are_charged(tmp_path):
    """For the first two places it is the weaker rival that counts: its votes, said to be the stronger one's."""
    run = made_top_2(tmp_path)
    honest = float(run.records[0].radius)
    forger = Forger(tmp_path, tmp_path, "x")
    labels = labels_of(forger, 0)
    later = labels[100:]
    for place in [place for place, label in enumerate(later) if label == 2][: len(later) // 60]:
        later[place] = 0
    counts = Votes({label: later.count(label) for label in set(later)}, len(later))
    forger.votes([*labels[:100], *later], 0).change(0, estimation=votes_to_json(counts))
    forger.seal()
    assert float(forger.records[0].radius) > honest
    check = replay_of(forger.folder, tmp_path / "images.npz", TorchClassifier(FourWays(), class_names=FOUR_NAMES))[
        "replay"
    ]
    told = re.search(r"verified within l\S+ (\S+)", check.detail)
    assert check.outcome is not Outcome.HOLDS or float(told[1]) <= honest


def test_an_unknown_precision_is_no_precision(base, tmp_path):
    forger = Forger(base, tmp_path)
    value = forger.records[2].asked.to_json()
    with pytest.raises(BadParameter, match="dtype must be one of fp32, bf16, tf32"):
        Question.from_json({**value, "dtype": "fp33"})


def test_another_preparation_and_other_names_are_noticed(base, tmp_path):
    forger = Forger(base, tmp_path)
    forger.seal({"class_names": ["dark", "light"]})
    images = open_images(base / "images.npz")
    names = TorchClassifier(Linear(), class_names=["light", "dark"])
    found = {c.what: c for c in replayed(read_evidence(forger.folder), images, names, None, 1.0)}
    assert found["names"].outcome is Outcome.FAILS
    network = TorchClassifier(Linear())
    network.traits = replace(network.traits, preparation="upside down")
    found = {c.what: c for c in replayed(read_evidence(base / "runs" / "fixed" / "run"), images, network, None, 1.0)}
    assert found["preparation"].outcome is Outcome.FAILS


def test_what_the_label_is_called_is_compared(base, tmp_path):
    forger = Forger(base, tmp_path)
    forger.seal()
    path = forger.certificate(tmp_path / "named.json", name="a good answer")
    names = TorchClassifier(Linear(), class_names=["dark", "light"])
    evidence = read_evidence(path)
    found = {c.what: c for c in replayed(evidence, open_images(base / "images.npz"), names, None, 1.0)}
    assert found["name"].outcome is Outcome.FAILS


# --- honest differences -----------------------------------------------------------------------------------------------


class Nearly(Linear):
    """Linear, rounded otherwise: a vote in a hundred near the border."""

    def forward(self, x):
        return super().forward(x) + torch.tensor([0.0, 0.0002])


def test_honest_rounding_is_charged_and_no_failure(base, tmp_path):
    """The same weights' digest, another rounding: as on another machine."""
    images = open_images(base / "images.npz")
    smoothed = SmoothedClassifier(Linear(), None, 0.3, batch=16)
    smoothed._digests["classifier"] = TorchClassifier(Nearly()).digest()  # as if rounding had made the difference
    run = certify_run(smoothed, images, tmp_path / "run", n=400)
    found = checks(run.folder, base / "images.npz", Nearly())
    assert outcomes(found, Outcome.FAILS) == set(), found
    assert found["replay"].outcome in (Outcome.HOLDS, Outcome.OPEN)


def test_a_small_share_verifies_less(base):
    path = base / "certificates" / "fixed" / "000002.json"
    found = checks(path, base / "images.npz", Linear(), share=0.01)["replay"]
    assert found.outcome is Outcome.HOLDS
    assert "verified within l2" in found.detail
    claimed = float(read_certificate(path).record.radius)
    verified = float(found.detail.split("verified within l2 ")[1].split(" ")[0])
    assert 0 < verified < claimed


def test_an_unfinished_run_is_consistent_so_far(base, tmp_path, factory):
    folder = shutil.copytree(base / "runs" / "fixed" / "run", tmp_path / "run")
    (folder / "end.json").unlink()
    lines = (folder / "records.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "records.jsonl").write_bytes(b"".join(lines[:2]))
    found = checks(folder)
    assert found["key"].outcome is Outcome.OPEN
    assert found["chain"].outcome is Outcome.OPEN
    done = dsmooth("verify", folder, "--images", base / "images.npz", "-c", factory, "--all")
    assert done.code == 4
    assert "consistent so far, not verified" in done.out.splitlines()[-1]


class Dice(nn.Module):
    def forward(self, x):
        return torch.rand(len(x), 2)


def test_dice_cannot_be_verified(base, tmp_path):
    images = open_images(base / "images.npz")
    certify_run(SmoothedClassifier(Dice(), None, 0.3), images, tmp_path / "run", n=40)
    found = checks(tmp_path / "run", base / "images.npz", Dice())["replay"]
    assert found.outcome is Outcome.OPEN
    assert "not deterministic" in found.detail


# --- anew -------------------------------------------------------------------------------------------------------------


def test_the_verifiers_own_certificate_counts(base, tmp_path, factory):
    path, images = base / "certificates" / "fixed" / "000002.json", base / "images.npz"
    (anew,) = certified_anew(
        read_evidence(path), open_images(images), lambda r: SmoothedClassifier(Linear(), None, law=r.law)
    )
    assert anew.confirms
    assert anew.plausible
    assert anew.certificate.answer == 1
    done = dsmooth("verify", path, "--images", images, "-c", factory, "--again")
    assert done.code == 0, done.out + done.err
    assert "under a new key" in done.out
    forger = invented(base, tmp_path / "forger", 1.0)
    bad = forger.certificate(tmp_path / "bad.json", 1)
    done = dsmooth("verify", bad, "--images", images, "-c", factory, "--again")
    assert done.code == 1
    assert "these networks do not give" in done.out


# --- by command -------------------------------------------------------------------------------------------------------


@pytest.fixture
def factory(tmp_path, monkeypatch):
    tmp_path.mkdir(exist_ok=True)
    (tmp_path / "linear_for_test.py").write_text("from support import Linear\ndef model():\n    return Linear()\n")
    monkeypatch.chdir(tmp_path)
    return "import:linear_for_test:model"


def test_exit_codes(base, tmp_path, factory):
    one, images = base / "certificates" / "fixed" / "000002.json", base / "images.npz"
    run = base / "runs" / "fixed" / "run"
    done = dsmooth("verify", run)
    assert done.code == 4
    assert done.out.splitlines()[-1] == f"{run}: consistent, not verified (give --images; -c and --images)"
    done = dsmooth("verify", one, "--images", images, "-c", factory, "--all")
    assert done.code == 0, done.out + done.err
    assert "500 of 500 votes are the same" in done.out
    assert "verified; self-chosen key, not witnessed" in done.out.splitlines()[-1]
    done = dsmooth("verify", run, "--images", images, "-c", factory, "--all")
    assert done.code == 0, done.out + done.err
    assert dsmooth("verify", one, "--images", base / "others.npz").code == 1
    value = json.loads(one.read_text())
    value["claim"]["radius"] = "9.000000000"
    (tmp_path / "lie.json").write_text(json.dumps(value))
    assert dsmooth("verify", tmp_path / "lie.json").code == 1
    (tmp_path / "half.json").write_text(one.read_text()[:200])
    assert dsmooth("verify", tmp_path / "half.json").code == 2
    assert dsmooth("verify", tmp_path / "nothing").code == 2
    assert dsmooth("verify", run, "--share", "0").code == 2
    assert dsmooth("verify", one, "--again").code == 2
    assert dsmooth("verify", one, "--images", images, "-c", "import:support:NoSuch").code == 2


def test_certificates_by_command(base, tmp_path, factory):
    arguments = ["certify", base / "images.npz", "-c", factory, "-d", "none", "--n", "20"]
    done = dsmooth(*arguments, "--certificates", tmp_path / "c", "-o", tmp_path / "run")
    assert done.code == 0, done.err
    assert f"certificates: 4 files in {tmp_path / 'c'}" in done.out
    assert dsmooth("verify", tmp_path / "c" / "000003.json").code == 4
    again = dsmooth(*arguments, "--certificates", tmp_path / "c", "-o", tmp_path / "run2")
    assert again.code == 2
    assert "new or empty folder for --certificates" in again.err
    assert not (tmp_path / "run2").exists()


def test_a_part_of_the_images_is_verified_as_that_part(base, tmp_path, factory):
    images = ["--images", base / "images.npz"]
    arguments = ["certify", base / "images.npz", "-c", factory, "-d", "none", "--n", "20", "--skip", "2", "--max", "2"]
    assert dsmooth(*arguments, "-o", tmp_path / "run").code == 0
    done = dsmooth("verify", tmp_path / "run", *images, "--skip", "2", "--max", "2", "-c", factory, "--all")
    assert done.code == 0, done.out
    done = dsmooth("verify", tmp_path / "run", *images, "-c", factory, "--all")
    assert done.code == 1
    assert "some differ or are missing" in done.out


def test_folders_that_are_named_like_classes_are_verified_as_these_classes(tmp_path, monkeypatch):
    (tmp_path / "named.py").write_text(
        "from dsmooth import TorchClassifier\nfrom support import Linear\n"
        "def model():\n    return TorchClassifier(Linear(), class_names=['light', 'dark'])\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    for i, name in enumerate(("dark", "light")):  # in the order of names they are the other way round
        (tmp_path / "photos" / name).mkdir(parents=True)
        Image.fromarray(np.full((8, 8, 3), 60 + 140 * i, np.uint8)).save(tmp_path / "photos" / name / "a.png")
    given = ["-c", "import:named:model", "-d", "none"]
    assert dsmooth("certify", tmp_path / "photos", *given, "--n", "20", "-o", tmp_path / "run").code == 0
    assert [record.label for record in read_run(tmp_path / "run").records] == [1, 0]
    done = dsmooth("verify", tmp_path / "run", "--images", tmp_path / "photos")
    assert done.code == 4, done.out
    assert "does not hold" not in done.out
    done = dsmooth("verify", tmp_path / "run", "--images", tmp_path / "photos", *given, "--all")
    assert done.code == 0, done.out


def test_images_that_were_cut_are_cut_again(tmp_path, factory):
    (tmp_path / "photos").mkdir()
    for i in range(2):
        pixels = np.random.default_rng(i).integers(0, 256, (20 + i, 30, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{i}.png")
    arguments = ["certify", tmp_path / "photos", "-c", factory, "-d", "none", "--n", "20", "--size", "8"]
    assert dsmooth(*arguments, "-o", tmp_path / "run", "--certificates", tmp_path / "c").code == 0
    done = dsmooth("verify", tmp_path / "run", "--images", tmp_path / "photos")
    assert done.code == 4, done.out
    assert "does not hold" not in done.out
    one = dsmooth("verify", tmp_path / "c" / "000001.json", "--images", tmp_path / "photos" / "1.png")
    assert one.code == 4, one.out
    assert dsmooth("verify", tmp_path / "c" / "000001.json", "--images", tmp_path / "photos" / "0.png").code == 1


def test_the_digest_of_the_data_is_that_of_a_run(base):
    assert data_digest(open_images(base / "images.npz")) == read_run(base / "runs" / "fixed" / "run").data
    line = read_run(base / "runs" / "fixed" / "run").records[0].line()
    value = json.loads(line)
    assert digest_json({**value, "digest": ""}) == value["digest"]
    assert Record.parse(line).key.keys() == {"commitment", "source", Phase.SELECTION, Phase.ESTIMATION}
