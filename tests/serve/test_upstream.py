"""In front of a vision service: the same SDK on both sides, and certificates that say what can be checked of them."""

import hashlib
import threading

import pytest

from dsmooth.classifiers.remote import RemoteClassifier
from dsmooth.errors import BadParameter
from dsmooth.records.certificate_file import read_certificate
from dsmooth.records.envelope import SigningKey
from dsmooth.serve.callers import Caller
from dsmooth.services.gate import Limits as Budget
from serve.running import gateway, picture
from serve.test_provider_faces import ASKED
from services.servers import SECRETS, SPECS, Brain, Server, brightness, connection, server
from support import dsmooth

TERMS = {"n0": 10, "n": 60, "alpha": 0.01}


@pytest.fixture(autouse=True)
def keys(monkeypatch):
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("wire", SPECS)
def test_a_provider_is_made_robust_for_its_own_sdk(tmp_path, wire):
    brain = Brain(brightness)
    file = picture(200, size=100)
    with server(wire, brain) as upstream:
        name, endpoint = connection(wire, upstream.url)
        remote = RemoteClassifier(name, endpoint=endpoint)
        assert dsmooth("keygen", tmp_path / "key.pem").code == 0
        sealed = SigningKey(tmp_path / "key.pem").sealed
        with gateway(classifier=remote, terms=TERMS, record=tmp_path / "record", sealed=sealed) as running:
            labels, _ = ASKED[wire](running.url, file)
            told = running.ask("POST", "/v1/certify", file).value
            assert running.metric("dsmooth_upstream_requests_total", provider=name, code="answered") == 70
            assert running.metric("dsmooth_upstream_cost_dollars_total", model="default") == pytest.approx(
                70 * remote.limits.price / 1000
            )
        assert brain.queries == 70  # once: what was recorded is not paid for again
    assert [label for label, _ in labels] == ["light"]
    assert (told["answer"], told["cached"]) == ("light", True)
    (path,) = (tmp_path / "record").rglob("*.json")
    service = read_certificate(path).record.service
    assert service["provider"] == name
    assert service["version"] == {"aws": "3.0", "azure": "3.0", "clarifai": "3.0"}.get(wire)
    (tmp_path / "x.png").write_bytes(file)
    done = dsmooth("verify", path, "--images", tmp_path / "x.png", "--public-key", tmp_path / "key.pem.pub")
    assert done.code == 4, done.out + done.err
    assert "consistent, not verified" in done.out
    assert "signed by ed25519:" in done.out


def test_a_certificate_of_a_service_is_asked_anew_within_a_budget(tmp_path):
    file = tmp_path / "x.png"
    file.write_bytes(picture(200, size=100))
    with Server(Brain(brightness)) as upstream:
        remote = RemoteClassifier("aws:rekognition", endpoint=upstream.url)
        with gateway(classifier=remote, terms=TERMS, record=tmp_path / "record") as running:
            assert running.ask("POST", "/v1/certify", file.read_bytes()).status == 200
        (path,) = (tmp_path / "record").rglob("*.json")
        done = dsmooth(
            "verify", path, "--images", file, "-c", "aws:rekognition", "--endpoint", upstream.url, "-d", "none", "--again",
            "--max-dollars", "1",
        )  # fmt: skip
    assert "certificates under a new key" in done.out, done.out + done.err
    assert done.code in (0, 4)


def test_a_spent_budget_is_a_503_and_no_certificate(tmp_path):
    with Server(Brain(brightness)) as upstream:
        budget = Budget(max_queries=100, tries=1)
        remote = RemoteClassifier("aws:rekognition", endpoint=upstream.url, limits=budget)
        with gateway(classifier=remote, terms=TERMS, record=tmp_path / "record") as running:
            answers = [running.ask("POST", "/v1/certify", picture(level, size=100)) for level in (200, 201, 202)]
            assert running.ask("GET", "/v2/health/ready").status == 503
    assert [answer.status for answer in answers] == [200, 503, 503]
    assert "budget" in answers[1].value["error"] or "queries" in answers[1].value["error"], answers[1].value
    assert len(list((tmp_path / "record").rglob("*.json"))) == 1


ALICE = Caller("alice", hashlib.sha256(b"alice-key").hexdigest(), dollars_per_day=0.15)


def test_a_caller_has_so_many_dollars_a_day():
    key = {"Authorization": "Bearer alice-key"}
    with Server(Brain(brightness)) as upstream:
        remote = RemoteClassifier("aws:rekognition", endpoint=upstream.url, limits=Budget(price=1.0))
        with gateway(classifier=remote, terms=TERMS, callers=[ALICE]) as running:
            files = [picture(level, size=100) for level in (200, 201, 202, 200)]
            answers = [running.ask("POST", "/v1/certify", file, **key) for file in files]
    assert [answer.status for answer in answers] == [
        200,
        200,
        429,
        200,
    ]  # 70 queries each; what is recorded costs nothing
    assert "dollars" in answers[2].value["error"]


def test_a_quota_of_money_needs_a_price():
    with Server(Brain(brightness)) as upstream:
        remote = RemoteClassifier("aws:rekognition", endpoint=upstream.url)
        remote.limits = Budget()
        with pytest.raises(BadParameter, match="pass --price"), gateway(classifier=remote, callers=[ALICE]):
            pass


def test_a_service_that_fails_is_a_503_without_its_key(monkeypatch):
    brain = Brain(brightness, script=lambda number: "refused")
    with Server(brain) as upstream:
        remote = RemoteClassifier("aws:rekognition", endpoint=upstream.url, limits=Budget(tries=1))
        with gateway(classifier=remote, terms=TERMS) as running:
            answer = running.ask("POST", "/v1/certify", picture(200, size=100))
            assert answer.status == 503
            assert "the service behind this server failed" in answer.value["error"]
            assert not any(secret in str(answer.value) + str(running.log) for secret in SECRETS.values())
            assert running.ask("GET", "/v2/health/ready").status == 503
            assert running.ask("GET", "/v2/health/live").status == 200
            monkeypatch.setattr("dsmooth.services.gate._REST", 0.0)
            assert running.ask("GET", "/v2/health/ready").status == 200  # somebody may try again
            brain.script = lambda number: None
            assert running.ask("POST", "/v1/certify", picture(200, size=100)).status == 200  # it goes on by itself


def test_lost_answers_count_against_the_claim():
    brain = Brain(brightness, script=lambda number: "empty" if number % 2 == 0 else None)
    with Server(brain) as upstream:
        remote = RemoteClassifier("aws:rekognition", endpoint=upstream.url)
        with gateway(classifier=remote, terms=TERMS) as running:
            told = running.ask("POST", "/v1/certify", picture(250, size=100)).value
            assert running.metric("dsmooth_missing_votes_total", reason="no_answer") > 20
    assert told["votes"]["missing"] > 20
    assert told["abstained"]  # all votes that came were for one label


def test_what_another_version_of_the_model_said_answers_no_repeat(tmp_path):
    brain, file = Brain(brightness), picture(200, size=100)

    def opened():
        remote = RemoteClassifier("aws:rekognition", endpoint=upstream.url)
        return gateway(classifier=remote, terms=TERMS, record=tmp_path / "record")

    with Server(brain) as upstream:
        with opened() as running:
            first = running.ask("POST", "/v1/certify", file).value["certificate"]
        with opened() as running:  # as far as it knows, the model is the same
            assert running.ask("POST", "/v1/certify", file).headers["Dsmooth-Cached"] == "true"
            assert brain.queries == 70
        brain.version = "4.0"
        with opened() as running:
            assert running.ask("POST", "/v1/certify", picture(50, size=100)).status == 200  # now it knows
            second = running.ask("POST", "/v1/certify", file)
            third = running.ask("POST", "/v1/certify", file)
    assert [answer.headers["Dsmooth-Cached"] for answer in (second, third)] == ["false", "true"]
    assert second.value["certificate"] == third.value["certificate"] == first.replace("-1", "-2")


def test_where_the_model_changes_no_certificate_is_of_both_versions(tmp_path):
    brain = Brain(brightness, script={100: "version"})
    with Server(brain) as upstream:
        remote = RemoteClassifier("aws:rekognition", endpoint=upstream.url)
        with gateway(classifier=remote, terms=TERMS, record=tmp_path / "record") as running:
            answers = [running.ask("POST", "/v1/certify", picture(level, size=100)) for level in (200, 201, 202)]
    assert [answer.status for answer in answers] == [200, 503, 200]
    assert "version changed from 3.0 to 4.0" in answers[1].value["error"]
    records = [read_certificate(path).record for path in (tmp_path / "record").rglob("*.json")]
    assert {record.image: record.service["version"] for record in records} == {
        answers[0].value["image"]: "3.0",
        answers[2].value["image"]: "4.0",
    }


class Hurried(RemoteClassifier):
    """Says who asks for its version: it may be another one by the time that anybody else does."""

    @property
    def version(self):
        return "in time" if threading.current_thread().name == "dsmooth-session" else None


def test_the_version_in_a_record_is_the_one_that_voted(tmp_path):
    with Server(Brain(brightness)) as upstream:
        remote = Hurried("aws:rekognition", endpoint=upstream.url)
        with gateway(classifier=remote, terms=TERMS, record=tmp_path) as running:
            assert running.ask("POST", "/v1/certify", picture(200, size=100)).status == 200
    (path,) = tmp_path.rglob("*.json")
    assert read_certificate(path).record.service["version"] == "in time"


def test_answers_of_a_service_are_not_kept_for_ever(monkeypatch):
    monkeypatch.setattr("dsmooth.services.client._MOST_KEPT", 50)
    with Server(Brain(brightness)) as upstream:
        remote = RemoteClassifier("aws:rekognition", endpoint=upstream.url)
        with gateway(classifier=remote, terms=TERMS) as running:
            for level in (200, 201, 202):
                assert running.ask("POST", "/v1/certify", picture(level, size=100)).status == 200
                assert len(remote._client._raw_of) <= 50
