"""Processes and machines of a Ray cluster that come, go and are killed: the run that comes out is the undisturbed one."""

import os
import random
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from importlib.util import find_spec

import numpy as np
import pytest

from cluster import Watched, alive, descendants, holds, workers_of
from dsmooth import SmoothedClassifier, open_images
from dsmooth.records.digests import digest_image
from dsmooth.records.store import read_run
from dsmooth.runs.certify import certify_run
from dsmooth.smoothing.chunks import MasterKey
from small_runs import told
from support import environment

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not find_spec("ray"), reason="needs the extra ray")]

N, BATCH, SEED = 4000, 16, 5


@pytest.fixture
def folder(tmp_path):
    """Twelve images, and a classifier that takes a hundredth of a second for each batch."""
    pixels = np.random.default_rng(0).integers(96, 160, (12, 3, 5, 3)).astype(np.uint8)
    np.savez(tmp_path / "images.npz", images=pixels)
    (tmp_path / "slow").touch()
    (tmp_path / "watched_here.py").write_text(
        "from cluster import Watched\ndef model():\n"
        f"    made = Watched({str(tmp_path)!r})\n    made.maker = 1\n    return made\n"
    )
    return tmp_path


def line_of(folder, out, *extra):
    model = ["-c", "import:watched_here:model", "-d", "none", "--batch", BATCH, "--dtype", "fp32", "--backend", "eager"]
    model += ["--n0", 20, "--n", N, "--seed", SEED, "--thumbnails", "none"]
    line = [sys.executable, "-m", "dsmooth", "certify", folder / "images.npz", *model, "-o", out, *extra]
    return [str(part) for part in line]


@contextmanager
def started(folder, out, *extra, **variables):
    """The program as it runs; it is over afterwards."""
    process = subprocess.Popen(
        line_of(folder, out, *extra), env={**environment(folder), **variables}, cwd=folder,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    with process:
        try:
            yield process
        finally:
            process.kill()


def undisturbed(folder):
    """The run on one thread of this process."""
    (folder / "slow").unlink(missing_ok=True)
    network = Watched(folder)
    network.maker = 1
    smoothed = SmoothedClassifier(network, None, 0.25, batch=BATCH, dtype="fp32", workers=1)
    return certify_run(smoothed, open_images(folder / "images.npz"), folder / "calm" / "run", n0=20, n=N, seed=SEED)


def test_25_workers_are_killed_at_random_moments(folder, capfd):
    network, chance, notices = Watched(folder), random.Random(7), []
    network.maker = 1
    moments = sorted(chance.uniform(0.02, 0.95) for _ in range(25))
    killed = []

    def kill(progress):
        if not moments or progress.samples < moments[0] * progress.samples_in_all:
            return
        if left := sorted(set(workers_of(os.getpid())) - set(killed)):  # the kernel takes a moment
            moments.pop(0)
            killed.append(chance.choice(left))  # at work, or still loading
            os.kill(killed[-1], signal.SIGKILL)

    with SmoothedClassifier(network, None, 0.25, batch=BATCH, dtype="fp32", engine="ray", workers=3) as smoothed:
        run = certify_run(
            smoothed, open_images(folder / "images.npz"), folder / "run", n0=20, n=N, seed=SEED,
            on_progress=kill, on_notice=notices.append,
        )  # fmt: skip
    assert len(killed) == 25
    assert not capfd.readouterr().out  # Ray would say it too, where results are expected
    assert sum(" ended (" in line for line in notices) >= 20, notices  # a death at the very end is not waited for
    assert told(run) == told(undisturbed(folder))


@pytest.fixture
def short():
    """A folder for temporary files with a short name, since the sockets of Ray lie in it."""
    with tempfile.TemporaryDirectory(prefix="ray-") as place:
        yield place


def lines_of(out):
    """Whole records on disk."""
    path = out / "records.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def test_the_driver_is_killed_10_times_at_random_moments(folder, short):
    """Each time at the latest when it has written one more record, so that the run does not end before the tenth."""
    chance, out = random.Random(8), folder / "run"
    (folder / "slow").write_text("0.05")
    processes, kept = set(), []
    for _ in range(10):
        before = lines_of(out)
        resumed = ["--resume"] if out.exists() else []
        with started(folder, out, "--engine", "ray", "--workers", 2, *resumed, TMPDIR=short) as driver:
            while driver.poll() is None and not workers_of(driver.pid):
                time.sleep(0.1)
            until = time.monotonic() + chance.uniform(0.0, 25.0)  # some while its workers still load
            while driver.poll() is None and time.monotonic() < until and lines_of(out) == before:
                time.sleep(0.02)
            processes |= descendants(driver.pid)
            driver.send_signal(signal.SIGKILL)
            _, errors = driver.communicate(timeout=120)
        assert driver.returncode == -signal.SIGKILL, errors
        kept.append(len(read_run(out).records) if (out / "run.json").exists() else 0)
    assert kept == sorted(kept)  # nothing is lost
    assert kept[-1] > 0, kept
    (folder / "slow").unlink()
    with started(folder, out, "--engine", "ray", "--workers", 1, "--resume", TMPDIR=short) as driver:
        _, errors = driver.communicate(timeout=900)
    assert driver.returncode == 0, errors
    assert told(read_run(out)) == told(undisturbed(folder))
    until = time.monotonic() + 180
    while alive(processes) and time.monotonic() < until:
        time.sleep(1)
    assert not alive(processes)  # Ray's processes end with the driver


LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}

CLUSTER = """
import sys
from ray.cluster_utils import Cluster
small = {"num_cpus": 1, "object_store_memory": 100_000_000}
cluster = Cluster(initialize_head=True, head_node_args={**small, "include_dashboard": False})
print(cluster.address, flush=True)
nodes = []
for line in sys.stdin:
    if line.strip() == "join":
        nodes.append(cluster.add_node(**small))
    else:
        cluster.remove_node(nodes.pop(), allow_graceful=False)
    print("done", flush=True)
cluster.shutdown()
"""


@pytest.fixture(params=["token", "disabled"])
def cluster(request, folder, short):
    """A cluster on the loopback interface, with or without tokens: mode, address, token, process, `tell` for its nodes."""
    token = secrets.token_hex(16)
    variables = {**LOOPBACK, "RAY_AUTH_MODE": request.param, "RAY_AUTH_TOKEN": token, "RAY_USAGE_STATS_ENABLED": "0"}
    process = subprocess.Popen(
        [sys.executable, "-c", CLUSTER], env={**environment(folder), **variables, "RAY_TMPDIR": short},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    address = process.stdout.readline().strip()

    def tell(word):
        process.stdin.write(f"{word}\n")
        process.stdin.flush()
        assert process.stdout.readline().strip() == "done"

    yield request.param, address, token, process.pid, tell
    started_there = descendants(process.pid)
    process.stdin.close()
    process.wait(timeout=60)
    process.stdout.close()
    until = time.monotonic() + 120
    while alive(started_there) and time.monotonic() < until:
        time.sleep(0.5)
    assert not alive(started_there)


def until_said(process, words):
    """The lines that the program wrote to standard error until it said this."""
    lines = []
    for line in process.stderr:
        lines.append(line)
        if words in line:
            return lines
    raise AssertionError("".join(lines))


def is_refused(folder, address, words, **variables):
    out = folder / "run"
    with started(folder, out, "--engine", f"ray:{address}", **LOOPBACK, **variables) as driver:
        _, errors = driver.communicate(timeout=240)
    assert driver.returncode == 2, errors
    assert words in errors
    assert not out.exists()


def test_machines_join_and_leave_and_never_see_the_key(cluster, folder):
    mode, address, token, place, tell = cluster
    out = folder / "run"
    if mode == "disabled":
        is_refused(folder, address, "answers without a token", RAY_AUTH_TOKEN=token)
        is_refused(folder, address, "answers without a token", RAY_AUTH_TOKEN=token, RAY_AUTH_MODE="disabled")
        return
    is_refused(folder, address, "no connection to a Ray cluster", RAY_AUTH_TOKEN="another")
    is_refused(folder, "127.0.0.1:9", "nothing answers", RAY_AUTH_TOKEN=token)
    (folder / "slow").write_text("0.08")
    with started(folder, out, "--engine", f"ray:{address}", RAY_AUTH_TOKEN=token, **LOOPBACK) as driver:
        until_said(driver, "1 worker on 1 machine")
        tell("join")
        until_said(driver, "2 workers on 1 machine")
        while not lines_of(out):
            assert driver.poll() is None
            time.sleep(0.2)
        run = read_run(out)
        secret = MasterKey(bytes.fromhex((out / "key.secret").read_text()), run.header["key_source"])
        digests = [digest_image(image.pixels) for image in open_images(folder / "images.npz")]
        streams = {stream for each in digests for stream in secret.streams(run.question, each).values()}
        pids = workers_of(place)
        assert len(pids) == 2
        seen = set().union(*(holds(pid, {secret.value, secret.value.hex().encode(), *streams}) for pid in pids))
        tell("leave")
        until_said(driver, " ended (")
        (folder / "slow").unlink()
        _, errors = driver.communicate(timeout=900)
    assert driver.returncode == 0, errors
    assert seen
    assert seen <= streams
    variables = {**LOOPBACK, "RAY_ADDRESS": address, "RAY_AUTH_TOKEN": token}  # what a job of the cluster finds
    with started(folder, out, "--engine", "ray:auto", "--resume", **variables) as driver:
        _, errors = driver.communicate(timeout=240)
    assert driver.returncode == 0, errors
    assert told(read_run(out)) == told(undisturbed(folder))
