"""A run in shards is the run on one machine: planned once, interrupted, merged, and refused where it is none."""

import shutil

import numpy as np
import pytest

from dsmooth import SmoothedClassifier, open_images
from dsmooth.errors import BadParameter, BadRun
from dsmooth.records.clean_answers import clean_answers
from dsmooth.records.store import read_run
from dsmooth.runs.certify import certify_run
from dsmooth.runs.shards import Shard, merge_shards, shard_of_environment
from dsmooth.runs.verify import Outcome, read_evidence, verify_evidence
from dsmooth.theory.modes import FIXED, Mode
from small_runs import told
from support import Linear, Threshold, dsmooth

MODES = [FIXED, Mode("curve", (0.0, 0.1, 0.3)), Mode("radius")]


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    path = tmp_path_factory.mktemp("images") / "images.npz"
    pixels = np.random.default_rng(0).integers(0, 256, (7, 3, 4, 3), dtype=np.uint8)
    pixels[2:] = np.clip(pixels[2:] / 3 + 90, 0, 255)  # some are near the border
    np.savez(path, images=pixels, labels=[0, 1, 0, 1, 0, 1, 0])
    return path


def certified(images, out, mode=FIXED, module=Linear, seed=5, **more):
    smoothed = SmoothedClassifier(module(), None, 0.3, batch=16)
    return certify_run(smoothed, open_images(images), out, n0=20, n=300, mode=mode, seed=seed, **more)


def planned(images, out, count=3, mode=FIXED, but=(), seed=5):
    certified(images, out, mode, seed=seed, plan=True)
    for number in range(count):
        if number not in but:
            certified(images, out, mode, seed=seed, shard=Shard(number, count))
    return out


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name)
def test_merged_shards_are_the_run_on_one_machine(images, tmp_path, mode):
    alone = certified(images, tmp_path / "alone" / "run", mode)
    merged = merge_shards(planned(images, tmp_path / "many" / "run", mode=mode))
    assert told(merged) == told(alone)
    assert [record.index for record in merged.records] == list(range(7))
    assert merged.key == alone.key
    names = sorted(path.name for path in (tmp_path / "many" / "run").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "alone" / "run").iterdir())
    assert len(list((merged.folder / "thumbnails").iterdir())) == 7
    assert len(clean_answers(merged.folder, merged.records)) == 7
    for record in merged.records:
        held = [run.folder / record.votes["file"] for run in (merged, alone)]
        assert held[0].read_bytes() == held[1].read_bytes()
    checks = list(verify_evidence(read_evidence(merged.folder), open_images(images)))
    assert {check.outcome for check in checks} == {Outcome.HOLDS}, checks


def test_a_shard_goes_on_and_the_merge_says_what_is_missing(images, tmp_path):
    run = planned(images, tmp_path / "run", but=(1,))
    with pytest.raises(BadRun, match="2 of 7 images have no record yet, the first of them number 1"):
        merge_shards(run)
    before = read_run(Shard(0, 3).folder(run)).records
    certified(images, run, shard=Shard(0, 3))  # again: nothing is left to do
    assert read_run(Shard(0, 3).folder(run)).records == before
    certified(images, run, shard=Shard(1, 3))
    assert len(merge_shards(run).records) == 7
    assert len(merge_shards(run).records) == 7  # as after a crash at the very end
    with pytest.raises(BadRun, match="is finished: there is nothing left to do"):
        certified(images, run, shard=Shard(1, 3))


def test_a_merge_that_was_interrupted_goes_on(images, tmp_path):
    run = planned(images, tmp_path / "run")

    def stop(done):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        merge_shards(run, on_progress=stop)
    assert len(read_run(run).records) == 3
    assert read_run(run).key is None
    assert [record.index for record in merge_shards(run).records] == list(range(7))


def test_what_is_no_shard_of_this_run_is_refused(images, tmp_path):
    with pytest.raises(BadRun, match="holds no plan"):
        certified(images, tmp_path / "none", shard=Shard(0, 2))
    assert not (tmp_path / "none").exists()
    run = planned(images, tmp_path / "one" / "run")
    with pytest.raises(BadRun, match="classifier"):  # another network: it would be another function
        certified(images, run, module=lambda: Threshold(3), shard=Shard(0, 3))
    other = planned(images, tmp_path / "two" / "run", 2, seed=6)
    shutil.copytree(Shard(0, 3).folder(run), run / "shards" / "again")
    with pytest.raises(BadRun, match="the counts of the shards differ"):
        merge_shards(run)
    shutil.rmtree(run / "shards" / "again")
    shutil.copytree(Shard(0, 2).folder(other), run / "shards" / "0-of-2")
    with pytest.raises(BadRun, match="is no shard of"):
        merge_shards(run)
    three = certified(images, tmp_path / "three" / "run", plan=True).folder
    with pytest.raises(BadRun, match="has no shards yet"):
        merge_shards(three)


@pytest.mark.parametrize(
    ("variables", "shard"),
    [
        ({"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_COUNT": "4", "SLURM_ARRAY_TASK_MIN": "5", "RANK": "0"}, (2, 4)),
        ({"SLURM_PROCID": "3", "SLURM_NTASKS": "16"}, (3, 16)),
        ({"RANK": "0", "WORLD_SIZE": "2"}, (0, 2)),
        ({"AWS_BATCH_JOB_ARRAY_INDEX": "9", "AWS_BATCH_JOB_ARRAY_SIZE": "10"}, (9, 10)),
    ],
    ids=["SLURM array", "SLURM tasks", "torchrun", "AWS Batch"],
)  # fmt: skip
def test_clusters_say_which_shard_it_is(monkeypatch, variables, shard):
    assert shard_of_environment(variables) == Shard(*shard)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert Shard.parse("auto") == Shard(*shard)


def test_kubernetes_says_no_count(monkeypatch):
    monkeypatch.setenv("JOB_COMPLETION_INDEX", "3")
    assert Shard.parse("auto/16") == Shard(3, 16)
    with pytest.raises(BadParameter, match="JOB_COMPLETION_INDEX=3, JOB_COMPLETIONS=: pass --shard 3/16"):
        Shard.parse("auto")


@pytest.mark.parametrize("text", ["3", "3/", "16/16", "-1/4", "a/b", "1.5/4", "auto", "auto/x", "1/1000000", ""])
def test_what_names_no_shard_is_refused(text, monkeypatch):
    for name in ("SLURM_ARRAY_TASK_ID", "SLURM_PROCID", "RANK", "JOB_COMPLETION_INDEX", "AWS_BATCH_JOB_ARRAY_INDEX"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(BadParameter, match="shard"):
        Shard.parse(text)


def test_the_commands(images, tmp_path, monkeypatch):
    (tmp_path / "linear_for_shards.py").write_text("from support import Linear\ndef model():\n    return Linear()\n")
    monkeypatch.chdir(tmp_path)
    given = ["certify", images, "-c", "import:linear_for_shards:model", "-d", "none", "--n", "40", "-o", "run"]
    done = dsmooth(*given, "--plan")
    assert done.code == 0, done.err
    assert "--shard NUMBER/COUNT" in done.out
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    done = dsmooth(*given, "--shard", "auto")
    assert done.code == 0, done.err
    assert "4 of 4 images" in done.err
    assert "when all are done: dsmooth merge run" in done.out
    done = dsmooth("merge", "run")
    assert done.code == 2
    assert "3 of 7 images have no record yet" in done.err
    assert dsmooth(*given, "--shard", "1/2").code == 0
    done = dsmooth("merge", "run")
    assert done.code == 0, done.err
    assert "7 images merged" in done.out
    assert dsmooth("verify", "run", "--images", images, "-c", "import:linear_for_shards:model", "-d", "none").code == 0
    assert dsmooth(*given, "--plan", "--shard", "0/2").code == 2
    assert dsmooth("merge", tmp_path / "nowhere").code == 2
