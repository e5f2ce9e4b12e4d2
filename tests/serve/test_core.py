"""The core under load: who is told to wait, who is given up, what survives the end, and that company changes no vote."""

import contextlib
import http.client
import io
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request

import numpy as np
import pytest
from PIL import Image

from dsmooth import SmoothedClassifier, TorchClassifier
from dsmooth.errors import BadParameter
from dsmooth.images.decoding import read_image
from dsmooth.records.certificate_file import read_certificate
from dsmooth.serve.admission import Queue
from dsmooth.serve.refusals import Refused
from dsmooth.serve.served import Limits
from dsmooth.serve.settings import Settings
from dsmooth.smoothing.chunks import MasterKey
from dsmooth.theory.votes import Phase
from serve.running import NAMES, SIZE, gateway, picture, resident, until
from support import CHECKOUT, Linear, dsmooth


class Gate(Linear):
    """Linear, which can be shut: it waits until it is opened again."""

    def __init__(self):
        super().__init__()
        self.held = [threading.Event(), threading.Event()]  # a list: no part of what is certified
        self.open.set()

    @property
    def open(self):
        return self.held[0]

    @property
    def reached(self):
        return self.held[1]

    def __deepcopy__(self, memo):
        return self

    def forward(self, x):
        if not self.held[0].is_set():
            self.held[1].set()
        assert self.held[0].wait(60)
        return super().forward(x)


def posted(running, file, path="/v1/certify"):
    """A thread that asks, and the list that its answer goes to."""
    answers = []
    thread = threading.Thread(target=lambda: answers.append(running.ask("POST", path, file)))
    thread.start()
    return thread, answers


def noisy(number):
    """A picture of its own, close to the border of the two classes."""
    pixels = np.random.default_rng(number).integers(100, 160, (SIZE, SIZE, 3)).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def test_every_answer_among_many_clients_is_the_one_that_it_would_be_alone(tmp_path):
    files, told = [noisy(i) for i in range(24)], {}
    with gateway(record=tmp_path) as running:

        def ask(start):
            told.update({i: running.ask("POST", "/v1/certify?n=150", files[i]).value for i in range(start, 24, 8)})

        threads = [threading.Thread(target=ask, args=(start,)) for start in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(list(tmp_path.rglob("*.json"))) == 24
    smoothed = SmoothedClassifier(TorchClassifier(Linear(), class_names=NAMES), None, 0.25, backend="eager", workers=1)
    with smoothed:
        question = smoothed.question(n0=20, n=150)
        for i, file in enumerate(files):
            (path,) = tmp_path.glob(f"local/{told[i]['certificate'][:32]}/*.json")
            kept = read_certificate(path)
            image = read_image(io.BytesIO(file), name="image", size=SIZE)
            (tally,) = smoothed.tallies([image], question, MasterKey(kept.key, "os"))
            certificate = tally.certificate(question)
            assert (certificate.answer, tally.digest) == (told[i]["answer"], told[i]["image"])
            assert certificate.estimation.counts == tally.votes(Phase.ESTIMATION).counts
            assert dict(kept.record.estimation["counts"]) == dict(certificate.estimation.counts)


def test_the_queue_lets_in_what_can_be_done_in_time():
    now = [0.0]
    queue = Queue(most_requests=3, deadline=12.5, rate=100.0, clock=lambda: now[0])
    first = queue.enter(600)
    with pytest.raises(Refused, match="600 votes are queued at 100 a second; try again in 2 s") as refused:
        queue.enter(600)
    assert (refused.value.status, refused.value.headers) == (429, {"Retry-After": "2"})
    now[0] = 1.0
    first.count(300)  # faster than was thought
    assert queue.samples == 300
    assert queue.rate > 150
    second, third = queue.enter(600), queue.enter(10)
    with pytest.raises(Refused, match="3 requests are already waiting") as refused:
        queue.enter(1)
    assert refused.value.status == 503
    for place in (first, second, third):
        with place:
            pass
    assert queue.samples == queue.requests == 0
    with pytest.raises(Refused, match="request fewer") as refused:
        queue.enter(1_000_000)
    assert (refused.value.status, refused.value.retry_after) == (400, None)


@pytest.mark.parametrize("sizes", [(120,), (120, 120, 120, 600)], ids=["alike", "large ones among small ones"])
def test_under_lasting_overload_whoever_is_let_in_is_done_in_time(sizes):
    """Three times the capacity for five minutes, votes in turn as the scheduler gives them: nobody is late, nothing idle."""
    now, rate, deadline = [0.0], 100.0, 20.0
    queue = Queue(most_requests=256, deadline=deadline, rate=rate, clock=lambda: now[0])
    rng, waiting, seconds, busy, turns, arrival = random.Random(0), [], [], 0, 3000, 0.0
    for turn in range(turns):
        now[0] = turn * 0.1
        while arrival <= now[0]:
            arrival += rng.expovariate(3 * rate * len(sizes) / sum(sizes))
            with contextlib.suppress(Refused):
                waiting.append((now[0], queue.enter(rng.choice(sizes))))
        busy += bool(waiting)
        if waiting:  # a block of ten votes for the next in turn
            since, place = waiting.pop(0)
            place.count(10)
            if place.left:
                waiting.append((since, place))
            else:
                place.__exit__()
                seconds.append(now[0] + 0.1 - since)
    assert len(seconds) > 0.9 * turns * 10 / 120 / (sum(sizes) / len(sizes) / 120)
    assert max(seconds) <= deadline
    assert busy > 0.99 * turns


def test_idle_time_does_not_count_as_slow():
    now = [0.0]
    queue = Queue(most_requests=3, deadline=12.5, rate=100.0, clock=lambda: now[0])
    now[0] = 1000.0
    with queue.enter(100) as place:
        now[0] = 1001.0
        place.count(100)
    assert queue.rate == pytest.approx(100.0)


def test_at_several_times_the_capacity_refusals_come_at_once_and_the_others_in_time():
    class Slow(Linear):
        def forward(self, x):
            time.sleep(0.001 * len(x))
            return super().forward(x)

    with gateway(Slow(), limits=Limits(deadline=4.0)) as running:
        rate = running.desk.model().queue.rate
        clients = int(3 * 4.0 * rate / 120) + 1
        seconds = {}

        def ask(i):
            started = time.monotonic()
            answer = running.ask("POST", "/v1/certify", noisy(i))
            seconds.setdefault(answer.status, []).append(time.monotonic() - started)
            if answer.status == 429:
                assert int(answer.headers["Retry-After"]) >= 1
                assert "votes are queued" in answer.value["error"]

        threads = [threading.Thread(target=ask, args=(i,)) for i in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    met, late = len(seconds[200]), len(seconds.get(504, []))
    assert set(seconds) <= {200, 429, 504}
    assert met > clients / 10
    assert late <= met / 20, (met, late)  # other programs on the machine slow it down after it was measured
    assert np.median(seconds[429]) < 1.0


def test_what_is_late_expires_and_is_no_certificate_of_fewer_votes(tmp_path):
    module = Gate()
    with gateway(module, limits=Limits(deadline=0.5), record=tmp_path) as running:
        module.open.clear()
        try:
            started = time.monotonic()
            answer = running.ask("POST", "/v1/certify", picture(200))
            assert answer.status == 504
            assert "before the deadline" in answer.value["error"]
            assert 0.4 < time.monotonic() - started < 20
        finally:
            module.open.set()
        assert list(tmp_path.rglob("*.json")) == []
        running.wait_for_idle()
        assert running.ask("POST", "/v1/certify", picture(200)).status == 200
        assert running.metric("dsmooth_rejections_total", reason="expired") == 1


def test_a_prediction_abstains_when_its_time_is_over():
    module = Gate()
    with gateway(module, limits=Limits(deadline=20.0)) as running:
        module.open.clear()
        try:
            started = time.monotonic()
            late = running.ask("POST", "/v1/predict?n=50&deadline=0.4", picture(200))
            assert 0.3 < time.monotonic() - started < 15
            assert running.ask("POST", "/v1/certify?n=50&deadline=0.4", picture(200)).status == 504
        finally:
            module.open.set()
        assert (late.status, late.headers["Dsmooth-Late"], late.headers["Dsmooth-Abstained"]) == (200, "true", "true")
        assert "Dsmooth-Label" not in late.headers
        assert (late.value["answer"], late.value["late"], late.value["votes"]["trials"]) == (None, True, 0)
        running.wait_for_idle()
        answer = running.ask("POST", "/v1/predict?n=50&deadline=10", picture(200))
        assert (answer.value["name"], answer.value["late"], answer.value["votes"]["trials"]) == ("light", False, 50)
        assert "Dsmooth-Late" not in answer.headers
        for wrong in ("0", "-1", "20.1", "nan", "inf", "x", ""):
            refusal = running.ask("POST", f"/v1/predict?deadline={wrong}", picture(200))
            assert (refusal.status, refusal.value["reason"]) == (400, "bad_request"), wrong
        hurried = running.ask("POST", "/v1/certify?n=9000&deadline=0.001", picture(201))
        assert (hurried.status, hurried.headers["Retry-After"]) == (400, None)  # no wait makes that possible


def test_what_has_a_name_of_its_client_is_paid_for_once_also_where_the_client_left():
    module = Gate()
    with gateway(module, cache=False) as running:
        module.open.clear()
        try:
            file = picture(200)
            with socket.create_connection(("127.0.0.1", running.server.port)) as leaving:
                head = (
                    f"POST /v1/certify HTTP/1.1\r\nHost: localhost\r\nIdempotency-Key: a\r\nContent-Length: {len(file)}"
                )
                leaving.sendall(head.encode() + b"\r\n\r\n" + file)
                assert module.reached.wait(30)
            until(lambda: any(line.get("reason") == "closed" for line in running.log))
        finally:
            module.open.set()
        first, again = (running.ask("POST", "/v1/certify", file, Idempotency_Key="a") for _ in range(2))
        assert first.value == again.value
        assert first.value["certificate"].endswith("-1")
        assert running.metric("dsmooth_samples_total") == 120
        assert running.ask("POST", "/v1/certify", file, Idempotency_Key="b").value["certificate"].endswith("-2")
        assert running.ask("POST", "/v1/certify?n=90", file, Idempotency_Key="a").status == 400


def test_what_failed_under_a_name_may_be_asked_again():
    module = Gate()
    with gateway(module, limits=Limits(deadline=0.5)) as running:
        module.open.clear()
        try:
            assert running.ask("POST", "/v1/certify", picture(200), Idempotency_Key="a").status == 504
        finally:
            module.open.set()
        running.wait_for_idle()
        assert running.ask("POST", "/v1/certify", picture(200), Idempotency_Key="a").status == 200


def test_a_client_that_leaves_is_cancelled_and_its_attempt_counts(tmp_path):
    module = Gate()
    with gateway(module, record=tmp_path) as running:
        module.open.clear()
        try:
            file = picture(200)
            with socket.create_connection(("127.0.0.1", running.server.port)) as leaving:
                head = f"POST /v1/certify?n=9000 HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(file)}\r\n\r\n"
                leaving.sendall(head.encode() + file)
                assert module.reached.wait(30)
            running.wait_for_idle()
        finally:
            module.open.set()
        told = running.ask("POST", "/v1/certify", file).value
        assert told["certificate"].endswith("-2")
        until(lambda: any(line.get("reason") == "closed" for line in running.log))
        assert running.metric("dsmooth_samples_total") < 1000  # of 9020 that were asked for and given up


def test_the_end_waits_for_what_is_in_progress_and_lets_in_nothing_new(tmp_path):
    module = Gate()
    with gateway(module, record=tmp_path) as running:
        place = running.ask("POST", "/v1/jobs?n=500", picture(150)).headers["Location"]
        until(lambda: running.ask("GET", place).value["state"] == "done")
        module.open.clear()
        asking, answers = posted(running, picture(200))
        assert module.reached.wait(30)
        running.ask("POST", "/v1/jobs?n=700", picture(151))
        until(lambda: running.desk.model().jobs.requests == 1)
        running.server.stop()
        threading.Timer(0.5, module.open.set).start()
        asking.join(30)
    assert answers[0].status == 200
    kept = [json.loads(path.read_text())["record"]["asked"]["n"] for path in tmp_path.rglob("*.json")]
    assert sorted(kept) == [100, 500, 700]


def test_the_end_does_not_wait_for_ever(capfd):
    module = Gate()
    started = time.monotonic()
    with gateway(module, settings=Settings(port=0, drain=1.0)) as running:
        module.open.clear()
        asking, answers = posted(running, picture(200))
        assert module.reached.wait(30)
        running.server.stop()
        threading.Timer(3.0, module.open.set).start()
        asking.join(30)
    assert time.monotonic() - started < 30
    assert answers[0].status == 503
    assert "closed before the answer came" in answers[0].value["error"]
    assert [line for line in running.log if line.get("reason") == "draining"]
    assert capfd.readouterr().err == ""  # no traceback between the lines of the log


def test_a_folder_that_cannot_be_written_any_more_loses_no_answer_in_silence(tmp_path):
    with gateway(record=tmp_path / "record") as running:
        assert running.ask("POST", "/v1/certify", picture(200)).status == 200
        (tmp_path / "record" / "local").rename(tmp_path / "away")
        (tmp_path / "record" / "local").write_text("in the way")
        answer = running.ask("POST", "/v1/certify", picture(199))
        assert answer.status == 500
        assert "could not be recorded" in answer.value["error"]


def test_where_memory_runs_out_the_votes_start_again_and_are_counted_once(tmp_path):
    class Greedy(Linear):
        def __init__(self):
            super().__init__()
            self.held = [threading.Event()]  # a list: no part of what is certified

        def __deepcopy__(self, memo):
            return self

        def forward(self, x):
            if self.held[0].is_set() and len(x) > 8:
                raise MemoryError("out of memory")
            return super().forward(x)

    module = Greedy()
    with gateway(module, record=tmp_path) as running:
        place = running.ask("POST", "/v1/jobs?n=30000", noisy(1)).headers["Location"]
        until(lambda: running.ask("GET", place).value["votes"]["estimation"]["trials"] > 500)
        module.held[0].set()
        until(lambda: running.ask("GET", place).value["state"] == "done", seconds=120)
        votes = running.ask("GET", place).value["votes"]
    assert (votes["selection"]["trials"], votes["estimation"]["trials"]) == (20, 30_000)
    (path,) = tmp_path.rglob("*.json")
    record = read_certificate(path).record
    assert record.batch[0] <= 8
    assert dsmooth("verify", path).code == 4  # consistent: the packed votes are those of the counts


class Turncoat(Linear):
    """Answers the other class from some time on."""

    def __init__(self):
        super().__init__()
        self.turned = [False]  # a list: no part of what is certified

    def __deepcopy__(self, memo):
        return self

    def forward(self, x):
        logits = super().forward(x)
        return logits.flip(1) if self.turned[0] else logits


def test_a_classifier_that_changes_its_mind_is_found_out_and_the_server_is_not_ready():
    module = Turncoat()
    with gateway(module, cache=False) as running:
        assert running.ask("GET", "/v2/health/ready").status == 200
        module.turned[0] = True
        place = running.ask("POST", "/v1/jobs?n=60000", picture()).headers["Location"]
        until(lambda: running.ask("GET", place).value["state"] == "failed", seconds=60)
        assert "answers" in running.ask("GET", place).value["error"]
        assert "differently than at the start" in running.ask("GET", place).value["error"]
        assert [running.ask("GET", f"/v2/{what}").status for what in ("health/live", "health/ready")] == [200, 503]
        assert running.ask("GET", "/v2/models/default/ready").status == 503
        assert running.ask("POST", "/v1/certify", picture()).status == 500


def test_a_size_is_needed_where_the_classifier_has_none():
    from dsmooth.serve.served import Served

    with (
        SmoothedClassifier(Linear(), None, 0.25, workers=1, backend="eager") as smoothed,
        pytest.raises(BadParameter, match="set one with --size"),
    ):
        Served("default", smoothed, terms={}, limits=Limits())


COMMAND = [
    sys.executable, "-m", "dsmooth", "serve", "-c", "import:support:Linear", "-d", "none", "--size", "16", "--n0", "20",
    "--n", "100", "--port", "0", "--backend", "eager", "--workers", "1",
]  # fmt: skip


def test_the_program_serves_and_ends_with_0_on_sigterm(tmp_path):
    record = tmp_path / "record"
    with subprocess.Popen(
        [*COMMAND, "--record", str(record)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": CHECKOUT},
    ) as program:  # fmt: skip
        try:
            assert "samples per second" in program.stdout.readline()
            line = program.stdout.readline()
            assert line.startswith("listening on http://127.0.0.1:"), line
            port = int(line.partition(",")[0].rpartition(":")[2])
            address = f"http://127.0.0.1:{port}/v1/certify"
            with urllib.request.urlopen(address, picture(200), timeout=60) as answer:
                assert answer.headers["Dsmooth-Label"] == "1"
        finally:
            program.send_signal(signal.SIGTERM)
        _, log = program.communicate(timeout=60)
        assert program.returncode == 0, log
    assert "Traceback" not in log
    assert json.loads(log.splitlines()[0])["status"] == 200
    assert len(list(record.rglob("*.json"))) == 1


def test_a_server_that_is_killed_under_load_loses_no_certificate_that_it_told(tmp_path):
    def begun():
        program = subprocess.Popen(
            [*COMMAND, "--record", str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env={**os.environ, "PYTHONPATH": CHECKOUT},
        )  # fmt: skip
        program.stdout.readline()
        return program, program.stdout.readline().split()[2].rstrip(",")

    def asked(address, file):
        with urllib.request.urlopen(f"{address}/v1/certify", file, timeout=60) as answer:
            return json.loads(answer.read()), answer.headers["Dsmooth-Cached"]

    told, told_enough = {}, threading.Event()

    def ask(client, address):
        with contextlib.suppress(OSError, http.client.HTTPException):  # until it is killed
            for number in range(client, 10_000, 4):
                told[number] = asked(address, noisy(number))[0]
                if len(told) >= 12:
                    told_enough.set()

    program, address = begun()
    with program:
        threads = [threading.Thread(target=ask, args=(client, address)) for client in range(4)]
        for thread in threads:
            thread.start()
        assert told_enough.wait(60)
        program.kill()
        for thread in threads:
            thread.join()
    program, address = begun()
    with program:
        try:
            for answer in told.values():
                with urllib.request.urlopen(f"{address}/v1/certificates/{answer['certificate']}", timeout=60) as found:
                    assert json.loads(found.read())["record"]["answer"] == answer["answer"]
            number, answer = next(iter(told.items()))
            assert asked(address, noisy(number)) == ({**answer, "cached": True}, "true")
        finally:
            program.terminate()


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_ten_minutes_of_sixteen_clients_lose_nothing_and_need_no_more_memory(tmp_path):
    """Every answer is recorded once, and the one that its key gives alone; memory stays within 5 %, half against half."""
    names, sizes, asked, end = [], [], {}, time.monotonic() + 600
    with gateway(record=tmp_path, cache=False) as running:

        def ask(client):
            number = client
            while time.monotonic() < end:
                answer = running.ask("POST", "/v1/certify", noisy(number % 4000))
                assert answer.status in (200, 429, 503)
                if answer.status == 200:
                    names.append(answer.headers["Dsmooth-Certificate"])
                    asked[names[-1]] = number % 4000
                number += 16

        threads = [threading.Thread(target=ask, args=(client,)) for client in range(16)]
        for thread in threads:
            thread.start()
        time.sleep(120)  # all buffers have their size
        while time.monotonic() < end - 5:
            running.log.clear()  # the test's own
            sizes.append(resident())
            time.sleep(5)
        for thread in threads:
            thread.join()
    assert len(set(names)) == len(names) > 1000
    assert len(list(tmp_path.rglob("*.json"))) == len(names)
    smoothed = SmoothedClassifier(TorchClassifier(Linear(), class_names=NAMES), None, 0.25, backend="eager", workers=1)
    with smoothed:
        for name in random.Random(0).sample(names, 500):
            (path,) = tmp_path.glob(f"local/{name[:32]}/{name[33:]}-*.json")
            kept = read_certificate(path)
            image = read_image(io.BytesIO(noisy(asked[name])), name="image", size=SIZE)
            (tally,) = smoothed.tallies([image], smoothed.question(n0=20, n=100), MasterKey(kept.key, "os"))
            assert dict(kept.record.estimation["counts"]) == dict(tally.votes(Phase.ESTIMATION).counts)
            assert kept.record.image == tally.digest
    half = len(sizes) // 2
    assert np.median(sizes[half:]) < 1.05 * np.median(sizes[:half]), sizes
