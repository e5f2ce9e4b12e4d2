"""One layer for all services: budget, rate, circuit breaker, cache, canaries, log."""

import base64
import functools
import json
import threading
import time

import numpy as np
import pytest

from dsmooth.errors import BadImage, BadParameter, ServiceStopped
from dsmooth.records.querylog import LOG, Address, QueryLogWriter, read_query_log
from dsmooth.services.catalogue import connect
from dsmooth.services.client import CANARY_EVERY, Client, canary_queries
from dsmooth.services.gate import LONGEST_WAIT, Gate, Limits
from dsmooth.services.provider import Terms, reply_of
from services.servers import SECRETS, Brain, Server, brightness

RNG = np.random.default_rng(1)
PICTURES = RNG.integers(0, 256, (700, 5, 4, 3)).astype(np.uint8)
FREE = Terms(None, None)


def addresses(count, image="i" * 64):
    return [Address(image, "estimation", i) for i in range(count)]


class Talk:
    """An Client with a server, a log and pictures, in one hand."""

    def __init__(self, brain, folder, *, canaries=(), name="classify", **limits):
        self.brain, self.folder, self.canaries, self.name = brain, folder, canaries, name
        self.limits = Limits(**{"concurrency": 8, "time_limit": 2.0, **limits})

    def __enter__(self):
        self.server = Server(self.brain).__enter__()
        self.provider = connect(f"{self.server.url}/{self.name}", concurrency=8, time_limit=2.0)
        self.log = QueryLogWriter(self.folder / LOG, {"about": "a test"})
        self.client = Client(self.provider, FREE, self.limits, log=self.log, canaries=self.canaries)
        return self.client

    def __exit__(self, *_):
        self.client.close("over")
        self.log.close()
        self.provider.close()
        self.server.__exit__()


def ask(asking, count, pictures=PICTURES, first=0):
    return asking.ask(list(zip(addresses(first + count)[first:], pictures[first : first + count], strict=True)))


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr("dsmooth.services.client._FIRST_PAUSE", 0.01)


def test_queries_wait_side_by_side(tmp_path):
    brain = Brain(brightness, latency=0.4)
    with Talk(brain, tmp_path, concurrency=40) as asking:
        started = time.monotonic()
        ask(asking, 80)
        elapsed = time.monotonic() - started
    assert elapsed < 80 * 0.4 / 2  # 40 at once would be 0.8 s on a machine that has nothing else to do
    assert 20 <= brain.most_at_once <= 40


@pytest.mark.parametrize("fails", [0, 7])
def test_the_budget_is_never_overrun_and_retries_count(tmp_path, fails):
    brain = Brain(brightness, lambda number: "broken" if number % 10 < fails else None)
    with (
        Talk(brain, tmp_path, concurrency=16, max_queries=50) as asking,
        pytest.raises(ServiceStopped, match="the budget of 50 queries is spent"),
    ):
        ask(asking, 200)
    assert brain.queries == 50
    log = read_query_log(tmp_path / LOG)
    assert log.tries == 50
    assert sum(entry.raw is not None for entry in log.entries.values()) == 50 - 5 * fails
    with Talk(brain, tmp_path, max_queries=50) as asking, pytest.raises(ServiceStopped, match="budget"):
        ask(asking, 200)
    assert brain.queries == 50  # what was spent before a restart stays spent


def test_a_budget_in_dollars():
    assert Limits(max_dollars=1.0, price=1.5).budget == 666
    assert Limits(max_dollars=0.3, price=1.0, max_queries=1000).budget == 300
    assert Limits(max_dollars=0.3, price=1.0, max_queries=10).budget == 10
    assert Limits(price=1.0).budget is None
    assert Limits(price=1.2).dollars(5000) == 6.0
    assert Limits(max_dollars=1e9, price=1e-6).budget > 10**17
    assert Limits(max_dollars=1.0, price=0).budget is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_dollars": 0}, {"max_queries": 0}, {"rate": -1}, {"price": -1}, {"time_limit": float("nan")},
        {"price": 1e-308, "max_dollars": 1.0}, {"price": 1e308}, {"price": float("nan")}, {"price": float("inf")},
        {"max_dollars": 1e308}, {"rate": 1e-308}, {"rate": 1e308}, {"time_limit": 1e308}, {"time_limit": 5e-324},
        {"concurrency": 10**9}, {"tries": 10**6},
    ],
)  # fmt: skip
def test_limits_that_no_clock_or_purse_knows_are_refused(wrong):
    with pytest.raises(BadParameter, match="must be"):
        Limits(**wrong)


def test_nothing_answered_is_asked_again_and_nothing_is_lost(tmp_path):
    brain = Brain(brightness)
    with Talk(brain, tmp_path) as asking:
        first = ask(asking, 60)
    with Talk(brain, tmp_path) as asking:
        assert ask(asking, 100)[:60] == first
    assert brain.queries == 100
    assert set(brain.seen.values()) == {1}
    assert len(read_query_log(tmp_path / LOG).entries) == 100


def test_the_same_picture_is_asked_once_and_the_same_address_too(tmp_path):
    brain = Brain(brightness)
    with Talk(brain, tmp_path, concurrency=1) as asking:
        ask(asking, 10, np.repeat(PICTURES[:1], 10, axis=0))
        assert brain.queries == 1
    with Talk(brain, tmp_path) as asking:
        at = Address("j" * 64, "selection", 0)
        asking.ask([(at, PICTURES[5]), (at, PICTURES[5]), (at, PICTURES[5])])
    assert brain.queries == 2
    assert len(read_query_log(tmp_path / LOG).entries) == 11


def test_a_dead_service_stops_the_run_and_costs_no_vote(tmp_path):
    brain = Brain(brightness, lambda number: "broken" if number >= 30 else None)
    with Talk(brain, tmp_path) as asking, pytest.raises(ServiceStopped, match="failed 20 times in a row"):
        ask(asking, 200)
    # 7 can fail while the last answer is still under way, then 20 in a row, and 7 more are in flight by then
    assert brain.queries <= 30 + 7 + 20 + 7
    assert all(entry.raw is not None for entry in read_query_log(tmp_path / LOG).entries.values())
    brain.script = lambda number: None
    with Talk(brain, tmp_path) as asking:
        assert None not in ask(asking, 200)


def test_scattered_failures_stop_nothing(tmp_path):
    brain = Brain(brightness, lambda number: "broken" if number % 3 else None)
    with Talk(brain, tmp_path) as asking:
        assert sum(reply is not None for reply in ask(asking, 100)) > 60


def test_a_burst_of_throttling_stops_nothing(tmp_path):
    """32 at once against a service that takes few: the burst fails together, and the run goes on more slowly."""
    brain = Brain(brightness, lambda number: "throttled" if number < 32 else None)
    with Talk(brain, tmp_path, concurrency=32) as asking:
        assert None not in ask(asking, 100)


def test_a_service_that_wants_hours_is_not_waited_for():
    gate = Gate("service", Limits())
    gate.enter()
    gate.failed("429", LONGEST_WAIT + 1)
    with pytest.raises(ServiceStopped, match="asks to wait 61 s"):
        gate.enter()


def test_the_rate_is_kept():
    gate = Gate("service", Limits(rate=50.0))
    started = time.monotonic()
    threads = [threading.Thread(target=lambda: [gate.enter() for _ in range(5)]) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert gate.sent == 25
    assert time.monotonic() - started >= 24 / 50.0


def test_an_image_that_cannot_be_sent_is_a_missing_vote_without_a_query(tmp_path):
    brain = Brain(brightness)
    with Talk(brain, tmp_path) as asking:
        replies = asking.ask([(addresses(2)[0], None), (addresses(2)[1], PICTURES[0])])
    assert replies[0] is None
    assert brain.queries == 1
    assert read_query_log(tmp_path / LOG).entries[addresses(1)[0]].why == "the denoised image was not finite"


def test_images_beyond_what_the_service_takes_are_refused(tmp_path):
    from dsmooth.services.pictures import png_of

    noise = RNG.integers(0, 256, (40, 40, 3)).astype(np.uint8)
    with pytest.raises(BadImage, match="this service takes 1,000"):
        png_of(noise, 1, 1000)


def test_canaries_are_asked_at_the_start_every_so_often_and_at_the_end(tmp_path):
    brain = Brain(brightness)
    with Talk(brain, tmp_path, canaries=list(PICTURES[690:692])) as asking:
        for first in range(0, 480, 40):
            ask(asking, 40, first=first)
        asking.finish()
    assert brain.queries == 480 + 2 * (1 + 480 // CANARY_EVERY + 1)
    assert canary_queries(480, images=9) == brain.queries - 480
    assert canary_queries(480, images=1) == (brain.queries - 480) // 2
    lines = [json.loads(line) for line in (tmp_path / LOG).read_text().splitlines()]
    between, gaps = 0, []
    for line in lines:
        between += line["kind"] == "answer"
        if line["kind"] == "canary" and line["canary"] == 0:
            gaps.append(between)
            between = 0
    assert gaps[0] == 0
    assert max(gaps) <= CANARY_EVERY
    with Talk(brain, tmp_path, canaries=list(PICTURES[690:692])) as asking:
        ask(asking, 480)
        asking.finish()
    assert brain.queries == 480 + 8  # all known: nobody is asked, canaries included


def test_a_model_that_changes_behind_the_same_version_is_found_out(tmp_path):
    brain = Brain(brightness)
    with Talk(brain, tmp_path, canaries=list(PICTURES[:2])) as asking:
        ask(asking, 40)
        brain.model = lambda pixels: [("light", 0.9), ("dark", 0.1)]
        with pytest.raises(ServiceStopped, match="no longer the model of this run: canary 0 was"):
            asking.finish()
    assert read_query_log(tmp_path / LOG).drifted


def test_a_model_that_changed_while_the_run_was_resting_is_found_out(tmp_path):
    brain = Brain(brightness)
    with Talk(brain, tmp_path, canaries=list(PICTURES[:2])) as asking:
        ask(asking, 40)
    brain.version = "4.0"
    sent = brain.queries
    with (
        Talk(brain, tmp_path, canaries=list(PICTURES[:2])) as asking,
        pytest.raises(ServiceStopped, match="version changed"),
    ):
        ask(asking, 80)
    assert brain.queries == sent + 1


def test_breaking_off_is_quick_and_keeps_what_was_answered(tmp_path):
    brain = Brain(brightness, lambda number: "hang" if number >= 20 else None)
    with Talk(brain, tmp_path, time_limit=60) as asking:

        def broken_off():
            with pytest.raises(ServiceStopped, match="interrupted"):
                ask(asking, 60)

        thread = threading.Thread(target=broken_off)
        thread.start()
        while brain.queries < 28:
            time.sleep(0.01)
        started = time.monotonic()
        asking.close("interrupted")
        thread.join()
        assert time.monotonic() - started < 9.0
    assert len(read_query_log(tmp_path / LOG).entries) == 20
    with pytest.raises(ServiceStopped, match="interrupted"):
        asking.gate.enter()


def test_no_key_is_ever_written_down_or_said(tmp_path, monkeypatch):
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    brain = Brain(brightness, lambda number: "echo" if number < 20 else "refused")
    with Talk(brain, tmp_path) as asking, pytest.raises(ServiceStopped) as stopped:
        ask(asking, 60)
    written = (tmp_path / LOG).read_text() + str(stopped.value)
    assert "(secret)" in written  # the server did send it back
    for secret in SECRETS.values():
        assert secret.rpartition(" ")[2] not in written or secret == "us-east-1"


def test_a_password_that_a_server_decodes_and_sends_back_is_cut_out_too(tmp_path, monkeypatch):
    given = base64.b64encode(b"somebody:basic:secret:0007").decode()
    monkeypatch.setenv("DSMOOTH_HTTP_AUTHORIZATION", f"Basic {given}")
    with Talk(Brain(brightness, lambda number: "decoded echo"), tmp_path) as asking:
        assert None not in ask(asking, 5)
    written = (tmp_path / LOG).read_text()
    assert '"password":"(secret)"' in written
    assert '"pair":"(secret)"' in written
    assert "basic:secret:0007" not in written
    assert given not in written


class Parrot:
    """A service that says whatever it is told to."""

    name, secrets, wire = "parrot", ['zsecretz"=x', "zsecretz"], None

    def __init__(self, raw):
        self.raw, self.asked = raw, 0

    def ask(self, png):
        self.asked += 1
        return self.raw

    def read(self, raw, wire):
        return reply_of([(raw["label"], 1.0)], None)

    def close(self):
        pass


def parroted(raw, folder):
    log = QueryLogWriter(folder / LOG, {})
    parrot = Parrot(raw)
    asking = Client(parrot, FREE, Limits(tries=2), log=log)
    replies = ask(asking, 1)
    asking.close("done")
    log.close()
    return replies, parrot.asked, (folder / LOG).read_text()


def test_a_key_is_taken_out_of_every_string_of_an_answer(tmp_path):
    raw = {"label": "cat", "zsecretz": ['Token "zsecretz"=x"', {"deep": "xzsecretzx"}, 3]}
    replies, _, written = parroted(raw, tmp_path)
    assert replies[0].tags == (("cat", 1.0),)
    assert "zsecretz" not in written
    assert "(secret)" in written


@pytest.mark.parametrize("odd", [float("nan"), "\ud800", functools.reduce(lambda inner, _: [inner], range(5000), [])])
def test_an_answer_that_cannot_be_written_down_is_tried_again_and_then_missing(tmp_path, odd):
    replies, asked, written = parroted({"label": "cat", "more": odd}, tmp_path)
    assert replies == [None]
    assert asked == 2
    assert '"missing"' in written
