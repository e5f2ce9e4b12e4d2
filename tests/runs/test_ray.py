"""A run on the processes of a Ray cluster is the run on one machine, whatever happens to them."""

import os
import signal
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from cluster import OnlyHere, Watched, descendants, listening, workers_of
from dsmooth import SmoothedClassifier, open_images
from dsmooth.errors import BadModel, BadParameter, Drifted
from dsmooth.images.sets import LabelledImage
from dsmooth.records.store import read_run
from dsmooth.runs.certify import certify_run
from dsmooth.runs.shards import Shard, merge_shards
from dsmooth.serve.served import Limits, Served
from dsmooth.smoothing.chunks import MasterKey
from dsmooth.smoothing.engines import jobs
from dsmooth.theory.modes import FIXED, Mode
from small_runs import told
from support import dsmooth

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not find_spec("ray"), reason="needs the extra ray"),
]  # a start takes 5 s

MODES = [FIXED, Mode("curve", (0.0, 0.1, 0.3)), Mode("radius")]
N0, N = 20, 300


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Seven images, some near the border, and what the networks look for."""
    path = tmp_path_factory.mktemp("ray")
    pixels = np.random.default_rng(0).integers(0, 256, (7, 3, 4, 3), dtype=np.uint8)
    pixels[2:] = np.clip(pixels[2:] / 3 + 90, 0, 255)
    np.savez(path / "images.npz", images=pixels, labels=[0, 1, 0, 1, 0, 1, 0])
    return path


@pytest.fixture(scope="module")
def network(folder):
    return Watched(folder)


@pytest.fixture(scope="module")
def spread(folder, network):
    """On two processes of a Ray cluster, one of which is a liar."""
    (folder / "bait").touch()
    with on_ray(network, 2) as smoothed:
        yield smoothed


def certified(smoothed, folder, out, mode=FIXED, n=N, **more):
    return certify_run(smoothed, open_images(folder / "images.npz"), out, n0=N0, n=n, mode=mode, seed=5, **more)


def assert_same(run, other):
    """The same records and votes, in folders of the same files."""
    assert told(run) == told(other)
    assert run.key == other.key
    names = [sorted(path.name for path in each.folder.iterdir()) for each in (run, other)]
    assert names[0] == names[1]
    for one, two in zip(*(sorted(each.records, key=lambda record: record.index) for each in (run, other)), strict=True):
        assert (run.folder / one.votes["file"]).read_bytes() == (other.folder / two.votes["file"]).read_bytes()


def on_ray(network, workers):
    return SmoothedClassifier(network, None, 0.3, batch=16, engine="ray", workers=workers)


def here(network, workers=1):
    return SmoothedClassifier(network, None, 0.3, batch=16, workers=workers)


def lies(folder):
    return {int(pid) for pid in (folder / "liars").read_text().split()}


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name)
def test_records_do_not_say_where_votes_were_drawn(folder, network, spread, tmp_path, mode):
    notices = []
    alone = certified(here(network), folder, tmp_path / "alone" / "run", mode)
    run = certified(spread, folder, tmp_path / "ray" / "run", mode, on_notice=notices.append)
    assert_same(run, alone)
    if mode is FIXED:
        assert any("refused: it answers" in line and "than this machine" in line for line in notices), notices
    assert len(lies(folder)) == 1
    assert not lies(folder) & set(workers_of(os.getpid()))  # it has been ended


def test_only_this_machine_is_spoken_with_and_nobody_without_the_token(spread, folder):
    assert spread.session.workers
    found = listening(descendants(os.getpid()))
    assert found
    assert found <= {"0100007F", "0000000000000000FFFF00000100007F"}  # 127.0.0.1
    import ray

    from dsmooth.smoothing.engines import cluster

    assert cluster._guarded(ray.get_runtime_context().gcs_address)
    session = ray._private.worker._global_node.get_session_dir_path()
    token = os.environ["RAY_AUTH_TOKEN"].encode()
    held = [path for path in Path(session).rglob("*") if path.suffix in (".out", ".err", ".log")]
    assert held
    assert not any(token in path.read_bytes() for path in held)


def test_a_killed_worker_is_replaced(folder, network, spread, tmp_path):
    (folder / "slow").write_text("0.05")  # so that work is left when it is killed
    notices, killed = [], set()

    def kill(progress):
        if progress.samples > 300 and not killed:
            killed.add(workers_of(os.getpid())[0])
            for pid in killed:
                os.kill(pid, signal.SIGKILL)

    run = certified(spread, folder, tmp_path / "killed" / "run", on_progress=kill, on_notice=notices.append)
    (folder / "slow").unlink()
    assert killed
    assert any(f"process {pid}) ended" in line for pid in killed for line in notices), notices
    assert_same(run, certified(here(network), folder, tmp_path / "alone" / "run"))


@pytest.mark.slow
def test_a_worker_that_begins_to_lie_stops_the_run(folder, network, tmp_path, monkeypatch):
    monkeypatch.setattr(jobs, "_AGAIN", 1)
    (folder / "liars").unlink(missing_ok=True)
    (folder / "slow").touch()
    notices, since, others = [], [], set(workers_of(os.getpid()))

    def turn(progress):
        """Both are at work, and have answered their probe, when a tenth of the votes came after both were there."""
        if "2 workers on 1 machine" in notices:
            since.append(progress.samples)
            if progress.samples - since[0] > 14_000 and not (folder / "liars").exists():
                (folder / "liars").write_text(str(max(set(workers_of(os.getpid())) - others)))

    with on_ray(network, 2) as smoothed:
        with pytest.raises(Drifted, match=r"answers \d+ of 16 images differently than worker \d+ .*: one of them"):
            certified(smoothed, folder, tmp_path / "run", n=20_000, on_progress=turn, on_notice=notices.append)
        assert isinstance(smoothed.session.failed, Drifted)
    for name in ("slow", "liars"):
        (folder / name).unlink()


def test_networks_that_cannot_be_loaded_elsewhere_are_said(folder, tmp_path):
    with on_ray(OnlyHere(), 2) as smoothed, pytest.raises(BadModel, match=r"no worker is left.*no licence on this"):
        certified(smoothed, folder, tmp_path / "run")


def test_what_ray_is_not_for_is_refused(network, tmp_path):
    with pytest.raises(BadParameter, match="gpus must be above 0"):
        SmoothedClassifier(network, None, 0.3, engine="ray", gpus=0.0)
    with pytest.raises(BadParameter, match="runs on a CPU"):
        _ = SmoothedClassifier(network, None, 0.3, engine="ray", gpus=0.5).session
    with pytest.raises(BadParameter, match="leave out gpus"):
        SmoothedClassifier(network, None, 0.3, gpus=0.5)
    with pytest.raises(BadParameter, match="ray:auto or ray:HOST:PORT"):
        SmoothedClassifier(network, None, 0.3, engine="ray://head:10001")
    done = dsmooth(
        "certify", tmp_path, "-c", "http://127.0.0.1:9/", "--engine", "ray", "-d", "none", "-o", tmp_path / "run"
    )
    assert done.code == 2, done
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name)
def test_one_thread_two_four_processes_and_three_shards(folder, network, tmp_path, mode):
    (folder / "liars").unlink(missing_ok=True)
    alone = certified(here(network), folder, tmp_path / "one" / "run", mode)
    assert_same(certified(here(network, 2), folder, tmp_path / "two" / "run", mode), alone)
    with on_ray(network, 4) as smoothed:
        assert_same(certified(smoothed, folder, tmp_path / "four" / "run", mode), alone)
    shards = tmp_path / "shards" / "run"
    certified(here(network), folder, shards, mode, plan=True)
    for number in range(3):
        certified(here(network), folder, shards, mode, shard=Shard(number, 3))
    assert_same(merge_shards(shards), alone)


@pytest.mark.slow
def test_a_run_goes_on_with_another_number_of_workers(folder, network, tmp_path, monkeypatch):
    (tmp_path / "watched_here.py").write_text(
        f"from cluster import Watched\ndef model():\n    made = Watched({str(folder)!r})\n    made.maker = {network.maker}\n"
        "    return made\n"
    )
    monkeypatch.chdir(tmp_path)
    given = ["certify", folder / "images.npz", "-c", "import:watched_here:model", "-d", "none", "--sigma", 0.3,
             "--n0", N0, "--n", N, "--batch", 16, "--seed", 5]  # fmt: skip
    assert dsmooth(*given, "-o", "alone/run").code == 0

    def stop(progress):
        if progress.finished is not None and progress.finished.index == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        certified(here(network, 2), folder, "parts/run", on_progress=stop)
    done = dsmooth(*given, "-o", "parts/run", "--resume", "--engine", "ray", "--workers", 1)
    assert done.code == 0, done.err
    assert "images are done; continuing" in done.err
    assert "1 worker on 1 machine" in done.err
    assert told(read_run("parts/run")) == told(read_run("alone/run"))


@pytest.mark.slow
def test_a_server_asks_them_too(folder, network):
    (folder / "liars").unlink(missing_ok=True)
    image, key = LabelledImage("grey", np.full((4, 4, 3), 128, np.uint8)), MasterKey.draw(5)
    counts = []
    for smoothed in (here(network), on_ray(network, 2)):
        with smoothed:
            served = Served("model", smoothed, terms={"n0": N0, "n": N}, limits=Limits(), size=4)
            assert served.ready
            question = smoothed.question(n0=N0, n=N)
            handles = [smoothed.session.submit(image, question, key=key) for _ in range(3)]
            counts += [handle.result().counts for handle in handles]
    assert counts == [counts[0]] * 6
