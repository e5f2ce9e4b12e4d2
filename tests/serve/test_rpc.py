"""gRPC: Triton's and Clarifai's own clients, with only the address changed."""

import hashlib

import numpy as np
import pytest

from dsmooth.errors import BadParameter
from dsmooth.records.certificate_file import read_certificate
from dsmooth.serve.callers import Caller
from dsmooth.serve.refusals import Refused
from dsmooth.serve.settings import Settings
from serve.running import SIZE, gateway, picture, until
from serve.test_core import Gate
from serve.test_guard import self_signed

grpc = pytest.importorskip("grpc")
triton = pytest.importorskip("tritonclient.grpc")
clarifai = pytest.importorskip("clarifai_grpc.channel.clarifai_channel")
PIXELS = np.stack([np.full((SIZE, SIZE, 3), level, np.uint8) for level in (40, 220)])
SETTINGS = Settings(port=0, grpc_port=0, drain=10.0)


@pytest.fixture(scope="module")
def running():
    with gateway(settings=SETTINGS) as opened:
        yield opened


@pytest.fixture
def client(running):
    with triton.InferenceServerClient(f"127.0.0.1:{running.server.grpc_port}") as opened:
        yield opened


def tensor(pixels):
    made = triton.InferInput("image", list(pixels.shape), "UINT8")
    made.set_data_from_numpy(pixels)
    return made


def test_tritons_client_is_told_what_there_is(client):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("default")
    assert client.get_server_metadata().name == "dsmooth"
    told = client.get_model_metadata("default")
    assert list(told.inputs[0].shape) == [-1, SIZE, SIZE, 3]
    assert [output.name for output in told.outputs] == ["label", "label_index", "radius", "votes", "certificate"]


def test_tritons_client_is_answered(client, tmp_path):
    answer = client.infer("default", [tensor(PIXELS)], request_id="mine", parameters={"n": 150, "mode": "fixed"})
    assert answer.get_response().id == "mine"
    assert answer.as_numpy("label").tolist() == [b"dark", b"light"]
    assert answer.as_numpy("label_index").tolist() == [0, 1]
    assert (answer.as_numpy("radius") > 0.3).all()
    assert answer.as_numpy("votes").tolist() == [[150, 0], [0, 150]]
    (tmp_path / "x.json").write_bytes(answer.as_numpy("certificate")[1])
    assert read_certificate(tmp_path / "x.json").record.answer == 1
    files = triton.InferInput("image", [1], "BYTES")
    files.set_data_from_numpy(np.array([picture(230, size=40)], dtype=object))
    chosen = [triton.InferRequestedOutput("label")]
    answer = client.infer("default", [files], outputs=chosen)
    assert answer.as_numpy("label").tolist() == [b"light"]
    assert answer.as_numpy("radius") is None


def test_a_refusal_is_a_code_and_a_sentence(client, running, monkeypatch):
    for model, parameters, code in (("another", {}, "NOT_FOUND"), ("default", {"n": 10**6}, "INVALID_ARGUMENT")):
        with pytest.raises(triton.InferenceServerException) as refused:
            client.infer(model, [tensor(PIXELS)], parameters=parameters)
        assert refused.value.status() == f"StatusCode.{code}"
    with pytest.raises(triton.InferenceServerException, match="a seed is not accepted"):
        client.infer("default", [tensor(PIXELS)], parameters={"seed": 1})

    def enter(samples, deadline):
        raise Refused("overloaded", "so many votes are queued", retry_after=3.0)

    monkeypatch.setattr(running.desk.model().queue, "enter", enter)
    with pytest.raises(triton.InferenceServerException, match="votes are queued") as refused:
        client.infer("default", [tensor(PIXELS + 1)])
    assert refused.value.status() == "StatusCode.RESOURCE_EXHAUSTED"
    assert concepts(running, picture(3)).status.code == 11005


def concepts(running, file, key="any", url=""):
    from clarifai_grpc.grpc.api import resources_pb2, service_pb2, service_pb2_grpc

    channel = clarifai.ClarifaiChannel.get_insecure_grpc_channel("127.0.0.1", running.server.grpc_port)
    try:
        return service_pb2_grpc.V2Stub(channel).PostModelOutputs(
            service_pb2.PostModelOutputsRequest(
                user_app_id=resources_pb2.UserAppIDSet(user_id="clarifai", app_id="main"),
                model_id="general-image-recognition",
                inputs=[resources_pb2.Input(data=resources_pb2.Data(image=resources_pb2.Image(base64=file, url=url)))],
            ),
            metadata=(("authorization", f"Key {key}"),),
            timeout=60,
        )
    finally:
        channel.close()


def test_clarifais_client_is_answered(running):
    answer = concepts(running, picture(210))
    assert answer.status.code == 10000
    ((name, value),) = [(concept.name, concept.value) for concept in answer.outputs[0].data.concepts]
    told = running.ask("POST", "/v1/certify", picture(210)).value
    assert (name, told["cached"]) == ("light", True)
    assert value == pytest.approx(float(told["least_probability"]), abs=1e-6)
    assert concepts(running, b"no picture").status.code == 30002
    assert "not fetched" in concepts(running, b"", url="http://x").status.description


def test_the_headers_of_a_certificate_come_as_trailing_metadata(running):
    from tritonclient.grpc import service_pb2, service_pb2_grpc

    pixels = np.full((1, SIZE, SIZE, 3), 211, np.uint8)
    asked = service_pb2.ModelInferRequest(model_name="default", raw_input_contents=[pixels.tobytes()])
    asked.inputs.add(name="image", datatype="UINT8", shape=pixels.shape)
    with grpc.insecure_channel(f"127.0.0.1:{running.server.grpc_port}") as channel:
        _, call = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer.with_call(asked, timeout=60)
        trailing = {name: value for name, value in call.trailing_metadata() if name.startswith("dsmooth-")}
    told = running.ask("POST", "/v1/certify", picture(211, spot=211)).headers
    assert trailing["dsmooth-certificate"] == told["Dsmooth-Certificate"]
    assert trailing["dsmooth-radius"] == told["Dsmooth-Radius"]


def test_tls_over_grpc(tmp_path):
    self_signed(tmp_path)
    files = {"tls_certificate": tmp_path / "cert.pem", "tls_key": tmp_path / "key.pem"}
    settings = Settings(host="0.0.0.0", port=0, grpc_port=0, keys=tmp_path / "keys.json", drain=10.0, **files)
    caller = Caller("alice", hashlib.sha256(b"alice-key").hexdigest())
    with gateway(callers=[caller], settings=settings) as running:
        address = f"localhost:{running.server.grpc_port}"
        with triton.InferenceServerClient(address, ssl=True, root_certificates=str(tmp_path / "cert.pem")) as client:
            answer = client.infer("default", [tensor(PIXELS)], headers={"authorization": "Bearer alice-key"})
            assert answer.as_numpy("label_index").tolist() == [0, 1]
        with triton.InferenceServerClient(address) as client, pytest.raises(triton.InferenceServerException):
            client.is_server_live(client_timeout=2.0)  # nothing in the clear


def test_keys_over_grpc():
    caller = Caller("alice", hashlib.sha256(b"alice-key").hexdigest())
    with gateway(callers=[caller], settings=SETTINGS) as running:
        assert concepts(running, picture(200), key="alice-key").status.code == 10000
        assert concepts(running, picture(200), key="wrong").status.code == 11001
        with triton.InferenceServerClient(f"127.0.0.1:{running.server.grpc_port}") as client:
            assert client.is_server_ready()
            with pytest.raises(triton.InferenceServerException) as refused:
                client.infer("default", [tensor(PIXELS)])
            assert refused.value.status() == "StatusCode.UNAUTHENTICATED"
            answer = client.infer("default", [tensor(PIXELS)], headers={"authorization": "Bearer alice-key"})
            assert answer.as_numpy("label_index").tolist() == [0, 1]
    assert not any("key" in str(line) for line in running.log)


def test_a_call_that_is_given_up_is_cancelled():
    module = Gate()
    with gateway(module, settings=SETTINGS) as running:
        module.open.clear()
        try:
            with (
                triton.InferenceServerClient(f"127.0.0.1:{running.server.grpc_port}") as client,
                pytest.raises(triton.InferenceServerException, match="Deadline"),
            ):
                client.infer("default", [tensor(PIXELS)], client_timeout=0.3)
            running.wait_for_idle()
            until(lambda: any(line.get("reason") == "closed" for line in running.log))
        finally:
            module.open.set()


def test_a_grpc_port_that_is_taken_is_refused(running):
    taken = Settings(port=0, grpc_port=running.server.grpc_port)
    with pytest.raises(BadParameter, match="cannot listen for gRPC"):
        start(taken)


def start(settings):
    """A server that cannot start says so to whoever runs it."""
    from dsmooth import SmoothedClassifier
    from dsmooth.serve.archive import Archive
    from dsmooth.serve.callers import Callers
    from dsmooth.serve.desk import Desk
    from dsmooth.serve.metrics import Metrics
    from dsmooth.serve.served import Limits, Served
    from dsmooth.serve.server import Server
    from support import Linear

    smoothed = SmoothedClassifier(Linear(), None, 0.25, backend="eager", workers=1)
    served = Served("default", smoothed, terms={"n0": 5, "n": 5}, limits=Limits(), size=4)
    desk = Desk({"default": served}, callers=Callers(), archive=Archive(None), metrics=Metrics())
    Server(desk, settings, log=lambda line: None).run()
