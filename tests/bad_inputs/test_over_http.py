"""The catalogue of image files, and of strange parameters and bodies, sent to every face: one sentence each, at once."""

import base64
import json
import time

import numpy as np
import pytest

from bad_inputs.test_image_files import REFUSED
from dsmooth.serve.settings import Settings
from serve.running import gateway, picture
from serve.test_rpc import concepts

SECONDS = []  # of every refusal


@pytest.fixture(scope="module")
def running():
    with gateway(settings=Settings(port=0, grpc_port=0, drain=10.0)) as opened:
        yield opened


def b64(file):
    return base64.b64encode(file).decode()


def posted(path, value=None, **headers):
    return lambda running, file: running.ask(
        "POST", path, file if value is None else json.dumps(value(file)).encode(), **headers
    )


AWS = {"X_Amz_Target": "RekognitionService.DetectLabels"}
FACES = {
    "own": posted("/v1/certify"),
    "predict": posted("/v1/predict"),
    "inference": posted(
        "/v2/models/default/infer",
        lambda file: {"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": [b64(file)]}]},
    ),
    "aws": posted("/", lambda file: {"Image": {"Bytes": b64(file)}}, **AWS),
    "azure": posted(
        "/computervision/imageanalysis:analyze?api-version=2023-10-01&features=tags",
        Content_Type="application/octet-stream",
    ),
    "clarifai": posted(
        "/v2/users/u/apps/a/models/m/outputs", lambda f: {"inputs": [{"data": {"image": {"base64": b64(f)}}}]}
    ),
}


def sentence(answer):
    """The one sentence of a refusal, in whichever words its protocol wraps it."""
    value = answer.value
    error = value.get("error", value.get("status", value))
    return error if isinstance(error, str) else error.get("message", error.get("description"))


def is_refused(running, ask, file):
    started = time.monotonic()
    answer = ask(running, file)
    assert 400 <= answer.status < 500, (answer.status, answer.body[:300])
    SECONDS.append(time.monotonic() - started)
    said = sentence(answer)
    assert said
    assert "\n" not in said
    assert "Traceback" not in said
    return said


@pytest.mark.parametrize("name", REFUSED)
def test_every_bad_image_file_on_every_face(running, name):
    file, _ = REFUSED[name]
    if len(file) > 7_000_000:
        file = file[:7_000_000]
    for ask in FACES.values():
        said = is_refused(running, ask, file)
        assert "expected" in said
    features = [{"type": "LABEL_DETECTION"}]
    body = {"requests": [{"image": {"content": b64(file)}, "features": features}]}
    answer = running.ask("POST", "/v1/images:annotate", json.dumps(body).encode())
    if file:
        assert answer.value["responses"][0]["error"]["code"] == 3, answer.body[:300]
    assert running.ask("GET", "/v2/health/ready").status == 200


@pytest.mark.parametrize("name", REFUSED)
def test_every_bad_image_file_over_grpc(running, name):
    triton = pytest.importorskip("tritonclient.grpc")
    file = REFUSED[name][0][:7_000_000]
    tensor = triton.InferInput("image", [1], "BYTES")
    tensor.set_data_from_numpy(np.array([file], dtype=object))
    started = time.monotonic()
    with (
        triton.InferenceServerClient(f"127.0.0.1:{running.server.grpc_port}") as client,
        pytest.raises(triton.InferenceServerException, match="expected") as refused,
    ):
        client.infer("default", [tensor])
    SECONDS.append(time.monotonic() - started)
    assert refused.value.status() == "StatusCode.INVALID_ARGUMENT"
    status = concepts(running, file).status
    assert (status.code, "expected" in status.description) == (30002, True)


PARAMETERS = [
    "n=0", "n=-1", "n=1.5", "n=1e3", "n=", "n=nan", "n=%00", "n=9" + "9" * 400, "n=100000000", "n0=0", "n0=x", "alpha=0",
    "alpha=1",
    "alpha=0.5", "alpha=nan", "alpha=-1", "alpha=x", "alpha=inf", "norm=0", "norm=0.5", "norm=nan", "norm=x", "norm=-inf",
    "mode=other", "mode=decision", "mode=curve", "mode=fixed&radius=1", "radius=-1", "radius=nan", "radius=x", "radius=inf",
    "radii=", "radii=a,b", "radii=0.1,nan", "radii=" + ",".join(["0.1"] * 40), "radius=0.1&radii=0.1", "seed=1", "key=1",
    "n=10&n=20", "model=other", "model=", "batch=4", "sigma=0.5", "url=http://example.org/cat.png", "%F0%9F%90%88=1",
    "bound=x",
    "mode=" + "a" * 5000,
]  # fmt: skip


@pytest.mark.parametrize("query", PARAMETERS)
def test_every_strange_parameter(running, query):
    for path in ("/v1/certify", "/v1/jobs"):
        said = is_refused(running, lambda r, f, path=path: r.ask("POST", f"{path}?{query}", f), picture())
        assert len(said) < 400


def images(**changes):
    return {"requests": [{"image": {"content": b64(picture())}, "features": [{"type": 4}], **changes}]}


DEEP = b'{"a":' * 500 + b"1" + b"}" * 500
BODIES = {
    "aws: nothing": ("/", b"", AWS),
    "aws: no JSON": ("/", b"Image", AWS),
    "aws: deep": ("/", DEEP, AWS),
    "aws: very deep": ("/", b"[" * 200_000, AWS),
    "aws: a field twice": ("/", b'{"Image": {}, "Image": {}}', AWS),
    "aws: NaN": ("/", b'{"Image": NaN}', AWS),
    "aws: a list": ("/", b"[]", AWS),
    "aws: half a character": ("/", b'{"Image": {"Bytes": "\\ud800"}}', AWS),
    "aws: no UTF-8": ("/", b'{"Image": "\xff\xfe"}', AWS),
    "aws: S3": ("/", b'{"Image": {"S3Object": {"Bucket": "b", "Name": "n"}}}', AWS),
    "aws: no base64": ("/", b'{"Image": {"Bytes": "*"}}', AWS),
    "aws: bytes of a number": ("/", b'{"Image": {"Bytes": 5}}', AWS),
    "aws: other features": ("/", b'{"Image": {"Bytes": "eA=="}, "Features": ["IMAGE_PROPERTIES"]}', AWS),
    "aws: no target": ("/", b"{}", {}),
    "aws: another target": ("/", b"{}", {"X_Amz_Target": "RekognitionService.DeleteCollection"}),
    "google: no requests": ("/v1/images:annotate", b"{}", {}),
    "google: none": ("/v1/images:annotate", b'{"requests": []}', {}),
    "google: 17": ("/v1/images:annotate", json.dumps({"requests": images()["requests"] * 17}).encode(), {}),
    "google: a request of text": ("/v1/images:annotate", b'{"requests": ["x"]}', {}),
    "google: an address": (
        "/v1/images:annotate", json.dumps(images(image={"source": {"imageUri": "http://x"}})).encode(), {},
    ),
    "google: faces": ("/v1/images:annotate", json.dumps(images(features=[{"type": "FACE_DETECTION"}])).encode(), {}),
    "google: no features": ("/v1/images:annotate", json.dumps(images(features=None)).encode(), {}),
    "azure: an address": (
        "/computervision/imageanalysis:analyze?features=tags", b'{"url": "http://x"}', {"Content_Type": "application/json"},
    ),
    "azure: captions": ("/computervision/imageanalysis:analyze?features=caption", picture(), {}),
    "azure: no features": ("/computervision/imageanalysis:analyze", picture(), {}),
    "azure: nothing": ("/computervision/imageanalysis:analyze?features=tags", b"", {}),
    "clarifai: an address": ("/v2/models/m/outputs", b'{"inputs": [{"data": {"image": {"url": "http://x"}}}]}', {}),
    "clarifai: text": ("/v2/models/m/outputs", b'{"inputs": [{"data": {"text": {"raw": "x"}}}]}', {}),
    "clarifai: no inputs": ("/v2/models/m/outputs", b'{"inputs": []}', {}),
    "clarifai: inputs of text": ("/v2/models/m/outputs", b'{"inputs": "x"}', {}),
    "own: nothing": ("/v1/certify", b"", {}),
    "own: JSON": ("/v1/certify", b'{"url": "http://example.org/cat.png"}', {"Content_Type": "application/json"}),
    "inference: very deep": ("/v2/models/default/infer", b"[" * 200_000, {}),
    "inference: numbers without end": ("/v2/models/default/infer", b'{"id": 1' + b"0" * 5000 + b"}", {}),
}  # fmt: skip


@pytest.mark.parametrize("name", BODIES)
def test_every_strange_body(running, name):
    path, body, headers = BODIES[name]
    is_refused(running, lambda r, f: r.ask("POST", path, f, **headers), body)


def test_there_are_many_of_them():
    assert len(FACES) * len(REFUSED) + 2 * len(PARAMETERS) + len(BODIES) >= 150


def test_refusals_come_within_a_second(running):
    """As many as a busy machine lets be: all but one in twenty, of those that this worker of xdist asked for."""
    assert sum(seconds > 1.0 for seconds in SECONDS) <= len(SECONDS) / 20, sorted(SECONDS)[-10:]


def test_nothing_of_all_this_was_a_fault_of_the_server(running):
    assert running.ask("POST", "/v1/certify", picture()).status == 200
    assert not [line for line in running.log if line["status"] >= 500 or "error" in line]
