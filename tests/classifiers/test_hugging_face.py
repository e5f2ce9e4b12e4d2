"""Image classifiers in the format of transformers: what their folder says is what runs."""

import json
import os
import shutil
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from dsmooth import BadModel, SmoothedClassifier
from dsmooth.backends.torchvision_ops import import_torchvision
from dsmooth.classifiers.specs import load_classifier
from hub_server import Hub
from support import ROOT

import_torchvision()  # before transformers: a CPU-only torch needs it
transformers = pytest.importorskip("transformers", reason="needs the extra hf")

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of transformers about itself


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder as save_pretrained writes it."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("hf") / "tiny"
    config = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 8, 8, 8], depths=[1, 1, 1, 1], id2label={0: "dark", 1: "light"}
    )
    transformers.ResNetForImageClassification(config).save_pretrained(folder)
    transformers.ViTImageProcessor(
        size={"height": 32, "width": 32}, image_mean=[0.4, 0.5, 0.6], image_std=[0.2, 0.3, 0.4]
    ).save_pretrained(folder)
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "tiny")


def change(path, **fields):
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def test_the_network_is_what_transformers_runs(folder):
    classifier = load_classifier(f"hf:{folder}")
    assert (classifier.name, classifier.class_names, classifier.input_size) == ("hf:tiny", ["dark", "light"], 32)
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    model = transformers.AutoModelForImageClassification.from_pretrained(folder).eval()
    with torch.no_grad():
        expected = model(**processor(images=pixels, return_tensors="pt")).logits
        found = classifier.network()(torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255)
    assert torch.allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_it_is_certified(folder, dtype):
    smoothed = SmoothedClassifier(f"hf:{folder}", None, 0.25, dtype=dtype)
    assert smoothed.certify(np.zeros((32, 32, 3), np.uint8), n=60).estimation.trials == 60


def test_the_digest_is_of_the_model_and_not_of_its_place(folder, saved):
    assert load_classifier(f"hf:{folder}").digest() == load_classifier(f"hf:{saved}").digest()
    change(folder / "preprocessor_config.json", image_mean=[0.4, 0.5, 0.5])
    assert load_classifier(f"hf:{folder}").digest() != load_classifier(f"hf:{saved}").digest()


@pytest.mark.parametrize(
    ("fields", "mean", "side"),
    [
        ({"do_normalize": False}, 0.0, 32),
        ({"do_rescale": False}, 0.4 / 255, 32),
        ({"rescale_factor": 1 / 127.5}, 0.2, 32),
        ({"size": {"height": 32, "width": 40}}, 0.4, None),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_the_image_processor_is_understood(folder, fields, mean, side):
    change(folder / "preprocessor_config.json", **fields)
    classifier = load_classifier(f"hf:{folder}")
    assert classifier._mean[0] == pytest.approx(mean)
    assert classifier.input_size == side


def test_cropped_images_have_the_size_of_the_crop(folder):
    told = {"size": {"shortest_edge": 256}, "crop_size": {"height": 224, "width": 224}, "do_center_crop": True}
    change(folder / "preprocessor_config.json", image_processor_type="BitImageProcessor", **told)
    assert load_classifier(f"hf:{folder}").input_size == 224


def test_a_processor_that_does_more_is_refused(folder):
    change(folder / "preprocessor_config.json", image_processor_type="EfficientNetImageProcessor", rescale_offset=True)
    with pytest.raises(BadModel, match="got one that does more"):
        load_classifier(f"hf:{folder}")


def test_weights_that_are_missing_are_not_random(folder):
    arrays = load_file(folder / "model.safetensors")
    save_file(
        {k: v for k, v in arrays.items() if "classifier" not in k}, folder / "model.safetensors", {"format": "pt"}
    )
    with pytest.raises(BadModel, match=r"missing classifier\.1\.bias, classifier\.1\.weight"):
        load_classifier(f"hf:{folder}")


def test_code_and_pickles_do_not_run(folder):
    marker = folder / "ran"
    (folder / "evil.py").write_text(f"open({str(marker)!r}, 'w')\n")
    change(folder / "config.json", auto_map={"AutoModelForImageClassification": "evil.Evil"}, model_type="evil")
    with pytest.raises(BadModel, match="expected an image classifier"):
        load_classifier(f"hf:{folder}")
    assert not marker.exists()
    (folder / "model.safetensors").rename(folder / "other")
    torch.save({}, folder / "pytorch_model.bin")
    change(folder / "config.json", auto_map={}, model_type="resnet")
    with pytest.raises(BadModel, match="safetensors"):
        load_classifier(f"hf:{folder}")


FETCH = """
import time
from dsmooth.classifiers.specs import load_classifier
from dsmooth.errors import BadModel
print(load_classifier("hf:owner/name").digest())
for spec in ("hf:owner/other", "hf:owner/name@v9"):
    try:
        load_classifier(spec)
    except BadModel as error:
        print(error)
"""


def test_repositories_are_fetched_from_the_hub_and_later_from_the_cache(folder, tmp_path):
    hub = Hub()
    hub.files = {f"owner/name/{path.name}": path.read_bytes() for path in folder.iterdir()}
    environment = {
        **os.environ, "PYTHONPATH": str(ROOT / "src"), "HF_ENDPOINT": hub.address, "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_DISABLE_XET": "1", "NO_PROXY": "127.0.0.1",
    }  # fmt: skip
    environment.pop("HF_HUB_OFFLINE", None)
    outputs = []
    serving = threading.Thread(target=hub.serve_forever)
    serving.start()
    try:
        outputs.append(fetched(environment))
    finally:
        hub.shutdown()
        serving.join()
        hub.server_close()
    outputs.append(fetched(environment))  # nobody listens any more
    expected = load_classifier(f"hf:{folder}").digest()
    for output in outputs:
        digest, other, revision = output.splitlines()
        assert digest == expected
        assert other.startswith("hf:owner/other cannot be fetched from the Hub")
        assert revision.startswith("hf:owner/name@v9 cannot be fetched from the Hub")


def fetched(environment):
    line = [sys.executable, "-c", FETCH]
    done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
