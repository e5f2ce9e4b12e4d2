"""Faults that happen, made to happen: the run that comes out is the one that nothing disturbed, or a refusal."""

import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from dsmooth import SmoothedClassifier, open_images
from dsmooth.records.store import read_run
from dsmooth.runs.certify import certify_run
from support import SECONDS, dsmooth, environment, tree

MODEL = "import:support:Linear"


def line_of(folder, out, *extra):
    model = ["-c", "import:slow:Slow", "-d", "none", "--batch", "8"]
    return ["certify", folder / "images.npz", *model, "--n0", "10", "--n", "90", "--seed", "1", "-o", out, *extra]


def started(folder, out, *extra, **options):
    line = [sys.executable, "-m", "dsmooth", *map(str, line_of(folder, out, *extra))]
    return subprocess.Popen(
        line, env=environment(folder), cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def finished(folder, out, *extra):
    done = dsmooth(*line_of(folder, out, *extra), cwd=folder)
    assert done.code == 0, done.err
    return done.err


def facts(run):
    return [(r.name, r.image, r.selection, r.estimation, r.votes, r.answer, r.radius) for r in run.records]


def lying(folder):
    """What lies in the folder, which may be made and be gone again while one looks."""
    try:
        return set(folder.rglob("*"))
    except FileNotFoundError:
        return set()


def killed_at_random(tmp_path, times):
    """A run killed so many times, at random moments of its work, and gone on with each time."""
    chance, out, kills = random.Random(7), tmp_path / "run", 0
    while kills < times and not (out / "end.json").exists():
        process = started(tmp_path, out, *(["--resume"] if (out / "run.json").exists() else []))
        before = lying(out)
        while process.poll() is None and (lying(out) == before or not (out / "run.json").exists()):
            time.sleep(0.002)  # until it has loaded what it needs and begins to write
        time.sleep(chance.uniform(0.0, 0.25))
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
        kills += process.returncode == -signal.SIGKILL
        read_run(out)  # at every moment a run that can be read, or none yet
    finished(tmp_path, out, "--resume")
    finished(tmp_path, tmp_path / "calm")
    assert facts(read_run(out)) == facts(read_run(tmp_path / "calm"))
    assert {path.name for path in (out / "votes").iterdir()} == {f"{i:06d}.votes" for i in range(12)}
    assert not (out / "key.secret").exists()
    return kills


@pytest.mark.slow
def test_kill_9_at_25_random_moments(tmp_path, images):
    kills = 0
    for i in range(12):  # a run is done after some kills: begin new ones until 25 have hit
        folder = tmp_path / str(i)
        folder.mkdir()
        shutil.copy(images, folder)
        shutil.copy(tmp_path / "slow.py", folder)
        kills += killed_at_random(folder, 25 - kills)
        if kills >= 25:
            break
    assert kills >= 25


def limited():
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))


def test_a_full_disk_keeps_what_was_written(tmp_path, images):
    """No file may grow beyond 5,000 bytes: three records fit."""
    out = tmp_path / "run"
    process = started(tmp_path, out, preexec_fn=limited)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "dsmooth: " in errors
    assert "File too large" in errors
    assert "Traceback" not in errors
    kept = read_run(out)
    assert 1 <= len(kept.records) < 12
    assert "bytes of an unfinished record" in finished(tmp_path, out, "--resume")
    run = read_run(out)
    assert len(run.records) == 12
    assert run.records[: len(kept.records)] == kept.records


def run_in(folder):
    pixels = np.random.default_rng(0).integers(96, 160, (3, 3, 5, 3)).astype(np.uint8)
    np.savez(folder / "images.npz", images=pixels)
    return ["certify", folder / "images.npz", "-c", MODEL, "-d", "none", "--n", "20"]


@pytest.fixture
def nobody():
    """A folder that belongs to nobody, and this process without the rights of root."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to give its rights away")
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    warm = folder / "warm"  # what is imported late must be imported while its files can still be read
    warm.mkdir()
    assert dsmooth(*run_in(warm), "-o", warm / "run").code == 0
    assert dsmooth(*run_in(warm), "-o", warm / "run").code == 2
    shutil.rmtree(warm)
    shutil.chown(folder, 65534, 65534)
    os.seteuid(65534)
    yield folder
    os.seteuid(0)
    shutil.rmtree(folder)


def test_a_read_only_folder_is_refused(nobody):
    line = run_in(nobody)
    nobody.chmod(0o555)
    before = tree(nobody)
    done = dsmooth(*line, "-o", nobody / "run")
    assert done.code == 2
    assert "cannot be written (Permission denied)" in done.err
    assert tree(nobody) == before
    nobody.chmod(0o755)


def test_a_folder_that_becomes_read_only_can_be_gone_on_with(nobody):
    out = nobody / "run"
    line = [*run_in(nobody), "-o", out]

    def forbid(progress):
        if progress.finished is not None:
            (out / "votes").chmod(0o555)

    smoothed, images = SmoothedClassifier(MODEL, None, 0.25), open_images(nobody / "images.npz")
    with pytest.raises(PermissionError):
        certify_run(smoothed, images, out, n=20, on_progress=forbid)
    (out / "votes").chmod(0o755)
    kept = read_run(out).records
    assert len(kept) == 1
    assert dsmooth(*line, "--resume").code == 0
    assert read_run(out).records[:1] == kept
    assert len(read_run(out).records) == 3


def test_a_run_whose_key_is_lost_is_refused(tmp_path, images):
    out = tmp_path / "run"
    certify_run(SmoothedClassifier(MODEL, None, 0.25), open_images(images), out, n=20)
    (out / "end.json").unlink()
    done = dsmooth("certify", images, "-c", MODEL, "-d", "none", "--n", "20", "-o", out, "--resume")
    assert done.code == 2
    assert "expected the secret key of the unfinished run" in done.err


def test_the_key_is_for_its_owner_alone(tmp_path, images):
    class StopError(Exception):
        pass

    def stop(progress):
        if progress.finished is not None:
            raise StopError

    smoothed, chosen = SmoothedClassifier(MODEL, None, 0.25), open_images(images)
    with pytest.raises(StopError):
        certify_run(smoothed, chosen, tmp_path / "run", n=20, on_progress=stop)
    secret = tmp_path / "run" / "key.secret"
    assert secret.stat().st_mode & 0o777 == 0o600
    key = secret.read_text().strip()
    others = [path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file() and path != secret]
    assert all(key.encode() not in content and bytes.fromhex(key) not in content for content in others)
    assert read_run(tmp_path / "run").key is None
    secret.write_text("0" * 64)
    before = tree(tmp_path / "run")
    done = dsmooth("certify", images, "-c", MODEL, "-d", "none", "--n", "20", "-o", tmp_path / "run", "--resume")
    assert done.code == 2
    assert "does not match the commitment made at the start" in done.err
    assert tree(tmp_path / "run") == before
    secret.write_text(key)
    run = certify_run(smoothed, chosen, tmp_path / "run", n=20, resume=True)
    assert run.key.hex() == key


def test_a_second_writer_is_refused_within_two_seconds(tmp_path, images):
    out = tmp_path / "run"
    first = started(tmp_path, out)
    while not (out / "records.jsonl").exists() and first.poll() is None:
        time.sleep(0.005)
    first.send_signal(signal.SIGSTOP)  # where others want the core, it would be done before the second one comes
    begun, busy = time.monotonic(), time.process_time()
    done = dsmooth("certify", images, "-c", MODEL, "-d", "none", "--n0", "10", "--n", "90", "-o", out, "--resume")
    seconds, busy = time.monotonic() - begun, time.process_time() - busy
    first.send_signal(signal.SIGCONT)
    assert done.code == 2
    assert "another process is writing this run" in done.err
    assert busy < 2
    assert seconds < SECONDS
    _, errors = first.communicate(timeout=120)
    assert first.returncode == 0, errors
    assert len(read_run(out).records) == 12


def test_a_model_that_answers_nan_certifies_nothing(tmp_path, images):
    class Nan(nn.Module):
        def forward(self, x):
            return torch.full((len(x), 3), torch.nan)

    run = certify_run(SmoothedClassifier(Nan(), None, 0.25), open_images(images), tmp_path / "run", n=30)
    assert all(record.answer is None and record.estimation["missing"] == 30 for record in run.records)


DAMAGES = {
    "torn tail": (lambda data: data + b'{"index":2,"na', 0, "cut off 14 bytes"),
    "corrupt middle": (lambda data: data.replace(b'"missing":0', b'"missing":1', 1), 2, "byte 0: expected a record"),
    "unknown version": (
        lambda data: data.replace(b'"schema":3', b'"schema":9', 1),
        2,
        "record of schema 3 or below, got 9",
    ),
    "a line lost": (lambda data: data.split(b"\n", 1)[1], 2, "does not follow the one before"),
    "two lines swapped": (lambda data: b"".join(reversed(data.splitlines(True))), 2, "byte"),
}


@pytest.mark.parametrize(("damage", "code", "says"), DAMAGES.values(), ids=DAMAGES.keys())
def test_damage_by_command(tmp_path, images, damage, code, says):
    class StopError(Exception):
        pass

    def stop(progress):
        if progress.finished is not None and progress.finished.index == 3:
            raise StopError

    out = tmp_path / "run"
    with pytest.raises(StopError):
        certify_run(SmoothedClassifier(MODEL, None, 0.25), open_images(images), out, n=20, on_progress=stop)
    path = out / "records.jsonl"
    path.write_bytes(damage(path.read_bytes()))
    before = tree(out)
    done = dsmooth("certify", images, "-c", MODEL, "-d", "none", "--n", "20", "-o", out, "--resume")
    assert done.code == code, done.err
    assert says in done.err
    if code:
        assert tree(out) == before
    else:
        assert len(read_run(out).records) == 12
