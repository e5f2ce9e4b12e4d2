import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from dsmooth import BadImage, BadParameter, BadRun, SmoothedClassifier, open_images
from dsmooth.backends import choice
from dsmooth.records.schema import certificate_of, votes_from_json
from dsmooth.records.sidecar import read_sidecar
from dsmooth.records.store import read_run
from dsmooth.runs.certify import certify_run
from dsmooth.theory.laws.gaussian import Gaussian
from dsmooth.theory.modes import Mode
from dsmooth.theory.votes import Votes
from support import Constant, Linear, Threshold, different_images, dsmooth, environment


def smoothed(**changes):
    return SmoothedClassifier(changes.pop("module", Linear()), None, changes.pop("sigma", 0.5), batch=8, **changes)


def facts(run):
    return [(r.name, r.image, r.selection, r.estimation, r.votes, r.answer, r.radius) for r in run.records]


def test_one_record_an_image_with_everything_in_it(tmp_path, images):
    run = certify_run(smoothed(), open_images(images), tmp_path / "run", n0=10, n=50, seed=1)
    assert [r.name for r in run.records] == [str(i) for i in range(12)]
    first = run.records[0]
    assert first.shape == (3, 5, 3)
    assert first.batch == (8, 3, 3, 5)
    assert first.law == Gaussian(0.5)
    assert first.key["source"] == "seed"
    assert {"dsmooth", "torch", "numpy", "scipy", "python"} <= first.versions.keys()
    for record in run.records:
        labels = list(read_sidecar(run.folder, record.votes, 60))
        for phase, part in ((record.selection, labels[:10]), (record.estimation, labels[10:])):
            counts = {label: part.count(label) for label in set(part) - {None}}
            assert votes_from_json(phase) == Votes(counts, len(part))


def test_a_record_holds_what_is_needed_to_draw_its_noise_again(tmp_path, images):
    from dsmooth.smoothing.chunks import Chunk
    from dsmooth.smoothing.sources.grid import GridSource
    from dsmooth.theory.votes import Phase

    data = open_images(images)
    record = certify_run(smoothed(module=Threshold(128)), data, tmp_path / "run", n0=10, n=50).records[3]
    stream = bytes.fromhex(record.key["estimation"])
    noise, _ = GridSource(record.law).draw(Chunk(Phase.ESTIMATION, stream, 0, 50), record.dim)
    votes = int((noise[:, 0] + int(data[3].pixels.flat[0]) > 128).sum())
    assert votes_from_json(record.estimation).of(1) == votes


def test_resume_after_an_interruption_gives_the_undisturbed_run(tmp_path, images):
    undisturbed = certify_run(smoothed(), open_images(images), tmp_path / "a", n0=10, n=50, seed=1)

    class StopError(Exception):
        pass

    def stop(progress):
        if progress.finished is not None and progress.finished.index == 4:
            raise StopError

    with pytest.raises(StopError):
        certify_run(smoothed(), open_images(images), tmp_path / "b", n0=10, n=50, seed=1, on_progress=stop)
    assert 0 < len(read_run(tmp_path / "b").records) < 12
    said = []
    resumed = certify_run(
        smoothed(), open_images(images), tmp_path / "b", n0=10, n=50, resume=True, on_notice=said.append
    )
    assert facts(resumed) == facts(undisturbed)
    assert "5 of 12 images are done" in said[0]
    assert {p.name for p in (tmp_path / "b" / "votes").iterdir()} == {f"{i:06d}.votes" for i in range(12)}


@pytest.mark.parametrize("begun", ["fp32", "bf16"])
def test_a_run_goes_on_in_the_dtype_in_which_it_was_begun(tmp_path, images, begun, monkeypatch):
    class StopError(Exception):
        pass

    def stop(progress):
        if progress.finished is not None:
            raise StopError

    def asked(dtype):
        return SmoothedClassifier(Constant(), None, 0.25, dtype=dtype, backend="eager")

    with pytest.raises(StopError):
        certify_run(asked(begun), open_images(images), tmp_path / "run", n0=10, n=20, on_progress=stop)
    monkeypatch.setattr(choice, "has_bf16", lambda: begun == "fp32")  # another processor
    other = "fp32" if begun == "bf16" else "bf16"
    with pytest.raises(BadRun, match=f"made with dtype {begun}, not {other}"):
        certify_run(asked(other), open_images(images), tmp_path / "run", n0=10, n=20, resume=True)
    resumed = certify_run(asked("auto"), open_images(images), tmp_path / "run", n0=10, n=20, resume=True)
    assert {record.asked.dtype for record in resumed.records} == {begun}


CURVE = Mode("curve", (0.0, 0.05, 0.1, 0.3))


@pytest.mark.parametrize("mode", [CURVE, Mode("decision", (0.05,)), Mode("radius")], ids=lambda mode: mode.name)
def test_runs_that_save_votes_say_what_they_took_and_resume(tmp_path, images, mode):
    arguments = {"n0": 20, "n": 3000, "seed": 1, "mode": mode}
    undisturbed = certify_run(smoothed(), open_images(images), tmp_path / "a", **arguments)
    told = []

    class StopError(Exception):
        pass

    def stop(progress):
        told.append(progress)
        if len({p.finished.name for p in told if p.finished}) == 4:
            raise StopError

    with pytest.raises(StopError):
        certify_run(smoothed(), open_images(images), tmp_path / "b", **arguments, on_progress=stop)
    del arguments["seed"]
    resumed = certify_run(
        smoothed(), open_images(images), tmp_path / "b", **arguments, resume=True, on_progress=told.append
    )

    def by_name(run):
        return sorted((*fact, r.reached) for fact, r in zip(facts(run), run.records, strict=True))

    assert by_name(resumed) == by_name(undisturbed)
    assert told[-1].samples == told[-1].samples_in_all == 8 * 3020
    assert {record.asked.mode for record in resumed.records} == {mode.settled(smoothed().law, 3000)}
    for record in resumed.records:
        trials = record.estimation["trials"]
        assert 20 + trials <= record.drawn
        assert len(list(read_sidecar(resumed.folder, record.votes, 20 + trials))) == 20 + trials
        assert certificate_of(record).answer == record.answer
    assert sum(record.drawn for record in resumed.records) < 0.8 * 12 * 3020


def test_the_votes_at_the_best_look_are_the_first_of_the_sidecar(tmp_path, images):
    run = certify_run(smoothed(), open_images(images), tmp_path / "run", n0=20, n=3000, seed=1, mode=CURVE)
    later = 0
    for record in run.records:
        labels = list(read_sidecar(run.folder, record.votes, 20 + record.estimation["trials"]))[20:]
        best = votes_from_json(record.reached)
        part = labels[: best.trials]
        assert best == Votes({label: part.count(label) for label in set(part)}, len(part))
        later += best.trials < record.estimation["trials"]
    assert later > 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mode": CURVE}, r"made with mode \{'name': 'fixed'\}, not \{'name': 'curve'"),
        ({"mode": Mode("radius")}, r"made with mode \{'name': 'fixed'\}, not \{'name': 'radius', 'lambda': 0.002\}"),
        ({"n": 51}, "made with n 50, not 51"),
        ({"alpha": 0.01}, r"made with alpha 0\.001, not 0\.01"),
        ({"seed": 2}, "another seed"),
        ({"model": {"sigma": 0.25}}, r"made with law \{.*0\.5\}, not \{.*0\.25\}"),
        ({"model": {"module": Threshold(3)}}, "made with classifier"),
        ({"model": {"dtype": "bf16"}}, "made with dtype fp32, not bf16"),
        ({"images": slice(3, None)}, "other images or labels"),
    ],
)
def test_resume_with_other_parameters_is_refused(tmp_path, images, changes, message):
    certify_run(smoothed(), open_images(images), tmp_path / "run", n0=10, n=50, seed=1)
    before = {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()}
    arguments = {"n0": 10, "n": 50, "resume": True, **changes}
    model, chosen = arguments.pop("model", {}), arguments.pop("images", slice(None))
    with pytest.raises(BadRun, match=message):
        certify_run(smoothed(**model), open_images(images)[chosen], tmp_path / "run", **arguments)
    assert {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()} == before


def test_bad_parameters_leave_nothing_behind(tmp_path, images):
    for arguments in ({"n": 0}, {"n0": -1}, {"alpha": 2.0}, {"norm": 0.1}, {"n": 10**8, "mode": CURVE}):
        with pytest.raises(BadParameter):
            certify_run(smoothed(), open_images(images), tmp_path / "run", **arguments)
    with pytest.raises(BadParameter, match="at least one image"):
        certify_run(smoothed(), open_images(images)[50:], tmp_path / "run")
    assert not (tmp_path / "run").exists()


def line_of(images, out, *extra):
    model = ["-c", "import:slow:Slow", "-d", "none", "--sigma", "0.5", "--batch", "8"]
    return ["certify", images, *model, "--n0", "10", "--n", "90", "--seed", "1", "-o", out, *extra]


def command(tmp_path, images, out, *extra):
    line = [sys.executable, "-m", "dsmooth", *map(str, line_of(images, out, *extra))]
    return subprocess.Popen(
        line, env=environment(tmp_path), cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def records_in(out):
    path = out / "records.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def interrupt_after(process, out, records, number):
    deadline = time.monotonic() + 120
    while records_in(out) < records and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(number)
    return process.communicate(timeout=60)[1].decode()


def finish(tmp_path, images, out, *extra):
    done = dsmooth(*line_of(images, out, *extra), cwd=tmp_path)
    assert done.code == 0, done.err


def test_kill_9_loses_nothing_and_doubles_nothing(tmp_path, images):
    out = tmp_path / "run"
    extra = []
    for records in (2, 5, 9):
        process = command(tmp_path, images, out, *extra)
        interrupt_after(process, out, records, signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL
        extra = ["--resume"]
    finish(tmp_path, images, out, "--resume")
    undisturbed = tmp_path / "undisturbed"
    finish(tmp_path, images, undisturbed)
    assert facts(read_run(out)) == facts(read_run(undisturbed))
    assert len(read_run(out).records) == 12


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interruption_is_quick_and_resumable(tmp_path, images, number, code):
    out = tmp_path / "run"
    process = command(tmp_path, images, out)
    errors = interrupt_after(process, out, 1, number)  # which waits a minute at most
    assert process.returncode == code
    assert "continue with --resume" in errors
    assert "Traceback" not in errors
    assert 1 <= len(read_run(out).records) < 12
    finish(tmp_path, images, out, "--resume")
    assert len(read_run(out).records) == 12


def test_images_of_several_shapes(tmp_path):
    from PIL import Image

    for i, shape in enumerate([(4, 6), (4, 6), (8, 3), (4, 6)]):
        Image.fromarray(different_images(1, i, (*shape, 3))[0]).save(tmp_path / f"{i}.png")
    run = certify_run(smoothed(), open_images(tmp_path), tmp_path / "run", n0=3, n=5)
    assert [r.shape for r in run.records] == [(4, 6, 3), (4, 6, 3), (8, 3, 3), (4, 6, 3)]


def test_an_image_that_is_replaced_while_the_run_goes_on_stops_it(tmp_path):
    (tmp_path / "images").mkdir()
    for i in range(40):
        Image.fromarray(np.full((3, 5, 3), i, np.uint8)).save(tmp_path / "images" / f"{i:02d}.png")
    last, first_one = tmp_path / "images" / "39.png", (tmp_path / "images" / "39.png").read_bytes()

    def replace(progress):
        if progress.finished is None:
            Image.fromarray(np.full((3, 5, 3), 200, np.uint8)).save(last)

    arguments = {"n0": 10, "n": 50, "seed": 1}
    with pytest.raises(BadImage, match=r"39\.png: the image changed during the run"):
        certify_run(smoothed(), open_images(tmp_path / "images"), tmp_path / "run", **arguments, on_progress=replace)
    assert "39.png" not in {record.name for record in read_run(tmp_path / "run").records}
    with pytest.raises(BadRun, match="other images"):
        certify_run(smoothed(), open_images(tmp_path / "images"), tmp_path / "run", **arguments, resume=True)
    last.write_bytes(first_one)
    run = certify_run(smoothed(), open_images(tmp_path / "images"), tmp_path / "run", **arguments, resume=True)
    assert len(run.records) == 40
