"""Runs of many images are read and verified one record at a time: in a memory that hardly grows, and in linear time."""

import hashlib
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from dsmooth.errors import BadRun
from dsmooth.records.digests import digest_image, digest_json
from dsmooth.records.keys import commitment_of, reveal
from dsmooth.records.record_file import in_order
from dsmooth.records.schema import votes_to_json
from dsmooth.records.store import RunWriter, open_run, read_run
from dsmooth.runs.shards import Shard
from dsmooth.smoothing.chunks import GENERATOR, MasterKey
from dsmooth.theory.votes import Votes
from small_runs import HEADER, KEY, QUESTION, record, written
from support import different_images, environment

PEAK = """
import sys, time
from pathlib import Path

def peak():
    status = Path("/proc/self/status").read_text()
    return 1024 * int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))

folder = Path(sys.argv[1])
"""
VERIFY = f"""{PEAK}
from dsmooth.images.opening import open_images
from dsmooth.runs.verify import Outcome, read_evidence, verify_evidence

before, started = peak(), time.process_time()
evidence = read_evidence(folder / "run")
for check in verify_evidence(evidence, open_images(folder / "images.npz")):
    assert check.outcome is Outcome.HOLDS, check
print(evidence.count, time.process_time() - started, peak() - before)
"""
REPORT = f"""{PEAK}
from dsmooth.cli import app

before, started = peak(), time.process_time()
try:
    app(["report", str(folder / "run"), "--dossier"])
except SystemExit as end:
    assert not end.code
count = sum(1 for _ in (folder / "run" / "report" / "run.tsv").open()) - 1
print(count, time.process_time() - started, peak() - before)
"""
EXPORT = f"""{PEAK}
from dsmooth.cli import app

before, started = peak(), time.process_time()
try:
    app(["export", str(folder / "run"), "--csv", str(folder / "x.csv"), "--parquet", str(folder / "x.parquet")])
except SystemExit as end:
    assert not end.code
print(sum(1 for _ in (folder / "x.csv").open()) - 1, time.process_time() - started, peak() - before)
"""


MERGE = f"""{PEAK}
from dsmooth.runs.shards import merge_shards

before, started = peak(), time.process_time()
merged = merge_shards(folder / "run")
assert merged.key is not None
print(sum(1 for _ in merged.records), time.process_time() - started, peak() - before)
"""
WRITE = f"""{PEAK}
from dsmooth.records.store import RunWriter
from small_runs import HEADER, KEY, record

before, started = peak(), time.process_time()
count, one = int((folder / "count").read_text()), record()
with RunWriter(folder / "run", {{**HEADER, "data": None, "listing": "l", "images": count}}, KEY, resume=False) as writer:
    for i in range(count):
        writer.append(replace(one, index=i, name=f"image-{{i}}.png"))
    writer.finish()
    run = writer.run()
assert run.data is not None
print(sum(1 for _ in run.records), time.process_time() - started, peak() - before)
""".replace("import sys, time", "import sys, time; from dataclasses import replace")


class Invented:
    """So many images of five pixels, and the records of a run of them, as if it had been certified."""

    def __init__(self, folder, count):
        pixels = different_images(count, 7, (1, 5, 1))
        np.savez(folder / "images.npz", images=pixels, labels=np.ones(count, np.int64))
        self.digests = [digest_image(image) for image in pixels]
        self.asked = replace(QUESTION, n0=10, n=20, generator=GENERATOR)
        data = digest_json([[str(i), 1, digest] for i, digest in enumerate(self.digests)])
        self.header = {**HEADER, "question": self.asked.to_json(), "data": data, "images": count}

    def begin(self, run):
        RunWriter(run, self.header, KEY, resume=False).__exit__(None, None, None)

    def write(self, run, chosen, *, shared):
        """The records of these images in a run folder that was begun; the digest of the last. shared: one file of votes."""
        with RunWriter(run, self.header, KEY, resume=True) as writer:
            sidecar = writer.sidecar(0)
            sidecar.add([1] * 30)
            votes = sidecar.close()  # the votes of all images are the same
        content = (run / votes["file"]).read_bytes()
        made = record(
            asked={"n0": 10, "n": 20, "generator": GENERATOR}, shape=(1, 5, 1), batch=(4, 1, 1, 5), decoding=(),
            selection=votes_to_json(Votes({1: 10}, 10)), estimation=votes_to_json(Votes({1: 20}, 20)), drawn=30,
            votes=votes,
        )  # fmt: skip
        last, key = hashlib.sha256((run / "run.json").read_bytes()).hexdigest(), MasterKey(KEY, "os")
        with (run / "records.jsonl").open("w") as file:
            for i in chosen:
                streams = {p.value: stream.hex() for p, stream in key.streams(self.asked, self.digests[i]).items()}
                told = {"commitment": commitment_of(KEY), "source": "os", **streams}
                one = replace(made, index=i, name=str(i), image=self.digests[i], key=told)
                if not shared:
                    one = replace(one, votes={**votes, "file": f"votes/{i:06d}.votes"})
                    (run / one.votes["file"]).write_bytes(content)
                one = one.sealed(last)
                file.write(f"{one.line()}\n")
                last = one.digest
        return last


def large_run(folder, count):
    """A finished run of so many images, and the images."""
    invented = Invented(folder, count)
    invented.begin(folder / "run")
    reveal(folder / "run", KEY, count, invented.write(folder / "run", range(count), shared=True))


def large_shards(folder, count):
    """A planned run of so many images, and its four shards, which are done."""
    invented = Invented(folder, count)
    invented.begin(folder / "run")
    (folder / "run" / "shards").mkdir()
    for shard in (Shard(number, 4) for number in range(4)):
        invented.begin(shard.folder(folder / "run"))
        invented.write(shard.folder(folder / "run"), shard.positions(count), shared=False)


def spent(code, folder):
    """Seconds of the processor that it took, and bytes beyond those of a process that has done nothing yet."""
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    count, seconds, memory = done.stdout.splitlines()[-1].split()
    print(f"{int(count):,} records: {float(seconds):.1f} s, {int(memory) / 1e6:.0f} MB")  # with -s
    return float(seconds), int(memory)


def test_a_large_run_is_verified_in_little_memory(tmp_path):
    large_run(tmp_path, 10_000)
    assert spent(VERIFY, tmp_path)[1] < 60e6  # 36 MB, modules included; 77 MB with all records in memory


@pytest.mark.slow
def test_the_time_grows_with_the_records_and_the_memory_hardly(tmp_path):
    times = {}
    for count in (10_000, 100_000):
        (tmp_path / str(count)).mkdir()
        large_run(tmp_path / str(count), count)
        times[count], memory = spent(VERIFY, tmp_path / str(count))
    assert memory < 200e6
    assert times[100_000] < 20 * times[10_000]


@pytest.mark.slow
def test_a_hundred_thousand_records_would_be_merged_in_little_memory(tmp_path):
    """By the line through two sizes."""
    found = {}
    for count in (1_000, 5_000):
        (tmp_path / str(count)).mkdir()
        large_shards(tmp_path / str(count), count)
        found[count] = spent(MERGE, tmp_path / str(count))
    for_one = (found[5_000][1] - found[1_000][1]) / 4_000
    assert found[5_000][1] + 95_000 * for_one < 200e6


@pytest.mark.slow
def test_a_hundred_thousand_records_would_be_written_and_sealed_in_little_memory(tmp_path):
    found = {}
    for count in (1_000, 5_000):
        (tmp_path / str(count)).mkdir()
        (tmp_path / str(count) / "count").write_text(str(count))
        found[count] = spent(WRITE, tmp_path / str(count))
    for_one = (found[5_000][1] - found[1_000][1]) / 4_000
    assert found[5_000][1] + 95_000 * for_one < 200e6


@pytest.mark.slow
@pytest.mark.parametrize("code", [REPORT, EXPORT], ids=["report", "export"])
def test_a_million_records_would_be_reported_and_exported_in_half_a_gigabyte(tmp_path, code):
    """By the line through two sizes, both of several batches of rows: a smaller run fills none."""
    found = {}
    for count in (25_000, 50_000):
        (tmp_path / str(count)).mkdir()
        large_run(tmp_path / str(count), count)
        found[count] = spent(code, tmp_path / str(count))
    assert found[50_000][0] < 3 * found[25_000][0]
    for_one = (found[50_000][1] - found[25_000][1]) / 25_000
    assert found[50_000][1] + 950_000 * for_one < 500e6


def test_records_are_read_by_their_number_and_in_the_order_of_their_images(tmp_path):
    with RunWriter(tmp_path / "run", HEADER, KEY, resume=False) as writer:
        for i in (2, 0, 1):
            writer.append(record(i))
    held, run = read_run(tmp_path / "run").records, open_run(tmp_path / "run")
    assert [one.index for one in in_order(run.records)] == [one.index for one in in_order(held)] == [0, 1, 2]
    assert [run.records[0], run.records[-1], run.records[1:]] == [held[0], held[-1], held[1:]]
    with pytest.raises(IndexError):
        _ = run.records[3]
    path = tmp_path / "run" / "records.jsonl"
    path.write_bytes(path.read_bytes().replace(b"image-0.png", b"image-9.png"))
    assert run.records[0].index == 2
    for reading in (lambda: run.records[1], lambda: list(in_order(run.records)), lambda: list(run.records)):
        with pytest.raises(BadRun, match="that were there before"):
            reading()


def test_records_are_the_same_each_time_they_are_gone_through(tmp_path):
    run = open_run(written(tmp_path / "run"))
    records = run.records
    assert len(records) == run.images == 3
    assert list(records) == list(records) == read_run(tmp_path / "run").records
    assert next(iter(records)).index == 0


def test_records_that_are_appended_meanwhile_are_left_out(tmp_path):
    records = open_run(written(tmp_path / "run", 2)).records
    with RunWriter(tmp_path / "run", HEADER, KEY, resume=True) as writer:
        writer.append(record(2))
    assert [one.index for one in records] == [0, 1]


@pytest.mark.parametrize("change", ["others", "fewer"])
def test_records_that_were_replaced_meanwhile_are_noticed(tmp_path, change):
    records = open_run(written(tmp_path / "run")).records
    if change == "others":
        written(tmp_path / "other", 1)
        with RunWriter(tmp_path / "other", HEADER, KEY, resume=True) as writer:
            writer.append(record(2))
            writer.append(record(1))
        (tmp_path / "other" / "records.jsonl").replace(tmp_path / "run" / "records.jsonl")
    else:
        whole = (tmp_path / "run" / "records.jsonl").read_bytes().splitlines(keepends=True)
        (tmp_path / "run" / "records.jsonl").write_bytes(b"".join(whole[:2]))
    with pytest.raises(BadRun, match="that were there before"):
        list(records)
