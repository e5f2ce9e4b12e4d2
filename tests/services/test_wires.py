"""The four wires and plain JSON, through the official SDKs, against servers that answer with a real model."""

import json
import time

import numpy as np
import pytest

from dsmooth.errors import BadModel, BadParameter, BadRun, ServiceStopped
from dsmooth.services.catalogue import connect, reader, terms_of
from dsmooth.services.client import Client
from dsmooth.services.gate import Limits
from dsmooth.services.http import WIRE, read_wire
from dsmooth.services.provider import QueryFailed, Terms, failed_with, parts_of, read_logged, reply_of
from services.servers import SECRETS, Brain, brightness, connection, server

WIRES = ["aws", "google", "azure", "clarifai", "http"]
PICTURES = np.random.default_rng(0).integers(0, 256, (12, 9, 7, 3)).astype(np.uint8)
VERSION = {"google": None}


@pytest.fixture(autouse=True)
def keys(monkeypatch):
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)


def asked(wire, brain, pictures=PICTURES, **limits):
    """The replies to the pictures, one after another in flight."""
    with server(wire, brain) as running:
        spec, endpoint = connection(wire, running.url)
        chosen = Limits(**{"concurrency": 1, "time_limit": 2.0, **limits})
        provider = connect(spec, endpoint=endpoint, concurrency=chosen.concurrency, time_limit=chosen.time_limit)
        asking = Client(provider, terms_of(spec), chosen)
        try:
            return asking.ask([(None, picture) for picture in pictures]), asking.gate.sent
        finally:
            asking.close("over")
            provider.close()


@pytest.fixture
def quick(monkeypatch):
    """Shorter pauses; the waits that a service asks for stay as they are."""
    monkeypatch.setattr("dsmooth.services.client._FIRST_PAUSE", 0.01)


@pytest.mark.parametrize("wire", WIRES)
def test_every_picture_arrives_as_it_is_and_its_answer_comes_back(wire):
    brain = Brain(brightness)
    replies, sent = asked(wire, brain, concurrency=4)
    assert sent == len(PICTURES) == sum(brain.seen.values())
    least = terms_of(connection(wire, "http://x")[0]).least_side
    assert brain.sizes == {(7, 9) if least == 1 else (least, -(-9 * least // 7))}
    for picture, reply in zip(PICTURES, replies, strict=True):
        (name, score), _ = reply.tags
        assert name == brightness(picture)[0][0]
        assert score == pytest.approx(brightness(picture)[0][1], abs=2e-3)  # upscaling moves the mean a little
        assert reply.version == VERSION.get(wire, "3.0")
    assert len(brain.keys) in (1, len(PICTURES))  # AWS signs each request
    assert all(any(secret in key for secret in SECRETS.values()) for key in brain.keys)


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("fault", ["throttled", "broken", "truncated", "closed", "hang"])
def test_a_failed_try_is_tried_again_with_the_same_bytes(wire, fault, quick):
    brain = Brain(brightness, {0: fault, 1: fault})
    replies, sent = asked(wire, brain, PICTURES[:2], time_limit=0.7)
    assert [reply.tags[0][0] for reply in replies] == [brightness(picture)[0][0] for picture in PICTURES[:2]]
    assert sent == 4
    assert sorted(brain.seen.values()) == [1, 3]


def test_a_google_server_of_ones_own_needs_no_key(monkeypatch):
    monkeypatch.delenv("GOOGLE_API_KEY")
    brain = Brain(brightness)
    replies, _ = asked("google", brain, PICTURES[:1])
    assert replies[0].tags[0][0] == brightness(PICTURES[0])[0][0]
    assert brain.keys == {""}


@pytest.mark.parametrize("wire", ["aws", "google", "azure", "http"])
def test_retry_after_holds_for_everybody(wire, quick):
    started = time.monotonic()
    replies, _ = asked(wire, Brain(brightness, {0: "wait"}), PICTURES[:3], concurrency=1)
    assert time.monotonic() - started > 1.0
    assert None not in replies


@pytest.mark.parametrize("wire", WIRES)
def test_an_empty_answer_is_an_answer_and_is_not_tried_again(wire):
    replies, sent = asked(wire, Brain(brightness, {0: "empty"}), PICTURES[:2])
    assert [bool(reply.tags) for reply in replies] == [False, True]
    assert sent == 2


@pytest.mark.parametrize("wire", WIRES)
def test_five_tries_and_then_the_vote_is_missing(wire, quick):
    brain = Brain(brightness, lambda number: "broken" if number < 5 else None)
    replies, sent = asked(wire, brain, PICTURES[:2])
    assert replies[0] is None
    assert replies[1] is not None
    assert sent == 6


@pytest.mark.parametrize("wire", WIRES)
def test_a_wrong_key_ends_it_at_once_and_is_not_repeated(wire):
    brain = Brain(brightness, lambda number: "refused")
    with pytest.raises(ServiceStopped, match="check key and address") as stopped:
        asked(wire, brain)
    assert brain.queries == 1
    assert not any(secret in str(stopped.value) for secret in SECRETS.values())


@pytest.mark.parametrize("wire", ["aws", "google", "azure", "http"])
def test_a_body_that_drips_in_is_given_up_in_time(wire, quick):
    brain = Brain(brightness, {0: "drip"})
    started = time.monotonic()
    replies, sent = asked(wire, brain, PICTURES[:1], time_limit=1.0)
    assert time.monotonic() - started < 15.0  # the SDK is loaded meanwhile; the whole body would take 20 s and more
    assert replies[0] is not None
    assert sent == 2


@pytest.mark.parametrize("wire", ["aws", "azure", "clarifai", "http"])
def test_a_changed_version_stops_everything(wire):
    with pytest.raises(ServiceStopped, match=r"version changed from 3\.0 to 4\.0"):
        asked(wire, Brain(brightness, {3: "version"}))


@pytest.mark.parametrize("wire", WIRES)
def test_missing_keys_are_said_before_anything_is_sent(wire, monkeypatch):
    for name in SECRETS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere")
    spec, endpoint = connection(wire, "http://127.0.0.1:9")
    if wire == "http":
        model = connect(spec)
        assert model.secrets == []
        model.close()
    else:
        with pytest.raises(BadModel, match=f"{spec} .*(needs|set)"):
            connect(spec, endpoint=endpoint)


def test_logged_answers_are_read_without_sdk_or_key(monkeypatch):
    raw = {
        "Labels": [{"Name": "Cat", "Confidence": 20.0}, {"Name": "Dog", "Confidence": 70.0}],
        "LabelModelVersion": "3",
    }
    reply = reader("aws:rekognition", None)(raw)
    assert reply.tags == (("Dog", 0.7), ("Cat", 0.2))
    with pytest.raises(KeyError):  # what botocore makes of a truncated body
        reader("aws:rekognition", None)({})
    assert reader("google:vision", None)({"responses": [{}]}).tags == ()


def test_the_json_of_any_model_can_be_described(tmp_path):
    raw = {"model": {"id": 7}, "outputs": [{"data": [0.1, 2.5, -1.0]}], "names": ["a", "b", "c"]}
    logits = {"request": {}, "scores": "outputs.0.data.*", "version": "model.id"}
    assert read_wire(logits, raw).tags == ((1, 2.5), (0, 0.1), (2, -1.0))
    assert read_wire(logits, raw).version == "7"
    assert read_wire({"request": {}, "labels": "names.1"}, raw).tags == (("b", 0.0),)
    assert read_wire({"request": {}, "labels": "names.*", "version": "nothing.here"}, raw).version is None
    with pytest.raises(ValueError, match="finite"):
        read_wire(logits, {"outputs": [{"data": [float("nan")]}]})
    for wrong in ({"outputs": []}, {"outputs": [{"data": 3}]}, [], "x"):
        with pytest.raises((LookupError, TypeError, ValueError)):
            read_wire(logits, wrong)
    from dsmooth.services.http import load_wire

    path = tmp_path / "wire.json"
    deep = '{"request": ["{image}", ' + "[" * 60 + "]" * 60 + '], "labels": "x"}'
    twice = '{"request": "{image}", "labels": "x", "labels": "y"}'
    for text in (
        "{",
        "[]",
        '{"request": {}}',
        '{"request": "{image}"}',
        '{"request": "{image}", "labels": 3}',
        deep,
        twice,
        '{"request": "{image}\\ud800", "labels": "x"}',
        '{"request": ["{image}", NaN], "labels": "x"}',
        "[" * 100_000,
        '{"request":' * 100_000,
    ):
        path.write_text(text)
        with pytest.raises(BadParameter, match="expected") as refused:
            load_wire(path)
        assert "\n" not in str(refused.value)
        assert len(str(refused.value)) < 500
    path.write_text(json.dumps({"request": {"data": ["{image}"]}, "labels": "names.*"}))
    assert load_wire(path)["labels"] == "names.*"


@pytest.mark.parametrize(
    ("spec", "options", "message"),
    [
        ("aws:polly", {}, "service must be one of aws:rekognition"),
        ("clarifai:", {}, "service must be one of"),
        ("http://user:word@host/x", {}, "without a password"),
        ("http://host/x?key=word", {}, "without a password or parameters"),
        ("http:///x", {}, "expected an address"),
        ("http://[::1", {}, "expected an address"),
        ("http://user:word@[::1", {}, "without a password"),
        ("http://host:port/x", {}, "expected an address"),
        ("http://host:99999/x", {}, "expected an address"),
        ("http://ho\nst/x", {}, "expected an address"),
        ("http://ho st/x", {}, "expected an address"),
        ("aws:rekognition", {"endpoint": "http://[::1"}, "as http://HOST:PORT"),
        ("azure:image-analysis", {"endpoint": "http://user:word@host"}, "as http://HOST:PORT"),
        ("clarifai:x", {"endpoint": "http://host:99999"}, "as http://HOST:PORT"),
        ("google:vision", {"endpoint": "https://"}, "as http://HOST:PORT"),
        ("http://host/x", {"endpoint": "http://other"}, "no --endpoint beside"),
        ("aws:rekognition", {"endpoint": "host:80"}, "as http://HOST:PORT"),
        ("aws:rekognition", {"wire": {}}, "--wire describes"),
    ],
)
def test_wrong_addresses_are_refused_without_showing_what_could_be_a_key(spec, options, message):
    with pytest.raises((BadModel, BadParameter), match=message) as refused:
        connect(spec, **options)
    assert "word" not in str(refused.value).replace("password", "")


def test_the_address_of_azure_is_checked_where_it_stands_in_a_variable_too(monkeypatch):
    monkeypatch.setenv("VISION_ENDPOINT", "https://[::1")
    with pytest.raises(BadModel, match="VISION_ENDPOINT"):
        connect("azure:image-analysis")


@pytest.mark.parametrize("name", [10**401, -(10**20), True, None, 0.5, ["x"]])
def test_tags_are_text_or_class_numbers(name):
    with pytest.raises(ValueError, match="text or class numbers"):
        reply_of([(name, 1.0)], None)
    assert reply_of([(207, 1.0), ("x", 0.5)], None).tags == ((207, 1.0), ("x", 0.5))


def test_what_a_status_means():
    assert failed_with(429, "x").wait == 0.0
    assert failed_with(429, "x", "7").wait == 7.0
    assert failed_with(503, "x", "soon").wait is None
    assert 50 < failed_with(503, "x", _in_a_minute()).wait <= 60
    assert [failed_with(status, "x").retry for status in (None, 408, 500, 302, 400, 413, 401)] == [True] * 3 + [
        False
    ] * 4
    assert isinstance(failed_with(401, "x"), QueryFailed)
    assert failed_with(401, "x").fatal


def _in_a_minute():
    from email.utils import formatdate

    return formatdate(time.time() + 59, usegmt=True)


def test_terms_are_those_of_the_providers():
    assert terms_of("aws:rekognition") == Terms(1.00, 5.0, 80, 5_000_000, "2026-11-21")
    assert terms_of("https://host/x").price is None


@pytest.mark.parametrize(
    ("variable", "spec"),
    [
        ("DSMOOTH_HTTP_AUTHORIZATION", "http://127.0.0.1:9/x"),
        ("VISION_KEY", "azure:image-analysis"),
        ("CLARIFAI_PAT", "clarifai:general-image-recognition"),
        ("GOOGLE_API_KEY", "google:vision"),
    ],
)
@pytest.mark.parametrize("key", ["Bearer zsecr\u00e9tz", "Bearer zsec\rretz", "Bearer zsec\nretz"])
def test_a_key_that_no_header_can_carry_is_refused_without_showing_it(variable, spec, key, monkeypatch):
    monkeypatch.setenv("VISION_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv(variable, key)
    with pytest.raises(BadParameter, match=f"printable ASCII in the variable {variable}") as refused:
        connect(spec)
    assert "zsec" not in str(refused.value)


def test_blanks_around_a_key_are_none_of_it(monkeypatch):
    monkeypatch.setenv("DSMOOTH_HTTP_AUTHORIZATION", " Bearer zsecretz\r\n")
    model = connect("http://127.0.0.1:9/x")
    assert model.secrets == ["Bearer zsecretz", "zsecretz"]
    model.close()
    monkeypatch.setenv("DSMOOTH_HTTP_AUTHORIZATION", " \n")
    model = connect("http://127.0.0.1:9/x")
    assert model.secrets == []
    model.close()


@pytest.mark.parametrize(
    ("header", "secrets"),
    [
        ("zsecretz", ["zsecretz"]),
        ("Bearer a", ["Bearer a"]),  # a letter stands in every word
        ('Token token="zsecretz"', ['Token token="zsecretz"', 'token="zsecretz"', "zsecretz"]),
        ("ApiKey key=zsecretz", ["ApiKey key=zsecretz", "key=zsecretz", "zsecretz"]),
        ("Basic dXNlcjpwYXNz==", ["Basic dXNlcjpwYXNz==", "dXNlcjpwYXNz==", "dXNlcjpwYXNz", "user:pass"]),
        ("basic  dTp6c2VjcmV0eg", ["basic  dTp6c2VjcmV0eg", "dTp6c2VjcmV0eg", "u:zsecretz", "zsecretz"]),
        (
            "Basic dTp6c8OpY3JldA==",
            [
                "Basic dTp6c8OpY3JldA==",
                "dTp6c8OpY3JldA==",
                "dTp6c8OpY3JldA",
                "u:zs\u00c3\u00a9cret",
                "u:zs\u00e9cret",
                "zs\u00c3\u00a9cret",
                "zs\u00e9cret",
            ],
        ),
        ("Basic zsecretz\u0020x", ["Basic zsecretz x", "zsecretz x", "zsecretz"]),
    ],
)
def test_what_is_secret_in_a_header(header, secrets):
    assert parts_of(header) == secrets


@pytest.mark.parametrize("raw", ["{}", "[]", "5", '{"labels":5}', '{"labels":[{"name":5,"score":"x"}]}', "[" * 100_000,
                                 '{"labels":[{"name":"x","score":' + "9" * 401 + "}]}"])  # fmt: skip
def test_logged_answers_that_are_none_are_one_line(raw):
    with pytest.raises(BadRun, match="expected a logged answer of the service"):
        read_logged(reader("http://host/x", WIRE), raw)
