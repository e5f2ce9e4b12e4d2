"""Runs that ask a service: budgets, kills, and the same certificates from the log."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from dsmooth import BadParameter, BadRun, Cohen, RemoteClassifier, ServiceStopped, SmoothedClassifier, open_images
from dsmooth.records.digests import canonical_json
from dsmooth.records.querylog import LOG, read_query_log
from dsmooth.records.schema import certificate_of, radius_text, votes_from_json
from dsmooth.records.store import read_run
from dsmooth.runs.again import certified_anew
from dsmooth.runs.certify import certify_run
from dsmooth.runs.identity import same_version
from dsmooth.runs.recertify import recertify
from dsmooth.runs.verify import Outcome, read_evidence
from dsmooth.services.gate import Limits
from dsmooth.services.voting import LabelMap, Presence
from forging import Forger
from services.servers import Brain, Server, brightness
from support import ROOT

CLASSES = LabelMap({"dark": ["dark"], "light": ["light"]})


@pytest.fixture
def images(tmp_path):
    pixels = np.random.default_rng(0).integers(80, 176, (6, 6, 5, 3)).astype(np.uint8)
    pixels[0], pixels[1] = 3, 250
    np.savez(tmp_path / "images.npz", images=pixels, labels=np.arange(6) % 2)
    return tmp_path / "images.npz"


def run(url, images, out, *, rule=CLASSES, limits=None, **options):
    remote = RemoteClassifier(f"{url}/x", rule=rule, limits=limits or Limits(concurrency=8, time_limit=2.0))
    smoothed = SmoothedClassifier(remote, None, 0.5, certifier=options.pop("certifier", None))
    try:
        return certify_run(smoothed, open_images(images), out, **{"n0": 5, "n": 30, **options})
    finally:
        remote.close()


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    pixels = np.random.default_rng(0).integers(80, 176, (6, 6, 5, 3)).astype(np.uint8)
    np.savez(folder / "images.npz", images=pixels, labels=np.arange(6) % 2)
    with Server(Brain(brightness)) as server:
        run(server.url, folder / "images.npz", folder / "run")
    return folder / "run"


@pytest.fixture
def copy(finished, tmp_path):
    """A copy of a finished run, to be looked at and damaged."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


def facts(records):
    return [(r.name, r.image, r.label, r.selection, r.estimation, r.answer, r.radius) for r in records]


def test_certificates_from_the_log_are_those_of_the_run_to_the_last_digit(tmp_path, images):
    with Server(Brain(lambda pixels: [] if pixels.sum() % 17 == 3 else brightness(pixels))) as server:
        online = run(server.url, images, tmp_path / "run", seed=1)
    assert sum(record.estimation["missing"] for record in online.records) > 2
    again = recertify(tmp_path / "run", out=tmp_path / "again").write(tmp_path / "again")
    assert facts(again.records) == facts(online.records)
    assert not any(record.chosen_afterwards for record in again.records)
    assert again.question == online.question
    other = recertify(tmp_path / "run" / LOG, bound="cohen", alpha=0.01)
    for record, held in zip(other.records, online.records, strict=True):
        selection, estimation = votes_from_json(held.selection), votes_from_json(held.estimation)
        expected = Cohen().certify(selection, estimation, held.law, alpha=0.01, dim=held.dim)
        assert (record.answer, record.radius) == (expected.answer, radius_text(expected.radius))
        assert record.chosen_afterwards
        assert record.asked == held.asked
    assert read_run(tmp_path / "again").header["recertified"]["from"] == "run"


def test_the_record_holds_what_was_asked(finished):
    record = read_run(finished).records[0]
    assert record.service["version"] == "3.0"
    assert record.service["provider"].startswith("http://127.0.0.1:")
    assert record.service["voting"]["rule"] == "label map"
    assert "PNG" in record.service["preparation"]
    assert record.service["log"] == LOG


def test_other_alpha_n_bound_and_rule_from_one_log(tmp_path, images):
    with Server(Brain(brightness)) as server:
        run(server.url, images, tmp_path / "run", seed=1, certifier=Cohen())
        asked = server.brain.queries
    offline = recertify(tmp_path / "run", n0=3, n=15, alpha=0.05)
    for record in offline.records:
        assert (record.selection["trials"], record.estimation["trials"]) == (3, 15)
        assert certificate_of(record).certifier == "cohen"
    assert facts(recertify(tmp_path / "run", bound="multiclass").records) != facts(read_run(tmp_path / "run").records)
    mapped = recertify(tmp_path / "run", rule=LabelMap({"light": ["light"], "dark": ["dark"]}))
    for new, old in zip(mapped.records, read_run(tmp_path / "run").records, strict=True):
        assert (new.label, new.answer) == (1 - old.label, None if old.answer is None else 1 - old.answer)
        assert new.radius == old.radius
    present = recertify(tmp_path / "run", rule=Presence("light", 0.9), out=tmp_path / "present")
    assert {record.name: record.answer for record in present.records}["1"] in (0, 1)
    assert read_run(present.write(tmp_path / "present").folder).header["class_names"] == ["light", "no light"]
    assert asked == server.brain.queries


def test_votes_of_another_version_of_a_service_are_not_those_of_this_one(tmp_path, images):
    with Server(Brain(brightness)) as server:
        made = run(server.url, images, tmp_path / "runs" / "x" / "run")
        remote = RemoteClassifier(f"{server.url}/x", rule=CLASSES, limits=Limits(concurrency=8, time_limit=2.0))
        with SmoothedClassifier(remote, None, 0.5) as smoothed:
            assert len(list(certified_anew(read_evidence(made.folder), open_images(images), lambda r: smoothed))) == 6
        remote.close()
    assert not list(same_version(read_evidence(made.folder), remote))
    forger = Forger(tmp_path, tmp_path, "x")
    forger.change(1, claim=False, service={**forger.records[1].service, "version": "4.0, audited"})
    (check,) = same_version(read_evidence(forger.seal()), remote)
    assert check.outcome is Outcome.OPEN
    assert "of model version '4.0, audited', but the service is now at '3.0'" in check.detail


def rewritten(path, change):
    """The log with its lines changed, and sealed as if it had always been so."""
    from dsmooth.records.querylog import _sealed

    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        del line["seal"]
    seal, text = "", ""
    for line in change(lines):
        seal = _sealed(seal, canonical_json(line))
        text += canonical_json({**line, "seal": seal}) + "\n"
    path.write_text(text)


def without_one(lines):
    answers = [i for i, line in enumerate(lines) if line["kind"] == "answer" and line["at"][1] == "estimation"]
    return [line for i, line in enumerate(lines) if i != answers[7]]


def with_another_label(lines):
    answers = [line for line in lines if line["kind"] == "answer"]
    for tag in answers[-1]["raw"]["labels"]:
        tag["name"] = "light" if tag["name"] == "dark" else "dark"
    return lines


def of_another_key(lines):
    return [{**lines[0], "key_commitment": "0" * 64}, *lines[1:]]


def with_drift(lines):
    return [*lines, {"kind": "drift", "why": "a test", "raw": {}}]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without_one, r"sample \d+ \(estimation\) of image \w+ is missing"),
        (with_another_label, "give different votes for 5 than the run's record"),
        (of_another_key, "expected the log of this run"),
        (with_drift, "votes are not those of one function"),
    ],
)
def test_logs_that_cannot_be_trusted_are_refused(copy, change, message):
    rewritten(copy / LOG, change)
    with pytest.raises(BadRun, match=message):
        recertify(copy)


def test_what_no_log_can_give_is_refused(tmp_path, finished):
    for changes in ({"n": 31}, {"n0": 6}, {"n": 0}, {"alpha": 1.0}, {"bound": "best"}):
        with pytest.raises(BadParameter):
            recertify(finished, **changes)
    (tmp_path / "cohen.tsv").write_text("idx\tlabel\tpredict\tradius\tcorrect\ttime\n")
    with pytest.raises(BadRun, match="other files hold no votes"):
        recertify(tmp_path / "cohen.tsv")
    with pytest.raises(BadRun, match="expected a run on a service"):
        recertify(tmp_path / "nothing")


def test_no_torch_and_no_network(tmp_path, copy):
    code = (
        "import atexit, sys, socket\n"
        "def refuse(*a, **k): raise AssertionError('the network')\n"
        "socket.socket.connect = refuse\n"
        "sys.argv = ['dsmooth', 'recertify', 'run', '--bound', 'cohen', '--out', 'again']\n"
        "atexit.register(lambda: print([m for m in ('torch', 'boto3', 'requests', 'grpc') if m in sys.modules]))\n"
        "from dsmooth.cli import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("[]")
    assert len(read_run(tmp_path / "again").records) == 6


def test_a_spent_budget_leaves_finished_images_certified_and_the_rest_to_resume(tmp_path, images):
    brain = Brain(brightness)
    with Server(brain) as server:
        with pytest.raises(ServiceStopped, match="budget of 100 queries is spent"):
            run(server.url, images, tmp_path / "run", seed=1, limits=Limits(max_queries=100))
        assert brain.queries == 100
        partial = read_run(tmp_path / "run")
        assert 0 < len(partial.records) < 6
        offline = recertify(tmp_path / "run")
        assert facts(offline.records) == facts(partial.records)
        assert offline.unfinished > 0
        whole = run(server.url, images, tmp_path / "run", resume=True)
        assert brain.queries == 6 * 35 + 2 * 3  # two canaries: at both starts, and at the end
        assert sorted(count for count in brain.seen.values() if count > 1) == [3, 3]
        undisturbed = run(server.url, images, tmp_path / "undisturbed", seed=1)
    assert facts(whole.records) == facts(undisturbed.records)


SCRIPT = """
import sys
from pathlib import Path
from dsmooth import RemoteClassifier, SmoothedClassifier, open_images
from dsmooth.runs.certify import certify_run
from dsmooth.services.gate import Limits
from dsmooth.services.voting import LabelMap

url, images, out, resume = sys.argv[1:]
rule = LabelMap({"dark": ["dark"], "light": ["light"]})
remote = RemoteClassifier(url + "/x", rule=rule, limits=Limits(concurrency=8))
certify_run(SmoothedClassifier(remote, None, 0.5), open_images(images), Path(out), n0=5, n=30,
            seed=1, resume=resume == "resume")
"""


def answers_in(log):
    return log.read_bytes().count(b'"kind":"answer"') if log.exists() else 0


@pytest.mark.slow
def test_ten_kills_lose_no_answer_and_ask_none_twice(tmp_path, images):
    brain = Brain(brightness, latency=0.02)
    log = tmp_path / "run" / LOG
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests")])}
    with Server(brain) as server:
        for kill in range(11):
            mode = "resume" if (tmp_path / "run" / "run.json").exists() else "new"
            line = [sys.executable, "-c", SCRIPT, server.url, str(images), str(tmp_path / "run"), mode]
            known = {} if not log.exists() else read_query_log(log).entries
            before = brain.seen.copy()
            process = subprocess.Popen(line, env=environment, stderr=subprocess.PIPE, text=True)
            deadline = time.monotonic() + 100
            while kill < 10 and answers_in(log) < 18 * (kill + 1) and process.poll() is None:
                assert time.monotonic() < deadline
                time.sleep(0.002)
            if kill < 10:
                process.send_signal(signal.SIGKILL)
            _, errors = process.communicate(timeout=100)
            assert process.returncode == (-signal.SIGKILL if kill < 10 else 0), errors
            asked_again = {entry.picture for entry in known.values()} & set(brain.seen - before)
            assert not asked_again, f"{len(asked_again)} answered queries were sent again after kill {kill}"
        undisturbed = run(server.url, images, tmp_path / "undisturbed", seed=1)
    assert facts(read_run(tmp_path / "run").records) == facts(undisturbed.records)
    assert facts(recertify(tmp_path / "run").records) == facts(undisturbed.records)
    assert len(read_query_log(log).entries) == 6 * 35
    assert read_query_log(log).tries >= 6 * 35
