"""What the SDKs do with servers that redirect, send too much, or never come to an end."""

import base64
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from dsmooth.errors import ServiceStopped
from dsmooth.services.catalogue import connect, terms_of
from dsmooth.services.client import Client
from dsmooth.services.connections import MOST_BYTES
from dsmooth.services.gate import Limits
from dsmooth.services.pictures import png_of
from dsmooth.services.provider import QueryFailed
from services.servers import SECRETS, Brain, Server, blanks, brightness, connection

WIRES = ["aws", "google", "azure", "http"]  # Clarifai's gRPC has neither redirects nor bodies without a limit
PICTURES = np.random.default_rng(0).integers(0, 256, (40, 9, 7, 3)).astype(np.uint8)
MEGABYTE = 1 << 20


@pytest.fixture(autouse=True)
def keys(monkeypatch):
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("dsmooth.services.client._FIRST_PAUSE", 0.01)


class Talk:
    """A client of a server that speaks this wire."""

    def __init__(self, wire, brain, **limits):
        self.wire, self.brain = wire, brain
        self.limits = Limits(**{"concurrency": 1, "time_limit": 2.0, "tries": 2, **limits})

    def __enter__(self):
        self.server = Server(self.brain).__enter__()
        spec, endpoint = connection(self.wire, self.server.url)
        limits = self.limits
        self.provider = connect(spec, endpoint=endpoint, concurrency=limits.concurrency, time_limit=limits.time_limit)
        self.client = Client(self.provider, terms_of(spec), limits)
        return self.client

    def __exit__(self, *_):
        self.client.close("over")
        self.provider.close()
        self.server.__exit__()


def ask(client, count, first=0):
    return client.ask([(None, picture) for picture in PICTURES[first : first + count]])


def right(replies, first=0):
    answers = [reply and reply.tags[0][0] for reply in replies]
    return answers == [brightness(picture)[0][0] for picture in PICTURES[first : first + len(replies)]]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("wire", WIRES)
def test_neither_key_nor_image_follows_a_redirect(wire, status):
    elsewhere = Brain(brightness)
    with Server(elsewhere) as other:
        with Talk(wire, Brain(brightness, {0: f"{status} {other.url}"})) as client:
            replies = ask(client, 2)
        assert replies[0] is None
        assert right(replies[1:], first=1)
    assert elsewhere.queries == 0
    assert not elsewhere.keys


@pytest.mark.parametrize("wire", WIRES)
def test_a_service_that_only_redirects_stops_the_run_and_says_why(wire):
    elsewhere = Brain(brightness)
    with (
        Server(elsewhere) as other,
        Talk(wire, Brain(brightness, lambda number: f"307 {other.url}")) as client,
        pytest.raises(ServiceStopped, match="307 a redirect, which is not followed"),
    ):
        ask(client, 40)
    assert elsewhere.queries == 0


@pytest.mark.parametrize("wire", WIRES)
def test_answers_are_asked_for_as_they_are_and_one_layer_of_gzip_is_taken_off(wire):
    brain = Brain(brightness, {0: "packed", 2: "half packed"})
    with Talk(wire, brain) as client:
        assert right(ask(client, 3))
        assert client.gate.sent == 4  # what breaks off is tried again
    assert brain.encodings == {"identity"}


@pytest.mark.parametrize("fault", ["bomb", "bomb in a bomb", "endless", "endless chunk"])
@pytest.mark.parametrize("wire", WIRES)
def test_an_answer_without_measure_takes_little_memory(wire, fault):
    brain = Brain(brightness, {1: fault})
    blanks(64), blanks(256)  # before the clock runs
    with Talk(wire, brain) as client:
        assert right(ask(client, 1))
        tracemalloc.start()
        try:
            (reply,) = ask(client, 1, first=1)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert reply is None or fault == "endless chunk"  # which reads like a broken connection, tried again
        assert peak < 4 * MOST_BYTES + 2 * MEGABYTE  # the server's own buffers are in it
        assert right(ask(client, 3, first=2), first=2)


@pytest.mark.parametrize("fault", ["hang", "drip", "dripping header", "endless"])
@pytest.mark.parametrize("wire", WIRES)
def test_what_took_too_long_leaves_nothing_open(wire, fault):
    talk = Talk(
        wire, Brain(brightness, lambda number: fault if number else None), concurrency=4, time_limit=0.4, tries=1
    )
    with talk as client:
        assert right(ask(client, 1))
        assert not any(ask(client, 12, first=1))
        deadline = time.monotonic() + 3.0
        while open_to(talk.server) > 1 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert open_to(talk.server) <= 1  # the one that was answered is kept for the next query


def open_to(server):
    """How many connections to the server its clients have not closed."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    there = f":{server.server_port:04X}"
    return sum(remote.endswith(there) and state in ("01", "08") for _, _, remote, state, *_ in lines)


@pytest.mark.parametrize("wire", WIRES)
def test_a_score_of_401_digits_is_a_failed_try(wire):
    with Talk(wire, Brain(brightness, {0: "digits"})) as client:
        assert right(ask(client, 2))
        assert client.gate.sent == 3


def test_what_fetches_googles_tokens_follows_no_redirect_either():
    elsewhere = Brain(brightness)
    with Server(elsewhere) as other, Server(Brain(brightness, lambda number: f"307 {other.url}")) as server:
        provider = connect("google:vision", endpoint=server.url)
        body = {"image": base64.b64encode(png_of(PICTURES[0])).decode()}
        with pytest.raises(QueryFailed, match="307 a redirect"):
            provider._client.transport._session._auth_request_session.post(f"{server.url}/token", json=body)
        provider.close()
    assert elsewhere.queries == 0
