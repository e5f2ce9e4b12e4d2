"""The Open Inference Protocol, spoken by Triton's own client and by hand."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from dsmooth.records.certificate_file import read_certificate
from serve.running import SIZE, gateway, picture

tritonclient = pytest.importorskip("tritonclient.http", reason="the protocol's best-known client")
MODEL = "/v2/models/default"
PIXELS = np.stack([np.full((SIZE, SIZE, 3), level, np.uint8) for level in (40, 220)])


@pytest.fixture(scope="module")
def running():
    with gateway() as opened:
        yield opened


@pytest.fixture
def client(running):
    opened = tritonclient.InferenceServerClient(running.url.removeprefix("http://"))
    yield opened
    opened.close()


def test_tritons_client_is_told_what_there_is(client):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("default")
    assert not client.is_model_ready("another")
    assert client.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    told = client.get_model_metadata("default")
    assert told["inputs"] == [{"name": "image", "datatype": "UINT8", "shape": [-1, SIZE, SIZE, 3]}]
    assert [output["name"] for output in told["outputs"]] == ["label", "label_index", "radius", "votes", "certificate"]
    assert client.is_model_ready("default", told["versions"][0])


@pytest.mark.parametrize("sent", [True, False])
@pytest.mark.parametrize("received", [True, False])
def test_tritons_client_is_answered(client, tmp_path, sent, received):
    tensor = tritonclient.InferInput("image", list(PIXELS.shape), "UINT8")
    tensor.set_data_from_numpy(PIXELS, binary_data=sent)
    names = ("label", "label_index", "radius", "votes", "certificate")
    outputs = [tritonclient.InferRequestedOutput(name, binary_data=received) for name in names]
    answer = client.infer("default", [tensor], request_id="mine", outputs=outputs, parameters={"n": 150})
    assert answer.get_response()["id"] == "mine"
    assert list(answer.as_numpy("label").astype(str)) in (["dark", "light"], ["b'dark'", "b'light'"])
    assert answer.as_numpy("label_index").tolist() == [0, 1]
    assert (answer.as_numpy("radius") > 0.3).all()
    assert answer.as_numpy("votes").tolist() == [[150, 0], [0, 150]]
    for i, document in enumerate(answer.as_numpy("certificate")):
        path = tmp_path / f"{i}.json"
        path.write_bytes(document if isinstance(document, bytes) else document.encode())
        assert read_certificate(path).record.answer == i


def test_image_files_come_as_bytes(client):
    tensor = tritonclient.InferInput("image", [2], "BYTES")
    tensor.set_data_from_numpy(np.array([picture(30), picture(230, size=40, kind="JPEG")], dtype=object))
    answer = client.infer("default", [tensor])
    assert answer.as_numpy("label").tolist() == [b"dark", b"light"]


def test_an_abstention_is_minus_1_with_radius_0(client):
    half = np.full((1, SIZE, SIZE, 3), 127, np.uint8)
    half[:, ::2] = 128
    tensor = tritonclient.InferInput("image", list(half.shape), "UINT8")
    tensor.set_data_from_numpy(half)
    # on the border of the two classes, so that chance certifies it: with probability 6e-10, at the usual alpha with 9e-4
    answer = client.infer("default", [tensor], parameters={"alpha": 1e-9})
    assert answer.as_numpy("label").tolist() == [b""]
    assert answer.as_numpy("label_index").tolist() == [-1]
    assert answer.as_numpy("radius").tolist() == [0.0]


def test_a_refusal_reaches_tritons_client(client):
    tensor = tritonclient.InferInput("image", list(PIXELS.shape), "UINT8")
    tensor.set_data_from_numpy(PIXELS)
    for model, parameters, said in (("another", {}, "one of the models"), ("default", {"n": 10**6}, "request fewer")):
        with pytest.raises(tritonclient.InferenceServerException, match=said):
            client.infer(model, [tensor], parameters=parameters)


def request(**changes):
    tensor = {"name": "image", "datatype": "UINT8", "shape": [1, SIZE, SIZE, 3], "data": [200] * (SIZE * SIZE * 3)}
    return {"inputs": [{**tensor, **changes}]}


def test_plain_json_without_any_client(running):
    answer = running.ask("POST", f"{MODEL}/infer", json.dumps({"id": "7", **request()}).encode())
    assert answer.value["id"] == "7"
    outputs = {output["name"]: output["data"] for output in answer.value["outputs"]}
    assert outputs["label"] == ["light"]
    assert answer.headers["Dsmooth-Label"] == "light"
    nested = np.full((1, SIZE, SIZE, 3), 20).tolist()
    answer = running.ask("POST", f"{MODEL}/infer", json.dumps(request(data=nested)).encode())
    assert answer.headers["Dsmooth-Label"] == "dark"


STRANGE = {
    "no inputs": {},
    "inputs are no list": {"inputs": {}},
    "two inputs": {"inputs": request()["inputs"] * 2},
    "another name": request(name="x"),
    "floats": request(datatype="FP32"),
    "no shape": request(shape=[]),
    "a shape of text": request(shape=["1"]),
    "a negative shape": request(shape=[-1, SIZE, SIZE, 3]),
    "another size": request(shape=[1, 8, 8, 3]),
    "a shape of truth": request(shape=[True, SIZE, SIZE, 3]),
    "17 images": request(shape=[17, SIZE, SIZE, 3]),
    "too few pixels": request(data=[1, 2]),
    "a pixel of 256": request(data=[256] * (SIZE * SIZE * 3)),
    "a negative pixel": request(data=[-1] * (SIZE * SIZE * 3)),
    "a pixel of 1e400 digits": request(data=[10**400] * (SIZE * SIZE * 3)),
    "pixels of text": request(data=["a"] * (SIZE * SIZE * 3)),
    "pixels of null": request(data=[None] * (SIZE * SIZE * 3)),
    "half pixels": request(data=[0.5] * (SIZE * SIZE * 3)),
    "ragged": request(data=[[1], [2, 3]]),
    "a pixel of truth": request(data=[True] * (SIZE * SIZE * 3)),
    "nested otherwise": request(data=np.full((1, 3, SIZE, SIZE), 20).tolist()),
    "nested in part": request(data=[[[[20] * 3] * SIZE] * (SIZE - 1) + [20] * (SIZE * 3)]),
    "one long text among pixels": request(data=["a" * 1000, *[0] * 3_000_000]),
    "a mode of half a character": {**request(), "parameters": {"mode": "\ud800"}},
    "a parameter of half a character": {**request(), "parameters": {"\ud800": 1}},
    "an output of half a character": {**request(), "outputs": [{"name": "\ud800"}]},
    "three million objects": {**request(), "parameters": {"n": [{}] * 3_000_000}},
    "data of text": request(data="abc"),
    "announced bytes that are not there": request(parameters={"binary_data_size": 5}),
    "bytes of truth": request(parameters={"binary_data_size": True}),
    "parameters are a list": {**request(), "parameters": []},
    "a seed": {**request(), "parameters": {"seed": 1}},
    "an unknown parameter": {**request(), "parameters": {"m": 1}},
    "n of text": {**request(), "parameters": {"n": "many"}},
    "n is null": {**request(), "parameters": {"n": None}},
    "n of a list": {**request(), "parameters": {"n": [1]}},
    "n below 1": {**request(), "parameters": {"n": 0}},
    "alpha of 1": {**request(), "parameters": {"alpha": 1.0}},
    "id is a number": {**request(), "id": 5},
    "an unknown output": {**request(), "outputs": [{"name": "logits"}]},
    "outputs of text": {**request(), "outputs": ["label"]},
    "an output twice": {**request(), "outputs": [{"name": "label"}, {"name": "label"}]},
    "BYTES that are no base64": request(datatype="BYTES", shape=[1], data=["é"]),
    "BYTES that are no image": request(datatype="BYTES", shape=[1], data=["aGVsbG8="]),
    "BYTES of another number": request(datatype="BYTES", shape=[2], data=["aGVsbG8="]),
    "BYTES of numbers": request(datatype="BYTES", shape=[1], data=[5]),
}


@pytest.mark.parametrize("value", STRANGE.values(), ids=STRANGE.keys())
def test_strange_requests_get_one_sentence(running, value):
    answer = running.ask("POST", f"{MODEL}/infer", json.dumps(value, separators=(",", ":")).encode())
    assert 400 <= answer.status < 500, answer.body
    assert answer.value.keys() == {"error"}
    assert "\n" not in answer.value["error"]


@pytest.mark.parametrize("length", ["", "x", "-1", "99999999", "9" * 5000, "3"])
def test_a_wrong_length_of_the_json(running, length):
    answer = running.ask(
        "POST", f"{MODEL}/infer", json.dumps(request()).encode(), Inference_Header_Content_Length=length
    )
    assert answer.status == 400, answer.body


@pytest.mark.parametrize("binary", [b"\x05\0\0\0abc", b"\x05", b"\xff\xff\xff\xff", b""])
def test_broken_bytes(running, binary):
    value = request(datatype="BYTES", shape=[1], parameters={"binary_data_size": len(binary)})
    del value["inputs"][0]["data"]
    head = json.dumps(value).encode()
    answer = running.ask("POST", f"{MODEL}/infer", head + binary, Inference_Header_Content_Length=str(len(head)))
    assert answer.status == 400, answer.body


def test_not_ready_while_it_ends(running):
    assert running.ask("GET", "/v2/health/live").status == 200
    running.desk.draining = True
    try:
        assert running.ask("GET", "/v2/health/ready").status == 503
        assert running.ask("POST", "/v1/certify", picture()).status == 503
    finally:
        running.desk.draining = False


def test_a_picture_is_one_whichever_way_it_comes(running):
    pixels = np.random.default_rng(5).integers(150, 250, (SIZE, SIZE, 3)).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    first = running.ask("POST", "/v1/certify", buffer.getvalue())
    again = running.ask("POST", f"{MODEL}/infer", json.dumps(request(data=pixels.ravel().tolist())).encode())
    assert again.headers["Dsmooth-Cached"] == "true"
    assert again.headers["Dsmooth-Certificate"] == first.headers["Dsmooth-Certificate"]
