"""Services on the command line: what is said before money is spent, and what is refused."""

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dsmooth.classifiers.remote import RemoteClassifier
from dsmooth.cli.options import Data, Service
from dsmooth.errors import BadInput
from dsmooth.records.querylog import LOG, read_query_log
from dsmooth.records.store import read_run
from dsmooth.services.rekognition import Rekognition
from dsmooth.services.voting import LabelMap, Presence
from services.servers import SECRETS, Brain, Server, brightness
from support import Done, dsmooth, environment, refused


@pytest.fixture
def folder(tmp_path):
    for i, name in enumerate(("dark", "light")):
        (tmp_path / "images" / name).mkdir(parents=True)
        for j in range(2):
            pixels = np.random.default_rng(j).integers(0, 60, (60, 60, 3)) + 190 * i
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "images" / name / f"{j}.png")
    (tmp_path / "map.json").write_text(json.dumps({"dark": ["Dark", "dim"], "light": ["light"]}))
    return tmp_path


@pytest.fixture(autouse=True)
def credentials(monkeypatch):
    for name, secret in SECRETS.items():
        monkeypatch.setenv(name, secret)


def line_of(*arguments):
    return [sys.executable, "-m", "dsmooth", *map(str, arguments)]


def checked(done, code):
    assert done.code == code, done.err
    assert "Traceback" not in done.err + done.out
    for name, secret in SECRETS.items():
        assert "REGION" in name or secret not in done.err + done.out
    return done


def run(folder, *arguments, code=0):
    return checked(dsmooth(*arguments, cwd=folder), code)


def process(folder, *arguments, code):
    """The same in a process of its own, which has nobody to ask."""
    done = subprocess.run(
        line_of(*arguments), cwd=folder, env=environment(), capture_output=True, text=True, timeout=120, check=False,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    return checked(Done(done.returncode, done.stdout, done.stderr), code)


COMMON = ("-d", "none", "--n0", "10", "--n", "40", "--seed", "1", "-o", "run")


def test_certify_then_recertify_then_report(folder):
    with Server(Brain(brightness)) as server:
        service = ("-c", "azure:image-analysis", "--endpoint", server.url, "--label-map", "map.json")
        done = run(folder, "certify", "images", *service, *COMMON, "--yes")
        assert "azure:image-analysis: 200 queries and 6 for canaries, $0.21 at $1 per 1,000" in done.err
        assert "4 of 4 images certified, 4 with the right label" in done.out
        assert "204 queries sent, $0.20 at list price" in done.out
        asked = server.brain.queries
        again = run(folder, "recertify", "run", "--bound", "cohen", "--alpha", "0.01", "-o", "again")
        assert "4 of 4 images certified (cohen, alpha 0.01, n0 10, n 40; no query was sent)" in again.out
        assert server.brain.queries == asked == 204
    assert "100.0" in run(folder, "report", "run").out
    assert "100.0" in run(folder, "report", "again").out
    written = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    for name, secret in SECRETS.items():
        assert "REGION" in name or secret.rpartition(" ")[2].encode() not in written


def test_a_dry_run_sends_and_writes_nothing(folder):
    before = sorted(folder.rglob("*"))
    with Server(Brain(brightness)) as server:
        service = ("-c", "aws:rekognition", "--endpoint", server.url, "--rate", "5")
        done = run(folder, "certify", "images", *service, *COMMON, "--dry-run", "--max-queries", "100")
        assert "the list price of 2026-11-21; at least 41 s at this rate" in done.err
        assert "the budget runs out after 100 queries: the run will be partial" in done.err
        assert "nothing was sent, nothing was written" in done.out
        assert server.brain.queries == 0
    assert sorted(folder.rglob("*")) == before


def test_an_expensive_run_needs_a_yes(folder):
    before = sorted(folder.rglob("*"))
    with Server(Brain(brightness)) as server:
        service = ("-c", "google:vision", "--endpoint", server.url, "--price", "20")
        done = process(folder, "certify", "images", *service, *COMMON, code=2)
        assert "this would cost $4.12: pass --yes, or raise --ask-above" in done.err
        done = run(folder, "predict", "images", *service, "-d", "none", "--n", "50", code=2)
        assert "this would cost $4.00" in done.err
        assert server.brain.queries == 0
        assert sorted(folder.rglob("*")) == before
        assert "p-value" in run(folder, "predict", "images", *service, "-d", "none", "--n", "20", "--yes").out
        asked = server.brain.queries
        run(folder, "certify", "images", *service, *COMMON, "--max-dollars", "0.5", code=3)  # below $1: no question
        assert server.brain.queries == asked + 25


def test_a_spent_budget_is_one_line_exit_3_and_resumable(folder):
    with Server(Brain(brightness)) as server:
        service = ("-c", f"{server.url}/x", "--label-map", "map.json")
        done = process(folder, "certify", "images", *service, *COMMON, "--max-queries", "120", code=3)
        assert [line for line in done.err.splitlines() if line.startswith("dsmooth: ")] == [
            "dsmooth: the budget of 120 queries is spent; the run is partial, continue with --resume and a higher "
            "--max-queries or --max-dollars"
        ]
        assert server.brain.queries == 120
        done = run(folder, "certify", "images", *service, *COMMON, "--resume")
        assert "queries of this run are already answered" in done.err
    assert len(read_run(folder / "run").records) == 4
    assert len(read_query_log(folder / "run" / LOG).entries) == 200


def test_an_interruption_is_quick_even_when_the_service_hangs(folder):
    with Server(Brain(brightness, lambda count: "hang" if count > 60 else None)) as server:
        arguments = ["certify", "images", "-c", f"{server.url}/x", *COMMON, "--time-limit", "100"]
        process = subprocess.Popen(
            line_of(*arguments), cwd=folder, env=environment(), stderr=subprocess.PIPE, text=True
        )
        deadline = time.monotonic() + 60
        while server.brain.queries < 64 and time.monotonic() < deadline:  # two batches, of which one may be answered
            time.sleep(0.01)
        started = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        assert time.monotonic() - started < 10
        assert process.returncode == 130
        assert "Traceback" not in errors
    with Server(Brain(brightness), port=server.server_port):
        run(folder, *arguments, "--resume")
    assert len(read_run(folder / "run").records) == 4


HTTP = "http://127.0.0.1:9/x"


@pytest.mark.parametrize(
    ("spec", "changes", "message"),
    [
        ("aws:polly", {}, "service must be one of aws:rekognition"),
        ("efficientnet-lite0", {"concurrency": 3}, "got options for services"),
        (HTTP, {"label_map": "none.json"}, "expected a label map .* as JSON"),
        (HTTP, {"label_map": "map.json", "present": "x"}, "two ways to vote"),
        (HTTP, {"threshold": 0.5}, "belongs to --present"),
        (HTTP, {"present": "x", "threshold": 2.0}, "threshold from 0 to 1"),
        (HTTP, {"concurrency": 0}, "concurrency must be a whole number of at least 1"),
        (HTTP, {"rate": 0.0}, "rate must be a number above 0"),
        (HTTP, {"time_limit": float("inf")}, "time-limit must be a number above 0"),
        (HTTP, {"max_queries": -1}, "max-queries must be a whole number of at least 1"),
        (HTTP, {"max_dollars": 1.0}, "pass --price"),
        (HTTP, {"price": float("nan")}, "price must be a number of dollars"),
        (HTTP, {"price": 1e-308, "max_dollars": 1.0}, "price must be a number of dollars"),
        (HTTP, {"concurrency": 10**9}, "concurrency must be a whole number of at most"),
        ("http://[::1", {}, "expected an address"),
        (HTTP, {"wire": "map.json"}, "expected an object with request"),
        (HTTP, {"endpoint": "http://127.0.0.1:9"}, "no --endpoint beside an http:// model"),
    ],
)
def test_bad_options_are_refused(folder, monkeypatch, spec, changes, message):
    monkeypatch.chdir(folder)
    with pytest.raises(BadInput, match=message):
        Service(**{name: Path(value) if name in ("label_map", "wire") else value for name, value in changes.items()}
                ).classifier(spec)  # fmt: skip


@pytest.mark.parametrize(
    "options",
    [
        ("-c", HTTP, "--present", "x", "--threshold", "2"),
        ("-c", HTTP, "--label-map", "deep.json"),
        ("-c", HTTP, "--label-map", "twice.json"),
        ("-c", HTTP, "--wire", "deep.json"),
        ("-c", "http://[::1"),
        ("-c", "aws:rekognition", "--endpoint", "http://[::1"),
        ("-c", HTTP, "--price", "1e-308", "--max-dollars", "1"),
        ("-c", HTTP, "--labels", "twice.csv"),
    ],
)
def test_bad_options_get_one_line_and_leave_nothing(folder, monkeypatch, options):
    monkeypatch.chdir(folder)
    (folder / "deep.json").write_text("[" * 100_000)
    (folder / "twice.json").write_text('{"dark": ["dark"], "dark": ["dim"], "light": ["light"]}')
    (folder / "twice.csv").write_text("file,label,label\ndark/0.png,0,1\n")
    refused(
        folder, "certify", "images", *options, *COMMON, says="expected" if "--price" not in options else "price must"
    )


@pytest.mark.parametrize(
    "options",
    [
        ("-o", "file/run"),
        ("-o", "/proc/run"),
        ("-o", "new/" + "x" * 300),
        ("-o", "x" * 300),
        ("-o", "run", "--certificates", "file/certificates"),
        ("-o", "run", "--certificates", "/proc/certificates"),
    ],
)
def test_where_nothing_can_be_written_nothing_is_asked(folder, monkeypatch, options):
    monkeypatch.chdir(folder)
    (folder / "file").write_text("")
    with Server(Brain(brightness)) as server:
        question = ("-c", f"{server.url}/x", "-d", "none", "--n0", "10", "--n", "40")
        refused(folder, "certify", "images", *question, *options, says="cannot be written")
        assert server.brain.queries == 0


def test_images_that_the_service_does_not_take_leave_no_folder(folder, monkeypatch):
    monkeypatch.setattr(
        Rekognition, "terms", replace(Rekognition.terms, most_bytes=5000)
    )  # five megabytes take minutes
    monkeypatch.chdir(folder)
    with Server(Brain(brightness)) as server:
        question = ("-c", "aws:rekognition", "--endpoint", server.url, "-d", "none", "--n0", "1", "--n", "9", "--yes")
        refused(folder, "certify", "images", *question, "-o", "new/deeper/run", says="this service takes 5,000")
        assert server.brain.queries == 0


@pytest.mark.parametrize("option", [("-c", HTTP), ("-c", "aws:rekognition", "--endpoint", "http://127.0.0.1:9")])
def test_nobody_at_the_other_end_is_known_before_anything_is_written(folder, option, monkeypatch):
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    before = sorted(folder.rglob("*"))
    started = time.monotonic()
    done = run(folder, "certify", "images", *option, *COMMON, "--yes", code=3)
    assert "no answer at http://127.0.0.1:9 (Connection refused): check the address" in done.err
    assert "nothing was sent" in run(folder, "predict", "images", *option, "-d", "none", "--yes", code=3).err
    assert time.monotonic() - started < 20  # it was a minute, of tries
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize("spec", ["aws:rekognition", "google:vision", "azure:image-analysis", "clarifai:general"])
def test_a_dry_run_needs_no_credentials(folder, spec, monkeypatch):
    for name in SECRETS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    done = run(folder, "certify", "images", "-c", spec, *COMMON, "--dry-run")
    assert f"{spec}: 200 queries and 6 for canaries, $" in done.err
    assert "dry run: nothing was sent, nothing was written" in done.out


def test_a_label_map_that_knows_none_of_the_labels_is_said(folder):
    (folder / "other.json").write_text('{"cat": ["tabby"], "dog": ["hound"]}')
    with Server(Brain(brightness)) as server:
        service = ("-c", f"{server.url}/x", "--label-map", "other.json", "-d", "none", "--n", "20")
        done = run(folder, "predict", "images/light/0.png", *service)
        assert done.err.count("none of the first answers") == 1
        assert "its labels are light" in done.err
        assert "none of the first" not in run(folder, "predict", "images", "-c", f"{server.url}/x", "-d", "none").err


def test_tsv_files_are_reported_as_they_stand(folder):
    (folder / "cohen.tsv").write_text("idx\tlabel\tpredict\tradius\tcorrect\ttime\n0\t3\t3\t0.95\t1\t0:00:02.1\n")
    done = run(folder, "report", "cohen.tsv", "--radii", "0", "1")
    assert "| cohen.tsv | 1 | 0.0 | 100.0 | 0.0 |" in done.out
    assert "do not hold alpha, n, sigma or the bound" in done.out
    assert "other files hold no votes" in run(folder, "recertify", "cohen.tsv", code=2).err


@pytest.mark.parametrize(
    ("folders", "rule", "labels"),
    [
        (["bright", "dark"], None, [None, None]),  # votes are the service's own words
        (["dark", "light"], Presence("light"), [None, None]),  # "no light" is not the second folder
        (["light", "no light"], Presence("light"), [0, 1]),
        (["a", "b", "c"], Presence("light"), [None, None, None]),
        (["cat", "dog"], LabelMap({"dog": ["poodle"], "cat": ["tabby"]}), [1, 0]),
        (["0", "1"], LabelMap({"dog": ["poodle"], "cat": ["tabby"]}), [0, 1]),
        (["0", "1"], None, [None, None]),
        (["1", "207"], Presence("light"), [None, None]),  # numbers of other classes
    ],
)
def test_folders_are_labels_where_they_are_named_like_the_votes(tmp_path, folders, rule, labels):
    for folder in folders:
        (tmp_path / folder).mkdir()
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / folder / "x.png")
    remote = RemoteClassifier("http://127.0.0.1:9/x", rule=rule)
    images, _ = Data().open(tmp_path, remote)
    remote.close()
    assert list(images.labels) == labels == [image.label for image in images]
