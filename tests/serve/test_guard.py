"""Who is let in, how large and how slow a request may be, and what every refusal looks like."""

import contextlib
import hashlib
import json
import random
import socket
import time

import pytest

from dsmooth.errors import BadParameter
from dsmooth.serve.callers import Caller, Callers, read_callers
from dsmooth.serve.faces.known import FACES
from dsmooth.serve.refusals import Refused
from dsmooth.serve.settings import Settings
from dsmooth.serve.sigv4 import read_secrets
from serve.running import gateway, picture, resident, until
from support import refused


@pytest.fixture(scope="module")
def running():
    with gateway(body_seconds=1.0, head_seconds=1.0) as opened:
        yield opened


def raw(running, data, *, end=False):
    """What comes back for these bytes; `end`: nothing more will come from here."""
    with socket.create_connection(("127.0.0.1", running.server.port), timeout=20) as connection:
        with contextlib.suppress(OSError):  # it may have hung up already
            connection.sendall(data)
            if end:
                connection.shutdown(socket.SHUT_WR)
        return received(connection)


def received(connection):
    parts = []
    with contextlib.suppress(ConnectionError):
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts)


def post(path="/v1/certify", body=b"", **headers):
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in {"Host": "localhost", **headers}.items()]
    length = [] if "Transfer_Encoding" in headers or "Content_Length" in headers else [f"Content-Length: {len(body)}"]
    return "\r\n".join([f"POST {path} HTTP/1.1", *lines, *length, "Connection: close", "", ""]).encode() + body


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8080", "localhost.evil.example", "127.0.0.1.nip.io", "[::1", ""]
)
def test_another_name_of_this_machine_is_refused(running, host):
    answer = raw(running, post(body=picture(), Host=host))
    assert b" 403 " in answer.split(b"\r\n")[0] or b" 400 " in answer.split(b"\r\n")[0], answer


@pytest.mark.parametrize("host", ["localhost", "localhost:8080", "127.0.0.1", "[::1]:8080", "LOCALHOST"])
def test_names_of_this_machine_are_accepted(running, host):
    assert b" 200 " in raw(running, post(body=picture(), Host=host)).split(b"\r\n")[0]


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://localhost:1", "file://", "x", "http://[", ""]
)
def test_a_page_of_another_origin_is_refused(running, origin):
    assert running.ask("POST", "/v1/certify", picture(), Origin=origin).status == 403


def test_a_page_of_this_server_is_accepted(running):
    assert running.ask("POST", "/v1/certify", picture(), Origin=running.url).status == 200


def test_every_response_says_what_browsers_may_do(running):
    for answer in (running.ask("GET", "/v2"), running.ask("GET", "/nothing"), running.ask("POST", "/v1/certify", b"x")):
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert answer.headers["Cache-Control"] == "no-store"
        assert "Access-Control-Allow-Origin" not in answer.headers


def test_what_no_face_has(running):
    for method, path, status in (
        ("GET", "/v3", 404), ("GET", "/v1/certify", 405), ("PUT", "/v1/certify", 405), ("GET", "/v2/", 404),
        ("POST", "/v1/certify/", 404), ("GET", "/v1/certificates/../../etc/passwd", 404), ("TRACE", "/v2", 405),
        ("GET", "/v1/certificates/" + "0" * 32 + "-1", 404), ("GET", "/v1/certificates/%2e%2e%2fx", 404),
        ("GET", "/v1/jobs/x", 404), ("GET", "/v1/jobs/x/events", 404), ("DELETE", "/v1/jobs/x", 404),
    ):  # fmt: skip
        answer = running.ask(method, path)
        assert answer.status == status, (method, path, answer.status)
        assert "Location" not in answer.headers
        assert next(iter(answer.value)) == "error"


def test_too_large_a_body_is_refused_by_its_announcement(running):
    started = time.monotonic()
    answer = raw(running, post(Content_Length=10_000_001))
    assert b" 413 " in answer.split(b"\r\n")[0]
    assert time.monotonic() - started < 5
    assert raw(running, post(Content_Length="9" * 400)).startswith(b"HTTP/1.1 4")


def test_a_body_without_end_is_refused_when_it_is_too_large(running):
    with socket.create_connection(("127.0.0.1", running.server.port), timeout=20) as connection:
        connection.sendall(post(Transfer_Encoding="chunked"))
        with contextlib.suppress(ConnectionError):
            for _ in range(200):
                connection.sendall(b"10000\r\n" + b"x" * 65536 + b"\r\n")
        answer = received(connection)
    assert (
        not answer or b" 413 " in answer.split(b"\r\n")[0]
    )  # what was sent after the refusal may reset the connection
    until(lambda: any(line["status"] == 413 for line in running.log))


def test_a_compressed_body_is_refused(running):
    import gzip

    answer = running.ask("POST", "/v1/certify", gzip.compress(picture()), Content_Encoding="gzip")
    assert answer.status == 415


def test_a_slow_body_is_refused_in_time(running):
    with socket.create_connection(("127.0.0.1", running.server.port), timeout=20) as connection:
        connection.sendall(post(Content_Length=1000) + b"x")
        started = time.monotonic()
        answer = received(connection)
    assert b" 408 " in answer.split(b"\r\n")[0]
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("head", [b"", b"POST /v1/certify HTTP/1.1\r\nHost: local", b"GET / HTTP/1.1\r\n"])
def test_a_slow_head_is_hung_up_on(running, head):
    started = time.monotonic()
    assert raw(running, head) == b""
    assert 0.5 < time.monotonic() - started < 10


def test_a_slow_second_head_on_a_connection_is_hung_up_on(running):
    with socket.create_connection(("127.0.0.1", running.server.port), timeout=20) as connection:
        connection.sendall(b"GET /v2 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answer = b""
        while not answer.endswith(b"}"):
            answer += connection.recv(65536)
        assert answer.startswith(b"HTTP/1.1 200")
        connection.sendall(b"GET /v2 HTTP/1.1\r\nHo")
        started = time.monotonic()
        assert received(connection) == b""
        assert time.monotonic() - started < 10


def test_who_hangs_up_in_the_middle_of_a_body_leaves_nothing(running):
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", running.server.port)) as connection:
            connection.sendall(post(Content_Length=5000) + b"x" * 100)
            connection.shutdown(socket.SHUT_WR)
    running.wait_for_idle()
    assert running.ask("POST", "/v1/certify", picture()).status == 200
    assert not any(line.get("reason") == "failed" for line in running.log)


BROKEN = [
    b"\r\n\r\n", b"\0" * 100, b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"POST /v1/certify HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
    b"POST /v1/certify HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
    b"POST /v1/certify HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nabc",
    b"POST /v1/certify HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nZZZ\r\n",
    b"GET /v2 HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
    b"GET /v2 HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 300_000 + b"\r\n\r\n",
    b"GET /" + b"a" * 300_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /v1/certificates/%00%ff%fe HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
]  # fmt: skip


@pytest.mark.parametrize("data", BROKEN, ids=range(len(BROKEN)))
def test_what_is_no_http_is_a_4xx(running, data):
    answer = raw(running, data, end=True)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 4"), answer[:100]
    assert running.ask("GET", "/v2/health/live").status == 200


@pytest.mark.parametrize("requests", [300, pytest.param(10_000, marks=pytest.mark.slow)])
def test_chance_bytes_are_never_a_fault_of_the_server(running, requests):
    """Good requests with bytes changed, cut or added: no answer of 500 and above, and the server goes on."""
    rng = random.Random(7)
    before, sizes = len(running.log), []
    goods = [post(body=picture(size=8)), post("/v1/certify?n=50&alpha=0.01", picture(size=8))]
    body = json.dumps({"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": ["aGVsbG8="]}]}).encode()
    goods += [
        post("/v2/models/default/infer", body),
        post("/v1/images:annotate", b'{"requests":[{"image":{},"features":[]}]}'),
    ]
    goods += [post("/", b'{"Image":{"Bytes":"eA=="}}', X_Amz_Target="RekognitionService.DetectLabels")]
    goods += [post("/v2/models/m/outputs", b'{"inputs":[{"data":{"image":{"base64":"eA=="}}}]}')]
    for number in range(requests):
        if number % 1000 == 999:
            sizes.append(resident())
        data = bytearray(rng.choice(goods))
        for _ in range(rng.randrange(1, 4)):
            at = rng.randrange(len(data))
            kind = rng.randrange(3)
            if kind == 0:
                data[at] = rng.randrange(256)
            elif kind == 1:
                del data[at : at + rng.randrange(1, 20)]
            else:
                data[at:at] = rng.randbytes(rng.randrange(1, 20))
        raw(running, bytes(data), end=True)
    assert running.ask("GET", "/v2/health/live").status == 200
    until(lambda: not running.server._server.server_state.connections)
    codes = {line["status"] for line in running.log[before:]}
    bad = [line for line in running.log[before:] if line["status"] >= 500 or "error" in line]
    assert not bad, bad
    assert 400 in codes
    assert not sizes or sizes[-1] < 1.05 * sizes[len(sizes) // 3], sizes
    assert all(line["uvicorn"] == "Invalid HTTP request received." for line in running.complaints)


def test_labels_of_metrics_are_few(running):
    for number in range(20):
        running.ask(f"BREW{number}", f"/v{number}/coffee")
    for family in running.desk.metrics.registry.collect():
        if family.name == "dsmooth_requests":
            labels = {name: {sample.labels[name] for sample in family.samples} for name in ("face", "method")}
    assert labels["method"] <= {"GET", "POST", "DELETE", "other"}
    assert labels["face"] <= {*FACES, "none"}


def hashed(key):
    return hashlib.sha256(key.encode()).hexdigest()


def test_keys_are_needed_where_there_are_any_and_certificates_are_for_their_callers():
    callers = [Caller("alice", hashed("alice-key")), Caller("bob", hashed("bob-key"))]
    with gateway(callers=callers) as running:
        alice, bob = {"Authorization": "Bearer alice-key"}, {"Authorization": "Bearer bob-key"}
        for headers in (
            {},
            {"Authorization": "Bearer wrong"},
            {"Authorization": "Basic alice-key"},
            {"Authorization": "Bearer"},
        ):
            for method, path in (("POST", "/v1/certify"), ("GET", "/metrics"), ("GET", "/v1/models")):
                answer = running.ask(method, path, picture(), **headers)
                assert answer.status == 401, (path, headers)
                assert "wrong" not in answer.value["error"]
        told = running.ask("POST", "/v1/certify", picture(), **alice).value
        place = f"/v1/certificates/{told['certificate']}"
        assert running.ask("GET", place, **alice).status == 200
        assert running.ask("GET", place, **bob).status == 404
        assert running.ask("POST", "/v1/certify", picture(), **bob).headers["Dsmooth-Cached"] == "false"
        job = running.ask("POST", "/v1/jobs", picture(), **alice).headers["Location"]
        assert [running.ask("GET", job, **who).status for who in (alice, bob)] == [200, 404]
        assert [running.ask("GET", f"{job}/events", **who).status for who in (bob, alice)] == [404, 200]
        assert running.ask("GET", "/v2/health/live").status == 200
        assert running.ask("POST", "/v1/certify", picture(), Host="gateway.example", **alice).status == 403
    assert not any("key" in json.dumps(line) for line in running.log)


def test_behind_a_proxy_any_name_is_accepted_with_a_key(tmp_path):
    settings = Settings(port=0, behind_proxy=True, keys=tmp_path / "keys.json")
    with gateway(callers=[Caller("alice", hashed("alice-key"))], settings=settings) as running:
        key = {"Authorization": "Bearer alice-key"}
        assert running.ask("POST", "/v1/certify", picture(), Host="gateway.example", **key).status == 200
        assert running.ask("POST", "/v1/certify", picture(), Host="gateway.example").status == 401


def self_signed(folder):
    """A certificate for localhost, and its key."""
    import datetime

    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "cert.pem").write_bytes(made.public_bytes(pem))
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(secret)


def test_tls_with_a_key(tmp_path):
    import http.client
    import ssl

    self_signed(tmp_path)
    settings = Settings(
        host="0.0.0.0",
        port=0,
        keys=tmp_path / "keys.json",
        tls_certificate=tmp_path / "cert.pem",
        tls_key=tmp_path / "key.pem",
    )
    with gateway(callers=[Caller("alice", hashed("alice-key"))], settings=settings) as running:
        trust = ssl.create_default_context(cafile=tmp_path / "cert.pem")
        for key, status in (("alice-key", 200), ("bob-key", 401)):
            connection = http.client.HTTPSConnection("localhost", running.server.port, timeout=30, context=trust)
            with contextlib.closing(connection):
                connection.request("POST", "/v1/certify", picture(), {"Authorization": f"Bearer {key}"})
                answer = connection.getresponse()
                answer.read()
                assert answer.status == status
        assert not raw(running, post(body=picture())).startswith(b"HTTP/1.1 2")  # nothing in the clear


def test_quotas():
    now = [0.0]
    callers = Callers([Caller("a", "", requests_per_minute=2, samples_per_day=1000)], clock=lambda: now[0])
    (caller,) = callers._callers
    callers.request(caller)
    callers.request(caller)
    with pytest.raises(Refused, match="try again in 30 s") as late:
        callers.request(caller)
    assert (late.value.status, late.value.headers) == (429, {"Retry-After": "30"})
    now[0] = 30.0
    callers.request(caller)
    callers.samples(caller, 900, 0.0)
    with pytest.raises(Refused, match="used up"):
        callers.samples(caller, 200, 0.0)
    with pytest.raises(Refused, match="this request needs 2000") as never:
        callers.samples(caller, 2000, 0.0)
    assert never.value.retry_after is None


def test_a_quota_of_money_and_what_is_refused_by_one_quota_is_taken_from_none():
    now = [0.0]
    callers = Callers([Caller("a", "", samples_per_day=1000, dollars_per_day=2.5)], clock=lambda: now[0])
    (caller,) = callers._callers
    callers.samples(caller, 400, 2.0)
    with pytest.raises(Refused, match=r"2.5 dollars in 86400 s\) is used up; try again in 17280 s"):
        callers.samples(caller, 600, 1.0)
    callers.samples(caller, 600, 0.5)  # all 600 are there still
    with pytest.raises(Refused, match="samples"):
        callers.samples(caller, 1, 0.0)
    with pytest.raises(Refused, match="this request needs 3"):
        callers.samples(caller, 0, 3.0)


def test_a_quota_over_http_and_cached_answers_are_free():
    caller = Caller("alice", hashed("alice-key"), samples_per_day=250)
    with gateway(callers=[caller]) as running:
        key = {"Authorization": "Bearer alice-key"}
        statuses = [
            running.ask("POST", "/v1/certify", picture(level), **key).status for level in (200, 201, 202, 200, 201)
        ]
    assert statuses == [200, 200, 429, 200, 200]


GOOD = {"keys": [{"name": "alice", "sha256": "a" * 64}]}
BAD_KEYS = {
    "nothing": "",
    "no JSON": "keys",
    "a list": "[]",
    "no keys": json.dumps({"keys": []}),
    "more": json.dumps({**GOOD, "x": 1}),
    "a key in the clear": json.dumps({"keys": [{"name": "alice", "sha256": "hunter2"}]}),
    "a name of a path": json.dumps({"keys": [{"name": "../alice", "sha256": "a" * 64}]}),
    "a name twice": json.dumps({"keys": [{"name": "a", "sha256": "a" * 64}, {"name": "a", "sha256": "b" * 64}]}),
    "a key twice": json.dumps({"keys": [{"name": "a", "sha256": "a" * 64}, {"name": "b", "sha256": "a" * 64}]}),
    "an unknown field": json.dumps({"keys": [{"name": "a", "sha256": "a" * 64, "quota": 5}]}),
    "a negative quota": json.dumps({"keys": [{"name": "a", "sha256": "a" * 64, "samples_per_day": -1}]}),
    "a quota of text": json.dumps({"keys": [{"name": "a", "sha256": "a" * 64, "requests_per_minute": "5"}]}),
    "a field twice": '{"keys": [{"name": "a", "name": "b", "sha256": "' + "a" * 64 + '"}]}',
    "deep": "[" * 100_000,
}


@pytest.mark.parametrize("text", BAD_KEYS.values(), ids=BAD_KEYS.keys())
def test_a_file_of_keys_that_is_none(tmp_path, text):
    path = tmp_path / "keys.json"
    path.write_text(text)
    with pytest.raises(BadParameter) as complaint:
        read_callers(path)
    assert "hunter2" not in str(complaint.value)
    path.write_text(json.dumps(GOOD))
    assert read_callers(path) == [Caller("alice", "a" * 64)]


def test_secrets_that_others_may_read_are_refused(tmp_path):
    path = tmp_path / "aws.json"
    path.write_text('{"AKIDALICE0000000001": "hunter2"}')
    path.chmod(0o644)
    with pytest.raises(BadParameter, match="chmod 600"):
        read_secrets(path)
    path.chmod(0o600)
    assert read_secrets(path) == {"AKIDALICE0000000001": "hunter2"}
    for text in ("hunter2", '{"a": 5}', "{}", '["hunter2"]'):
        path.write_text(text)
        with pytest.raises(BadParameter) as complaint:
            read_secrets(path)
        assert "hunter2" not in str(complaint.value)


MODEL = ("serve", "-c", "import:support:Linear", "-d", "none")
REFUSED = {
    "no size": ((), "set one with --size"),
    "a host without keys": (("--host", "0.0.0.0"), "pass --keys"),
    "a proxy without keys": (("--behind-proxy",), "pass --keys"),
    "keys unencrypted": (("--host", "0.0.0.0", "--keys", "keys.json"), "pass --tls-certificate"),
    "TLS without its files": (
        ("--host", "0.0.0.0", "--keys", "k", "--tls-certificate", "c.pem", "--tls-key", "k.pem"),
        "expected a certificate chain",
    ),
    "half of TLS": (("--tls-key", "key.pem"), "TLS needs both"),
    "a port of 70000": (("--port", "70000"), "port must be from 0"),
    "a port that is a word": (("--port", "http"), "must be a whole number"),
    "a host that is none": (
        ("--size", "16", "--host", "127.0.0.1.1", "--keys", "k", "--behind-proxy"),
        "cannot read it",
    ),
    "no keys there": (("--keys", "nowhere.json"), "cannot read it"),
    "a deadline of 0": (("--deadline", "0"), "--deadline must be above 0"),
    "no votes": (("--most-votes", "0"), "most-votes"),
    "an end that never comes": (("--drain", "nan"), "--drain must be from 0"),
    "secrets without callers": (("--aws-secrets", "aws.json"), "--aws-secrets belongs to --keys"),
    "a run's options": (("-c", "http://127.0.0.1:1", "--dry-run", "--size", "16"), "Unknown option: --dry-run"),
    "a size of 0": (("--size", "0"), "size"),
    "a negative radius": (("--radius", "-1"), "radii must be finite numbers"),
    "alpha of 2": (("--alpha", "2"), "alpha"),
    "no votes for the label": (("--n0", "0"), "n0 must be a whole number"),
    "a norm below 1": (("--norm", "0.5"), "norm"),
    "a bound with a radius": (("--bound", "cohen-randomised", "--radius", "0.1"), "has its own bound"),
    "no folder to record in": (("--size", "16", "--record", "/proc/x"), "cannot be written"),
    "a classifier that is none": (("-c", "import:nowhere:x"), "cannot be imported"),
}


@pytest.mark.parametrize(("arguments", "says"), REFUSED.values(), ids=REFUSED.keys())
def test_an_operators_mistake_is_one_sentence(tmp_path, monkeypatch, arguments, says):
    monkeypatch.chdir(tmp_path)
    given = (*MODEL, *arguments) if "-c" not in arguments else ("serve", *arguments)
    refused(tmp_path, *given, says=says)


def test_a_port_that_is_taken_is_refused(tmp_path, running, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused(
        tmp_path, *MODEL, "--size", "16", "--backend", "eager", "--port", running.server.port, says="cannot listen on"
    )
