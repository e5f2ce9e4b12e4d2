"""Runs that fix the listing of their images first, and their pixels last."""

import json
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from dsmooth import SmoothedClassifier, TorchClassifier, open_images
from dsmooth.errors import BadImage, BadParameter, BadRun
from dsmooth.images.sets import LabelledImage
from dsmooth.records.beacon import QUICKNET
from dsmooth.records.store import read_run
from dsmooth.report.dossier import dossier_of
from dsmooth.report.summary import summarise
from dsmooth.runs import certify
from dsmooth.runs.certify import certify_run
from dsmooth.runs.replay import replayed
from dsmooth.runs.shards import Shard, merge_shards
from dsmooth.runs.verify import Outcome, data_digest, read_evidence, verify_evidence
from dsmooth.smoothing.chunks import MasterKey
from dsmooth.theory.modes import Mode
from dsmooth.theory.threats.known import threat_from_text
from support import Linear, Threshold, dsmooth

SHAPE = (3, 5, 3)
TERMS = {"n0": 10, "n": 50}


def save(path, pixels):
    """An image file whose size says nothing of its pixels."""
    Image.fromarray(pixels).save(path, "BMP")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "images").mkdir()
    for i in range(12):
        save(tmp_path / "images" / f"{i:02d}.bmp", np.full(SHAPE, 100 + 8 * i, np.uint8))
    return tmp_path / "images"


def smoothed(network=None):
    return SmoothedClassifier(network or Linear(), None, 0.3, batch=16, workers=1)


def late(images, out, **arguments):
    return certify_run(smoothed(), open_images(images), out, **{**TERMS, "fix": "listing", **arguments})


def checks(path, images, network=None):
    evidence, shown = read_evidence(path), open_images(images)
    made = [
        *verify_evidence(evidence, shown),
        *replayed(evidence, shown, network or TorchClassifier(Linear()), None, 1.0),
    ]
    return {check.what: check for check in made}


def failing(found):
    return {what for what, check in found.items() if check.outcome is Outcome.FAILS}


def test_a_late_run_has_the_records_of_any_other(folder, tmp_path):
    first = certify_run(smoothed(), open_images(folder), tmp_path / "a" / "first", **TERMS, seed=1)
    last = late(folder, tmp_path / "b" / "last", seed=1)

    def told(run):
        changing = {"seconds": 0.0, "previous": "", "digest": ""}
        return [{**record.value(), **changing} for record in sorted(run.records, key=lambda record: record.index)]

    assert told(first) == told(last)
    assert (first.late, last.late) == (False, True)
    assert last.header["data"] is None
    assert last.data == first.data == data_digest(open_images(folder))
    assert last.listing == first.listing == open_images(folder).listing()
    found = checks(last.folder, folder)
    assert {check.outcome for check in found.values()} == {Outcome.HOLDS}
    assert "images fixed after it" in found["key"].detail
    assert "fixed after it" not in checks(first.folder, folder)["key"].detail
    doubt = "pixels was recorded only at the end of the run"
    assert [doubt in dossier_of(summarise([run], [0.0])) for run in (first, last)] == [False, True]


def test_no_image_is_read_before_its_turn(folder, tmp_path):
    images, seen = open_images(folder), []
    for name in images.names[1:]:
        (folder / name).write_bytes(b"x" * (folder / name).stat().st_size)
    with pytest.raises(BadImage, match=r"01\.bmp: expected a readable"):
        certify_run(smoothed(), images, tmp_path / "run", **TERMS, fix="listing", on_progress=seen.append)
    assert [one.finished.name for one in seen if one.finished] in (
        [],
        ["00.bmp"],
    )  # 01 may fill the rows of its batches


def test_whether_a_family_is_for_an_image_shows_when_it_is_read(folder, tmp_path):
    """So a late run against a family reads no image before its turn either, and any other one still refuses at once."""
    save(folder / "11.bmp", np.full((2, 5, 3), 100, np.uint8))
    arguments = {**TERMS, "mode": Mode("cover", (0.1,), against=threat_from_text("shift 2"))}
    refusal = r"11\.bmp: a shift by 2 pixels needs larger images, got 2 x 5"
    with pytest.raises(BadParameter, match=refusal):
        certify_run(smoothed(), open_images(folder), tmp_path / "run", **arguments)
    assert not (tmp_path / "run").exists()
    with pytest.raises(BadParameter, match=refusal):
        late(folder, tmp_path / "run", **arguments)
    assert "00.bmp" in {record.name for record in read_run(tmp_path / "run").records}


@pytest.mark.parametrize("turn", ["to come", "over"])
def test_an_image_that_is_replaced_while_the_run_goes_on_stops_it(folder, tmp_path, turn):
    path = folder / ("11.bmp" if turn == "to come" else "00.bmp")
    held, times = path.read_bytes(), path.stat()

    def replace(progress):
        if progress.finished is not None and progress.finished.name != "11.bmp" and path.read_bytes() == held:
            save(path, np.full(SHAPE, 7, np.uint8))
            if turn == "over":  # as if it had always been so: only its pixels tell
                os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))

    with pytest.raises(BadImage, match=rf"{path.name}: the image changed during the run"):
        late(folder, tmp_path / "run", seed=1, on_progress=replace)
    stopped = read_run(tmp_path / "run")
    assert stopped.key is stopped.data is None
    assert ("11.bmp" in {record.name for record in stopped.records}) == (turn == "over")
    if turn == "over":  # it was the first one
        with pytest.raises(BadImage, match=r"00\.bmp: the image changed"):
            late(folder, tmp_path / "run", seed=1, resume=True)
    path.write_bytes(held)
    again = []
    run = late(folder, tmp_path / "run", seed=1, resume=True, on_progress=lambda progress: again.append(progress.again))
    assert len(run.records) == 12
    assert again[-12:] == list(range(1, 13))
    assert failing(checks(run.folder, folder)) == set()


def test_another_listing_or_way_to_read_is_refused_on_resuming(folder, tmp_path):
    def stop(progress):
        if progress.finished is not None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        late(folder, tmp_path / "run", on_progress=stop)
    with pytest.raises(BadRun, match="begun with --fix listing"):
        late(folder, tmp_path / "run", resume=True, fix="images")
    with pytest.raises(BadImage, match=r"00\.bmp: the image changed"):
        certify_run(smoothed(), open_images(folder, size=2), tmp_path / "run", **TERMS, resume=True)
    save(folder / "12.bmp", np.zeros(SHAPE, np.uint8))
    with pytest.raises(BadRun, match="other images or labels"):
        late(folder, tmp_path / "run", resume=True, fix=None)
    (folder / "12.bmp").unlink()
    assert late(folder, tmp_path / "run", resume=True, fix=None).late


def seal(run, head=None, end=None):
    """The run says this of itself, and its records are chained anew."""
    import hashlib

    held = read_run(run)
    header = json.loads((run / "run.json").read_text())
    header.update(head or {})
    text = json.dumps(header).encode()
    (run / "run.json").write_bytes(text)
    previous, lines = hashlib.sha256(text).hexdigest(), []
    for record in held.records:
        record = record.sealed(previous)
        previous = record.digest
        lines.append(f"{record.line()}\n")
    (run / "records.jsonl").write_text("".join(lines))
    told = {**json.loads((run / "end.json").read_text()), "last": previous, **(end or {})}
    (run / "end.json").write_text(json.dumps(told))


def test_what_a_late_run_says_of_its_images_is_not_believed(folder, tmp_path):
    run = late(folder, tmp_path / "runs" / "run", seed=1).folder
    for name, head, end, wrong in (
        ("data", {}, {"data": "0" * 64}, {"chain"}),
        ("listing", {"listing": "0" * 64}, {}, {"listing"}),
    ):
        forged = tmp_path / name / "run"
        shutil.copytree(run, forged)
        seal(forged, head, end)
        assert failing(checks(forged, folder)) == wrong
    held = folder / "03.bmp"
    save(held, np.full(SHAPE, 9, np.uint8))
    assert {"images", "chain"} <= failing(checks(run, folder))
    held.rename(folder / "03b.bmp")
    assert {"images", "chain", "listing"} <= failing(checks(run, folder))


def test_a_run_that_names_no_images_is_refused(folder, tmp_path):
    run = late(folder, tmp_path / "run", seed=1).folder
    end = json.loads((run / "end.json").read_text())
    (run / "end.json").write_text(json.dumps({name: value for name, value in end.items() if name != "data"}))
    with pytest.raises(BadRun, match="expected the fields data"):
        read_run(run)
    (run / "end.json").write_text(json.dumps(end))
    header = json.loads((run / "run.json").read_text())
    for change in ({"listing": None}, {"witness": {}}, {"listing": 3}):
        (run / "run.json").write_text(json.dumps({**header, **change}))
        with pytest.raises(BadRun, match=r"run\.json"):
            read_run(run)
    first = certify_run(smoothed(), open_images(folder), tmp_path / "first", **TERMS).folder
    (first / "end.json").write_text(json.dumps({**json.loads((first / "end.json").read_text()), "data": "0" * 64}))
    with pytest.raises(BadRun, match="expected the fields key"):
        read_run(first)


def test_shards_of_a_late_run(folder, tmp_path):
    alone = late(folder, tmp_path / "a" / "run", seed=1)
    planned = {"seed": 1, "fix": None}
    late(folder, tmp_path / "b" / "run", seed=1, plan=True)
    for number in range(3):
        late(folder, tmp_path / "b" / "run", shard=Shard(number, 3), **planned)
    merged = merge_shards(tmp_path / "b" / "run")
    assert (merged.data, merged.listing) == (alone.data, alone.listing)
    assert failing(checks(merged.folder, folder)) == set()


def test_late_and_other_runs_are_attempts_of_each_other(folder, tmp_path):
    certify_run(smoothed(), open_images(folder), tmp_path / "1", **TERMS)
    assert late(folder, tmp_path / "2").header["attempt"] == 2
    assert certify_run(smoothed(), open_images(folder), tmp_path / "3", **TERMS).header["attempt"] == 3
    save(folder / "00.bmp", np.zeros(SHAPE, np.uint8))  # of the same size: another listing would be another subject
    assert certify_run(smoothed(), open_images(folder), tmp_path / "4", **TERMS).header["attempt"] == 2


def test_very_many_images_are_late_by_themselves(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(certify, "MOST_READ_FIRST", 11)
    notices = []
    run = certify_run(smoothed(), open_images(folder), tmp_path / "1", **TERMS, on_notice=notices.append)
    assert run.late
    assert "fixed now: names, labels and sizes of 12 images" in notices[0]
    assert not certify_run(smoothed(), open_images(folder), tmp_path / "2", **TERMS, fix="images").late
    assert not certify_run(smoothed(), open_images(folder)[:11], tmp_path / "3", **TERMS).late
    np.savez(tmp_path / "images.npz", images=np.zeros((12, *SHAPE), np.uint8))
    memory = open_images(tmp_path / "images.npz")
    assert not certify_run(smoothed(), memory, tmp_path / "4", **TERMS).late
    with pytest.raises(BadParameter, match="are in memory"):
        certify_run(smoothed(), memory, tmp_path / "5", **TERMS, fix="listing")
    with pytest.raises(BadParameter, match="--witness fixes the images first"):
        late(folder, tmp_path / "5", witness=QUICKNET)
    assert not (tmp_path / "5").exists()


def test_by_command(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "linear.py").write_text("from support import Linear as model\n")
    line = ["certify", "images", "-c", "import:linear:model", "-d", "none", "--sigma", "0.3", "--n", "100"]
    done = dsmooth(*line, "--size", "0", "--fix", "listing", "-o", "run")
    assert done.code == 0, done.err
    assert "self-chosen key, not witnessed, and images fixed after it" in done.out
    line = ["verify", "run", "-c", "import:linear:model", "--size", "0", "--all"]
    done = dsmooth(*line, "--images", "images")
    assert done.code == 0, done.out + done.err
    assert "listing       holds" in done.out
    assert done.out.strip().endswith("verified; self-chosen key, not witnessed, and images fixed after it")
    assert dsmooth("verify", "run").code == 4


def test_who_knows_the_key_can_choose_images_that_are_certified_falsely(tmp_path):
    """Why images are fixed before the key where that is to be seen by others: theory.md, claim 14."""
    network, rng = Threshold(150), np.random.default_rng(0)
    attacker = SmoothedClassifier(network, None, 0.3, batch=128, workers=1)
    question, key = attacker.question(n0=20, n=50, alpha=0.05), MasterKey.draw(1)
    chosen = None
    for _ in range(1000):
        pixels = rng.integers(0, 256, (1, 2, 3), dtype=np.uint8)
        pixels[0, 0, 0] = 150  # below the threshold, so the answer is 0
        image = LabelledImage("x.bmp", pixels)
        (tally,) = attacker.tallies([image], question, key)
        if tally.certificate(question).answer == 1:
            chosen = pixels
            break
    assert chosen is not None
    (tmp_path / "images").mkdir()
    save(tmp_path / "images" / "x.bmp", chosen)
    run = certify_run(
        attacker, open_images(tmp_path / "images"), tmp_path / "run", n0=20, n=50, alpha=0.05, seed=1, fix="listing"
    )
    assert run.records[0].answer == 1
    found = checks(run.folder, tmp_path / "images", TorchClassifier(network))
    assert failing(found) == set()
    assert "images fixed after it" in found["key"].detail
