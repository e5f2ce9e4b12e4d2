"""What one client could use up for all others: memory, threads, connections, the server's opinion of its own speed."""

import contextlib
import json
import socket
import threading
import time

import numpy as np
import pytest

from dsmooth.serve.admission import Queue
from dsmooth.serve.callers import Caller
from dsmooth.serve.guard import Guard
from dsmooth.serve.jobs import Jobs
from dsmooth.serve.refusals import Refused
from dsmooth.serve.settings import Settings
from dsmooth.serve.showing import Shows
from serve.running import SIZE, gateway, picture, until
from serve.test_core import Gate, posted
from serve.test_guard import hashed, post, received


def test_a_rate_that_fell_shuts_the_door_for_half_a_minute_and_not_for_ever():
    now = [0.0]
    queue = Queue(most_requests=3, deadline=60.0, rate=100.0, clock=lambda: now[0])
    with queue.enter(600) as place:
        now[0] = 300.0  # the machine slept, or the service behind hung
        place.count(5)
    with pytest.raises(Refused, match="0 votes are queued") as refused:
        queue.enter(600)
    assert (refused.value.status, refused.value.reason) == (429, "overloaded")  # no fault of the request
    assert refused.value.retry_after <= 60.0
    with pytest.raises(Refused, match="request fewer"):  # never possible, as far as anybody knows
        queue.enter(6000)
    now[0] += 31.0
    with queue.enter(600) as place:
        with pytest.raises(Refused, match="600 votes are queued"):  # one is enough to see how fast it is
            queue.enter(600)
        for _ in range(60):
            now[0] += 0.1
            place.count(10)
    assert 80.0 < queue.rate < 101.0
    queue.enter(600)


@pytest.mark.parametrize("deadline", [None, 5.0])
def test_a_server_that_started_on_a_busy_machine_finds_out_that_it_is_fast(deadline):
    now = [0.0]
    queue = Queue(most_requests=3, deadline=60.0, rate=2.0, usual=120, clock=lambda: now[0])
    with pytest.raises(Refused) as refused:
        queue.enter(120, deadline)
    assert refused.value.status == (429 if deadline is None else 400)
    now[0] += 31.0
    with pytest.raises(Refused, match="request fewer"):
        queue.enter(1000)  # nobody knows that
    with queue.enter(120) as place:
        now[0] += 1.0
        place.count(120)
    assert queue.rate > 50.0
    queue.enter(1000, deadline and 40.0)


def hang_up_in_the_middle(running, path, file):
    with socket.create_connection(("127.0.0.1", running.server.port)) as leaving:
        leaving.sendall(post(path, file))
        until(lambda: running.desk.aside._work_queue.qsize() or running.reached.is_set())


def test_who_leaves_the_page_makes_no_room_for_more_work(monkeypatch):
    opened, reached, shown = threading.Event(), threading.Event(), []

    def show(self, pixels):
        reached.set()
        assert opened.wait(60)
        shown.append(pixels)
        raise Refused("bad_request", "enough")

    monkeypatch.setattr(Shows, "show", show)
    with gateway() as running:
        running.reached = reached
        try:
            for _ in range(4):
                before = len(running.log)
                hang_up_in_the_middle(running, "/v1/show", picture())
                until(lambda before=before: len(running.log) > before)
            assert {line["reason"] for line in running.log} == {"closed"}
            refused = running.ask("POST", "/v1/show", picture())
            assert (refused.status, refused.headers["Retry-After"]) == (503, "3")
        finally:
            opened.set()
        until(lambda: len(shown) == 4)  # what was begun is finished, and then there is room again
        until(lambda: running.ask("POST", "/v1/show", picture()).status == 400)
        assert running.complaints == []


def test_pictures_whose_clients_left_take_so_much_memory_and_no_more(monkeypatch):
    monkeypatch.setattr("dsmooth.serve.jobs._MOST_BYTES", 3 * len(picture()))
    module = Gate()
    with gateway(module) as running:
        module.open.clear()
        try:
            asking = [posted_once(running, spot) for spot in range(3)]
            until(lambda: running.desk.model().queue.requests == 3)
            refused = running.ask("POST", "/v1/certify", picture(spot=4), Idempotency_Key="4")
            assert (refused.status, refused.value["reason"]) == (503, "full")
            assert running.ask("POST", "/v1/jobs", picture(spot=4)).status == 503
        finally:
            module.open.set()
        assert [answers[0].status for answers in joined(asking)] == [200] * 3
        assert running.ask("POST", "/v1/certify", picture(spot=4), Idempotency_Key="4").status == 200


def posted_once(running, spot):
    answers = []
    thread = threading.Thread(
        target=lambda: answers.append(running.ask("POST", "/v1/certify", picture(spot=spot), Idempotency_Key=str(spot)))
    )
    thread.start()
    return thread, answers


def joined(asking):
    for thread, answers in asking:
        thread.join(60)
        yield answers


def test_a_caller_pushes_out_its_own_jobs_and_nobody_elses(monkeypatch):
    monkeypatch.setattr("dsmooth.serve.jobs._MOST_KEPT", 3)
    callers = [Caller("alice", hashed("alice-key")), Caller("bob", hashed("bob-key"))]
    alice, bob = ({"Authorization": f"Bearer {name}-key"} for name in ("alice", "bob"))
    with gateway(callers=callers) as running:
        his = running.ask("POST", "/v1/jobs", picture(), Idempotency_Key="once", **bob).headers["Location"]
        hers = []
        for spot in range(6):
            hers.append(running.ask("POST", "/v1/jobs", picture(spot=spot), **alice).headers["Location"])
            until(lambda: running.ask("GET", hers[-1], **alice).value["state"] == "done")
        assert [running.ask("GET", place, **alice).status for place in hers] == [404] * 3 + [200] * 3
        assert running.ask("GET", his, **bob).value["state"] == "done"
        again = running.ask("POST", "/v1/jobs", picture(), Idempotency_Key="once", **bob)
        assert again.headers["Location"] == his


def test_what_is_refused_under_a_name_is_not_kept():
    with gateway() as running:
        for number in range(5):
            answer = running.ask("POST", "/v1/certify", b"no picture", Idempotency_Key=str(number))
            assert answer.status == 400
        jobs = jobs_of(running)
        until(lambda: not jobs._open)
        assert not jobs._once
        assert not any(jobs._jobs.values())
        place = running.ask("POST", "/v1/jobs", b"no picture", Idempotency_Key="job").headers["Location"]
        until(lambda: running.ask("GET", place).value["state"] == "failed")  # its client asks how it went
        assert running.metric("dsmooth_rejections_total", reason="bad_image") == 6


def jobs_of(running) -> Jobs:
    return running.server._own.jobs


def test_a_fault_in_a_job_is_a_line_of_the_log_and_no_traceback(monkeypatch, capfd):
    def broken(*_, **__):
        raise RuntimeError("secret")

    with gateway() as running:
        monkeypatch.setattr("dsmooth.serve.desk.record_of", broken)
        place = running.ask("POST", "/v1/jobs", picture()).headers["Location"]
        until(lambda: running.ask("GET", place).value["state"] == "failed")
        assert running.ask("GET", place).value["error"] == "the server failed; see its log"
        (line,) = running.complaints
        assert line["where"].startswith("test_exhaustion.py:")
        assert "secret" not in json.dumps(running.complaints)
    assert capfd.readouterr().err == ""


def test_strangers_upload_nothing():
    """A body is taken of known callers alone: it would stand in the way of theirs."""
    callers = [Caller("alice", hashed("alice-key"), aws_access_key="AKIDALICE0000000001")]
    with gateway(callers=callers, aws_secrets={"AKIDALICE0000000001": "s"}, body_seconds=30.0) as running:
        for path, status in (("/v1/certify", 401), ("/", 400), ("/v2/models/default/infer", 401)):
            started = time.monotonic()
            with socket.create_connection(("127.0.0.1", running.server.port), timeout=20) as connection:
                connection.sendall(post(path, Content_Length=9_000_000) + b"x" * 100)
                assert connection.recv(100).startswith(f"HTTP/1.1 {status}".encode())
            assert time.monotonic() - started < 10, path
        with socket.create_connection(("127.0.0.1", running.server.port), timeout=20) as connection:
            head = post("/v2/health/live", Content_Length=9_000_000).replace(b"POST", b"GET", 1)
            connection.sendall(head + b"x" * 100)
            assert connection.recv(100).startswith(b"HTTP/1.1 200")


def test_bodies_that_are_held_are_counted_and_let_go(monkeypatch):
    held = []
    hold = Guard.hold

    def watched(self, size, whole):
        held.append(self)
        hold(self, size, whole)

    monkeypatch.setattr(Guard, "hold", watched)
    monkeypatch.setattr("dsmooth.serve.guard._MOST_HELD", 1)
    with gateway(settings=Settings(port=0, most_body=5000), body_seconds=5.0) as running:
        with socket.create_connection(("127.0.0.1", running.server.port), timeout=20) as slow:
            slow.sendall(post(Content_Length=4900) + b"x" * 4800)
            until(lambda: held and held[0]._held >= 4800)
            refused = running.ask("POST", "/v1/certify", b"x" * 1000)
            assert (refused.status, refused.value["error"][:22]) == (503, "too many uploads at on")
        until(lambda: held[0]._held == 0)
        assert running.ask("POST", "/v1/certify", picture()).status == 200


def test_who_takes_nothing_of_an_answer_is_hung_up_on():
    with gateway(head_seconds=1.0) as running:
        with socket.socket() as slow:
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            slow.connect(("127.0.0.1", running.server.port))
            slow.settimeout(20)
            with contextlib.suppress(OSError):  # hung up on while it still asks
                for _ in range(1000):
                    slow.sendall(b"GET /page.js HTTP/1.1\r\nHost: localhost\r\n\r\n")
            until(lambda: not running.server._server.server_state.connections, seconds=20)
        with socket.create_connection(("127.0.0.1", running.server.port), timeout=30) as patient:
            patient.sendall(b"GET /page.js HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" * 1)
            assert received(patient).startswith(b"HTTP/1.1 200")


def test_slow_readers_are_waited_for_while_they_read():
    """An answer larger than what the network holds, taken over several times the patience."""
    with gateway(head_seconds=0.5) as running:
        running.desk.samples["large"] = np.random.default_rng(0).bytes(12_000_000)
        with socket.socket() as slow:
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
            slow.connect(("127.0.0.1", running.server.port))
            slow.settimeout(20)
            slow.sendall(b"GET /v1/samples/0 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            size, started = 0, time.monotonic()
            while part := slow.recv(1 << 20):
                size += len(part)
                time.sleep(min(0.2, 2.0 * len(part) / 12_000_000))
        assert size > 12_000_000
        assert time.monotonic() - started > 1.5


def test_calls_over_grpc_are_so_many_at_once(monkeypatch):
    triton = pytest.importorskip("tritonclient.grpc")
    pytest.importorskip("clarifai_grpc")
    monkeypatch.setattr("dsmooth.serve.rpc.base._MOST_CALLS", 2)
    module = Gate()
    with gateway(module, settings=Settings(port=0, grpc_port=0, drain=10.0)) as running:
        module.open.clear()
        tensor = triton.InferInput("image", [1, SIZE, SIZE, 3], "UINT8")
        tensor.set_data_from_numpy(np.full((1, SIZE, SIZE, 3), 200, np.uint8))
        answers = []
        with triton.InferenceServerClient(f"127.0.0.1:{running.server.grpc_port}") as client:
            try:
                for _ in range(2):
                    client.async_infer("default", [tensor], lambda result, error: answers.append(error))
                until(lambda: running.desk.model().queue.requests == 2)
                with pytest.raises(triton.InferenceServerException) as refused:
                    client.infer("default", [tensor])
                assert refused.value.status() == "StatusCode.RESOURCE_EXHAUSTED"
            finally:
                module.open.set()
            until(lambda: answers == [None, None])


def test_a_request_among_thousands_of_attempts_waits_for_none_of_them(tmp_path):
    """What is recorded of a picture is looked for beside the event loop, and by its question."""
    module = Gate()
    with gateway(module, record=tmp_path) as running:
        told = running.ask("POST", "/v1/certify?n=50", picture()).value
        (path,) = tmp_path.rglob("1-*.json")
        for attempt in range(2, 3000):
            (path.parent / f"{attempt}-{attempt:016x}.json").write_text("of another question")
        started = time.monotonic()
        again = running.ask("POST", "/v1/certify?n=50", picture())
        assert again.value == {**told, "cached": True}
        assert time.monotonic() - started < 5
        assert running.ask("POST", "/v1/certify?n=51", picture()).value["certificate"].endswith("-3000")
        module.open.clear()
        thread, answers = posted(running, picture(), "/v1/certify?n=52")
        assert module.reached.wait(30)
        module.open.set()
        thread.join(30)
        assert answers[0].status == 200
