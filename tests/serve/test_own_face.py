"""The gateway's own face: what comes back is the certificate that the library makes, and can be checked."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from dsmooth import TorchClassifier
from dsmooth.images.decoding import read_image
from dsmooth.records.certificate_file import read_certificate
from dsmooth.records.envelope import SigningKey
from dsmooth.records.keys import commitment_of
from dsmooth.smoothing.chunks import MasterKey
from dsmooth.smoothing.smoothed import SmoothedClassifier
from serve.running import NAMES, SIZE, gateway, picture, until
from support import Linear, dsmooth


def named(folder):
    """The options of the classifier that answers here, with the names of its classes."""
    (folder / "names.txt").write_text("\n".join(NAMES))
    return ("-c", "import:support:Linear", "--class-names", folder / "names.txt")


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with gateway(record=tmp_path_factory.mktemp("record")) as opened:
        yield opened


def test_a_picture_is_certified(running):
    answer = running.ask("POST", "/v1/certify", picture(200))
    assert answer.status == 200, answer.body
    told, headers = answer.value, answer.headers
    assert (told["answer"], told["name"], told["abstained"]) == (1, "light", False)
    assert told["votes"] == {"answer": 100, "missing": 0, "trials": 100}
    assert headers["Dsmooth-Label"] == "light"
    assert headers["Dsmooth-Votes"] == "100/100"
    assert headers["Dsmooth-Radius"] == told["radius"]
    assert float(told["radius"]) > 0.3
    assert headers["Dsmooth-Certificate"] == told["certificate"]
    assert headers["Dsmooth-Commitment"] == told["commitment"]
    assert headers["Dsmooth-Abstained"] == "false"
    assert 0.9 < float(told["least_probability"]) < 1


def test_the_certificate_is_the_one_that_the_library_makes_under_the_same_key(running, tmp_path):
    file = picture(131, spot=3)
    told = running.ask("POST", "/v1/certify?n=300&norm=1", file).value
    path = tmp_path / "certificate.json"
    path.write_bytes(running.ask("GET", f"/v1/certificates/{told['certificate']}").body)
    kept = read_certificate(path)
    assert commitment_of(kept.key) == told["commitment"]
    smoothed = SmoothedClassifier(TorchClassifier(Linear(), class_names=NAMES), None, 0.25, backend="eager", workers=1)
    with smoothed:
        image = read_image(io.BytesIO(file), name="image", size=SIZE)
        question = smoothed.question(n0=20, n=300, alpha=0.001, norm=1.0)
        (tally,) = smoothed.tallies([image], question, MasterKey(kept.key, "os"))
        certificate = tally.certificate(question)
    assert certificate.answer == told["answer"]
    assert certificate.estimation.trials == 300
    assert certificate.estimation.of(certificate.answer) == told["votes"]["answer"]


@pytest.mark.parametrize("mode", ["", "&mode=curve&radii=0,0.1,0.4", "&mode=decision&radius=0.1", "&mode=radius"])
def test_a_recorded_certificate_is_verified_with_networks_and_picture(running, tmp_path, mode):
    (tmp_path / "x.png").write_bytes(picture(180, spot=len(mode)))
    told = running.ask("POST", f"/v1/certify?n=200{mode}", (tmp_path / "x.png").read_bytes()).value
    (path,) = running.desk.archive._folder.glob(f"local/{told['certificate'][:32]}/1-*.json")
    shown = ("--images", tmp_path / "x.png", "-d", "none", *named(tmp_path), "--all")
    done = dsmooth("verify", path, *shown)
    assert done.code == 0, done.out + done.err
    assert dsmooth("verify", path).code == 4
    (tmp_path / "y.png").write_bytes(picture(179))
    assert dsmooth("verify", path, "--images", tmp_path / "y.png").code == 1


def test_another_size_is_cut_as_the_record_says(running):
    image = Image.fromarray(np.random.default_rng(0).integers(150, 255, (40, 60, 3)).astype(np.uint8))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG")
    told = running.ask("POST", "/v1/certify", buffer.getvalue()).value
    document = json.loads(running.ask("GET", f"/v1/certificates/{told['certificate']}").body)
    assert document["record"]["shape"] == [SIZE, SIZE, 3]
    assert f"centre {SIZE} x {SIZE}" in document["record"]["decoding"]
    assert document["record"]["name"] == "image"


def test_an_abstention_has_radius_0_and_a_certificate_too(running):
    half = np.full((SIZE, SIZE, 3), 127, np.uint8)
    half[::2] = 128
    buffer = io.BytesIO()
    Image.fromarray(half).save(buffer, "PNG")
    # on the border of the two classes, so that chance certifies it: with probability 6e-10, at the usual alpha with 9e-4
    answer = running.ask("POST", "/v1/certify?alpha=1e-9", buffer.getvalue())
    assert answer.value["abstained"] is True
    assert answer.value["radius"] == answer.headers["Dsmooth-Radius"] == "0"
    assert answer.headers["Dsmooth-Abstained"] == "true"
    assert "Dsmooth-Label" not in answer.headers
    assert running.ask("GET", f"/v1/certificates/{answer.value['certificate']}").status == 200


def test_a_prediction_has_no_radius(running):
    answer = running.ask("POST", "/v1/predict?n=50", picture(60))
    assert answer.value["name"] == "dark"
    assert answer.value["votes"]["trials"] == 50
    assert "radius" not in answer.value
    assert "Dsmooth-Radius" not in answer.headers
    assert "Dsmooth-Certificate" not in answer.headers


def test_a_repeat_is_answered_by_the_certificate_that_exists(running):
    file = picture(190, spot=77)
    first = running.ask("POST", "/v1/certify", file)
    again = running.ask("POST", "/v1/certify", file)
    other = running.ask("POST", "/v1/certify?n=101", file)
    assert [each.headers["Dsmooth-Cached"] for each in (first, again, other)] == ["false", "true", "false"]
    assert again.value == {**first.value, "cached": True}
    assert first.value["certificate"].endswith("-1")
    assert other.value["certificate"].endswith("-2")  # another attempt at the same subject
    document = json.loads(running.ask("GET", f"/v1/certificates/{other.value['certificate']}").body)
    assert document["record"]["attempt"] == 2


def test_without_the_cache_every_request_is_an_attempt_under_a_key_of_its_own():
    with gateway(cache=False) as running:
        told = [running.ask("POST", "/v1/certify", picture(180)).value for _ in range(3)]
    assert [each["certificate"][-2:] for each in told] == ["-1", "-2", "-3"]
    assert len({each["commitment"] for each in told}) == 3


def test_recorded_certificates_outlive_the_server(tmp_path):
    with gateway(record=tmp_path) as running:
        told = running.ask("POST", "/v1/certify", picture(180)).value
    assert (tmp_path / "local").stat().st_mode & 0o077 == 0
    with gateway(record=tmp_path) as running:
        again = running.ask("POST", "/v1/certify", picture(180))
        assert again.headers["Dsmooth-Cached"] == "true"
        assert again.value == {**told, "cached": True}
        other = running.ask("POST", "/v1/certify?alpha=0.01", picture(180)).value
        assert other["certificate"].endswith("-2")


def test_a_job_tells_its_votes_and_then_its_certificate(running):
    begun = running.ask("POST", "/v1/jobs?n=20000", picture(140))
    assert begun.status == 202
    place = begun.headers["Location"]
    events = running.ask("GET", f"{place}/events")
    assert events.headers["Content-Type"].startswith("text/event-stream")
    blocks = [block.split("\n") for block in events.body.decode().strip().split("\n\n") if not block.startswith(":")]
    names, values = [lines[0][7:] for lines in blocks], [json.loads(lines[1][6:]) for lines in blocks]
    assert set(names[:-1]) == {"votes"}
    assert names[-1] == "done"
    counts = [value["votes"]["estimation"]["trials"] for value in values]
    assert counts == sorted(counts)
    assert len(set(counts)) > 2
    last = values[-1]
    assert last["certificate"]["votes"]["trials"] == 20_000
    assert last["commitment"] == last["certificate"]["commitment"]
    assert {value["commitment"] for value in values if value["commitment"]} == {last["commitment"]}
    fetched = running.ask("GET", place)
    assert fetched.value == last
    assert fetched.headers["Dsmooth-Certificate"] == last["certificate"]["certificate"]
    assert running.ask("POST", "/v1/certify?n=20000", picture(140)).status == 400  # too many to be waited for


def test_a_job_can_be_cancelled(running):
    place = running.ask("POST", "/v1/jobs?n=900000", picture(141)).headers["Location"]
    assert running.ask("DELETE", place).status == 204
    running.wait_for_idle()
    assert running.ask("GET", place).value["state"] == "failed"
    assert running.ask("POST", "/v1/certify", picture(142)).status == 200


def test_what_is_measured(running):
    running.ask("POST", "/v1/certify", picture(201, spot=9))
    text = running.ask("GET", "/metrics").body.decode()
    for name in (
        "dsmooth_requests_total", "dsmooth_request_duration_seconds_bucket", "dsmooth_queue_images", "dsmooth_samples_total",
        "dsmooth_abstentions_total", "dsmooth_certified_radius_bucket", "dsmooth_missing_votes_total",
        "dsmooth_rejections_total", "dsmooth_samples_per_second",
    ):  # fmt: skip
        assert f"\n{name}" in text, name
    assert running.metric("dsmooth_requests_total", face="own", method="POST", code="200") > 0


def test_a_request_is_one_line_of_the_log_without_its_words(running):
    before = len(running.log)
    running.ask("POST", "/v1/certify?n=bad%0Avalue", picture(200), X_Secret="hunter2")
    until(lambda: any("reason" in line for line in running.log[before:]))
    (line,) = [line for line in running.log[before:] if "reason" in line]
    assert (line["status"], line["reason"], line["endpoint"]) == (400, "bad_request", "/v1/certify")
    assert "hunter2" not in str(line)
    assert "value" not in str(line)


def test_a_signed_certificate(tmp_path):
    assert dsmooth("keygen", tmp_path / "key.pem").code == 0
    signer = SigningKey(tmp_path / "key.pem")
    (tmp_path / "x.png").write_bytes(picture(180))
    with gateway(record=tmp_path / "record", sealed=signer.sealed) as running:
        told = [running.ask("POST", "/v1/certify", (tmp_path / "x.png").read_bytes()) for _ in range(2)]
        document = running.ask("GET", f"/v1/certificates/{told[0].value['certificate']}").body
    assert told[1].headers["Dsmooth-Cached"] == "true"
    (tmp_path / "certificate.json").write_bytes(document)
    shown = ("--images", tmp_path / "x.png", "-d", "none", *named(tmp_path), "--all")
    done = dsmooth("verify", tmp_path / "certificate.json", *shown, "--public-key", tmp_path / "key.pem.pub")
    assert done.code == 0, done.out + done.err
    assert f"signed by {signer.name}" in done.out


def test_without_a_folder_the_last_certificates_are_kept_within_bounds(monkeypatch):
    monkeypatch.setattr("dsmooth.serve.archive._MOST_BYTES", 20_000)
    with gateway() as running:
        names = [running.ask("POST", "/v1/certify", picture(180, spot=i)).value["certificate"] for i in range(30)]
        statuses = [running.ask("GET", f"/v1/certificates/{name}").status for name in names]
        assert sum(len(kept.document) for _, kept in running.desk.archive._kept.values()) <= 20_000
    assert statuses[-1] == 200
    assert statuses[0] == 404
    assert statuses == sorted(statuses, reverse=True)


def test_predictions_are_no_attempts(running):
    for _ in range(3):
        running.ask("POST", "/v1/predict", picture(177, spot=5))
    assert running.ask("POST", "/v1/certify", picture(177, spot=5)).value["certificate"].endswith("-1")


def test_a_job_that_is_sent_twice_is_one_job(running):
    first = running.ask("POST", "/v1/jobs?n=300", picture(171), Idempotency_Key="mine")
    again = running.ask("POST", "/v1/jobs?n=300", picture(171), Idempotency_Key="mine")
    assert first.headers["Location"] == again.headers["Location"]
    assert running.ask("POST", "/v1/jobs?n=300", picture(171)).headers["Location"] != first.headers["Location"]
    for path, file in (("/v1/jobs?n=301", picture(171)), ("/v1/jobs?n=300", picture(172))):
        assert running.ask("POST", path, file, Idempotency_Key="mine").status == 400
    assert running.ask("POST", "/v1/jobs?n=300", picture(171), Idempotency_Key="x" * 200).status == 400
