import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from dsmooth.backends.eager import Eager
from dsmooth.backends.torchvision_ops import import_torchvision
from dsmooth.classifiers.base import MIRRORED, DifferentiableClassifier
from dsmooth.classifiers.checkpoints import load_checkpoint
from dsmooth.classifiers.cifar_resnet import CifarResNet, cifar_classifier
from dsmooth.classifiers.functions import FunctionClassifier
from dsmooth.classifiers.local import TorchClassifier
from dsmooth.classifiers.onnx import OnnxClassifier
from dsmooth.classifiers.specs import CLASSIFIERS, load_classifier, read_class_names
from dsmooth.classifiers.timm_models import timm_classifier
from dsmooth.errors import BadModel
from dsmooth.images.opening import open_images
from dsmooth.services.catalogue import SERVICES
from support import Linear, data

EAGER = Eager("fp32", 1)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("", "classifier must be one of"),
        ("resnet50", "classifier must be one of"),
        ("hf:x", "expected hf:FOLDER or hf:owner/name"),
        ("torchvision:", "expected torchvision:NAME"),
        ("torchvision:resnet19", "similar names: resnet18"),
        ("aws:polly", "service must be one of aws:rekognition"),
        ("timm:", "expected timm:NAME or timm:NAME@FILE"),
        ("cifar:resnet56", "expected cifar:resnet56@FILE"),
        ("onnx:", "expected onnx:FILE"),
        ("import:a", "expected import:package.module:factory"),
        ("import:a:b:c", "expected import:package.module:factory"),
    ],
)
def test_unknown_specs_are_refused_with_what_is_accepted(spec, message):
    with pytest.raises(BadModel, match=message) as refused:
        load_classifier(spec)
    if "classifier must be" in message:
        assert all(form in str(refused.value) for form in (*CLASSIFIERS, *SERVICES))


def test_import_specs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine_for_test.py").write_text(
        "from torch import nn\n"
        "def model():\n    return nn.Flatten()\n"
        "def number():\n    return 5\n"
        "def broken():\n    raise RuntimeError('no weights')\n"
    )
    assert load_classifier("import:mine_for_test:model").name == "import:mine_for_test:model"
    for spec, message in (
        ("import:mine_for_test:none", "cannot be imported"),
        ("import:no_such_module:x", "cannot be imported"),
        ("import:mine_for_test:number", "got int"),
        ("import:mine_for_test:broken", "no weights"),
    ):
        with pytest.raises(BadModel, match=message):
            load_classifier(spec)


def test_pickles_that_run_code_do_not_run(tmp_path):
    marker = tmp_path / "ran"

    class Evil:
        def __reduce__(self):
            return (open, (str(marker), "w"))

    for name, protocol in (("a.pt", 2), ("b.pth", 4)):
        (tmp_path / name).write_bytes(pickle.dumps({"w": Evil()}, protocol))
        with pytest.raises(BadModel, match="without pickled code"):
            load_checkpoint(tmp_path / name)
    torch.save({"w": Evil()}, tmp_path / "c.pt")
    with pytest.raises(BadModel, match="without pickled code"):
        load_checkpoint(tmp_path / "c.pt")
    assert not marker.exists()


def test_checkpoints(tmp_path):
    state = {"a": torch.ones(2, dtype=torch.float16), "n": torch.tensor(3)}
    save_file(state, tmp_path / "a.safetensors")
    torch.save({"state_dict": state}, tmp_path / "b.pt")
    for name in ("a.safetensors", "b.pt"):
        loaded = load_checkpoint(tmp_path / name)
        assert loaded["a"].dtype == torch.float32
        assert loaded["n"].dtype == torch.int64
    (tmp_path / "c.safetensors").write_bytes(b"broken")
    torch.save([1, 2], tmp_path / "d.pt")
    for name in ("c.safetensors", "d.pt", "missing.pt"):
        with pytest.raises(BadModel, match=name):
            load_checkpoint(tmp_path / name)


def test_wrong_checkpoints_are_refused(tmp_path):
    module = CifarResNet(20)
    save_file({**module.state_dict(), "linear.weight": torch.zeros(7, 64)}, tmp_path / "seven.safetensors")
    save_file({"linear.weight": torch.zeros(10, 64)}, tmp_path / "few.safetensors")
    for name, message in (("seven", "linear.weight"), ("few", "do not fit")):
        with pytest.raises(BadModel, match=message):
            cifar_classifier("resnet20", tmp_path / f"{name}.safetensors")
    for name in ("resnet21", "vgg", "resnet"):
        with pytest.raises(BadModel, match="expected"):
            cifar_classifier(name, tmp_path / "seven.safetensors")


def test_normalisation_belongs_to_the_classifier():
    x = torch.rand(4, 3, 5, 5)
    module = nn.Sequential(nn.Flatten(), nn.Linear(75, 4))
    normalised = TorchClassifier(module, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4)).prepared(EAGER)
    plain = TorchClassifier(module).prepared(EAGER)
    scale = torch.tensor([0.2, 0.3, 0.4]).view(1, 3, 1, 1)
    assert normalised(x) == plain((x - torch.tensor([0.4, 0.5, 0.6]).view(1, 3, 1, 1)) / scale)
    with pytest.raises(BadModel, match="3 channels"):
        normalised(torch.rand(4, 1, 5, 5))
    for arguments in (
        {"mean": (0.5,)},
        {"mean": (0.5,), "std": (0.0,)},
        {"mean": (0.5,), "std": (1, 1)},
        {"mean": 0.5, "std": 0.5},
        {"mean": (float("nan"),), "std": (1,)},
    ):
        with pytest.raises(BadModel, match=r"std|mean"):
            TorchClassifier(module, **arguments)


def test_gradients_reach_the_images_and_nothing_else():
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten()).train()
    classifier = TorchClassifier(module, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))
    assert isinstance(classifier, DifferentiableClassifier)
    network = classifier.network()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    x = torch.rand(2, 3, 8, 8, requires_grad=True)
    network(x).sum().backward()
    assert x.grad.abs().sum() > 0
    assert all(p.grad is None and not p.requires_grad for p in network.parameters())
    assert not any(part.training for part in network.modules())
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert module.training
    assert network(x).argmax(1).tolist() == classifier.prepared(EAGER)(x.detach())


def test_digests_tell_models_apart():
    linear = nn.Linear(3, 2)
    digest = TorchClassifier(linear).digest()
    assert TorchClassifier(linear).digest() == digest
    assert TorchClassifier(linear, mean=(0.0,), std=(1.0,)).digest() != digest
    assert TorchClassifier(nn.Linear(3, 2)).digest() != digest
    assert TorchClassifier(linear.bfloat16()).digest() != digest
    assert TorchClassifier(Linear()).digest() != digest


def test_mirrored_classifiers_average_their_logits_over_image_and_mirror_image():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 6 * 6, 5))
    plain = TorchClassifier(module, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))
    both = plain.mirrored()
    images = torch.rand(64, 3, 8, 8)
    scaled = (images - torch.tensor([0.4, 0.5, 0.6])[:, None, None]) / torch.tensor([0.2, 0.3, 0.4])[:, None, None]
    with torch.no_grad():
        logits = (module(scaled) + module(torch.from_numpy(scaled.numpy()[:, :, :, ::-1].copy()))) / 2
    assert both.prepared(EAGER)(images) == logits.argmax(dim=1).tolist()
    assert torch.allclose(both.network()(images), logits, atol=1e-6)
    assert both.prepared(EAGER)(images) == both.prepared(EAGER)(images.flip(3))  # an image and its mirror image are one
    assert plain.prepared(EAGER)(images) != plain.prepared(EAGER)(images.flip(3))
    assert both.digest() == both.mirrored().digest() != plain.digest()
    assert both.traits.preparation == MIRRORED
    assert plain.traits.preparation == "as it is"


def test_what_gives_no_logits_cannot_be_mirrored():
    with pytest.raises(BadModel, match="gives no logits that could be averaged"):
        FunctionClassifier(lambda images: [0] * len(images)).mirrored()


def test_timm_models_by_name_and_checkpoint(tmp_path):
    import_torchvision()  # before timm: a CPU-only torch needs it
    import timm

    module = timm.create_model("resnet10t", pretrained=False)
    save_file(module.state_dict(), tmp_path / "weights.safetensors")
    classifier = timm_classifier("resnet10t", tmp_path / "weights.safetensors")
    assert classifier.input_size == 176
    assert classifier.class_names[281] == "tabby"
    assert classifier.prepared(Eager("bf16", 1))(torch.rand(2, 3, 64, 64))[0] in range(1000)
    with pytest.raises(BadModel, match="timm has no model 'resnet9999'"):
        timm_classifier("resnet9999")
    with pytest.raises(BadModel, match="do not fit"):
        timm_classifier("resnet18", tmp_path / "weights.safetensors")


@pytest.mark.parametrize("scheme", ["timm", "torchvision"])
def test_the_number_of_classes_comes_from_the_file(tmp_path, scheme):
    import_torchvision()
    import timm
    import torchvision

    make = timm.create_model if scheme == "timm" else torchvision.models.get_model
    for classes in (1000, 7):
        torch.save(make("resnet18", num_classes=classes).state_dict(), tmp_path / "w.pt")
        classifier = load_classifier(f"{scheme}:resnet18@{tmp_path / 'w.pt'}")
        assert (classifier.name, classifier.input_size) == (f"{scheme}:resnet18", 224)
        assert (classifier.class_names is None) == (classes == 7)
        assert classifier.network()(torch.rand(2, 3, 64, 64)).shape == (2, classes)
    assert load_classifier(f"{scheme}:resnet18@{tmp_path / 'w.pt'}").digest() == classifier.digest()


def test_torchvision_weights_come_out_of_its_cache(tmp_path, monkeypatch):
    import_torchvision()
    import torchvision

    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    module = torchvision.models.resnet18()
    weights = torchvision.models.ResNet18_Weights.DEFAULT
    (tmp_path / "checkpoints").mkdir()
    cached = tmp_path / "checkpoints" / weights.url.rsplit("/", 1)[1]
    torch.save(module.state_dict(), cached)
    classifier = load_classifier("torchvision:resnet18")
    x = torch.rand(2, 3, 64, 64)
    mean, std = (torch.tensor(each).view(1, 3, 1, 1) for each in (weights.transforms().mean, weights.transforms().std))
    assert torch.allclose(classifier.network()(x), module.eval()((x - mean) / std), atol=1e-4)
    assert classifier.class_names[281] == "tabby"
    cached.write_bytes(pickle.dumps({"w": print}))
    with pytest.raises(BadModel, match=r"resnet18 cannot be fetched .*torchvision:resnet18@"):
        load_classifier("torchvision:resnet18")


@pytest.mark.parametrize("wrapper", ["state_dict", "model", "model_state_dict", "net", "weights"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "model.", "module._orig_mod."])
def test_weights_as_training_programs_keep_them(tmp_path, wrapper, prefix):
    module = CifarResNet(20)
    state = {prefix + key: value for key, value in module.state_dict().items()}
    torch.save({wrapper: state, "epoch": 3, "optimizer": {"lr": 0.1}}, tmp_path / "w.pt")
    expected = TorchClassifier(module, mean=MEAN, std=STD).digest()
    assert cifar_classifier("resnet20", tmp_path / "w.pt").digest() == expected


def test_the_first_three_differences_are_named(tmp_path):
    state = CifarResNet(20).state_dict()
    state["linear.weight"] = torch.zeros(7, 64)
    del state["bn1.weight"], state["bn1.bias"], state["conv1.weight"]
    save_file({**state, "other": torch.zeros(1)}, tmp_path / "w.safetensors")
    with pytest.raises(BadModel) as refused:
        cifar_classifier("resnet20", tmp_path / "w.safetensors")
    assert str(refused.value).endswith(
        "the weights do not fit: linear.weight is (7, 64) and not (10, 64), conv1.weight is missing, "
        "bn1.weight is missing, and 2 more"
    )


NAMES = {
    "names.txt": "dark\n light \n",
    "list.json": '["dark", "light"]',
    "id2label.json": '{"1": "light", "0": "dark"}',
}


@pytest.mark.parametrize("name", NAMES)
def test_class_names_from_a_file(tmp_path, name):
    (tmp_path / name).write_text(NAMES[name])
    assert read_class_names(tmp_path / name) == ["dark", "light"]


@pytest.mark.parametrize(
    ("name", "text"),
    [("a.txt", ""), ("a.txt", "a\n\nb"), ("a.json", "{"), ("a.json", '{"1": "a"}'), ("a.json", "[1]"), ("b.txt", None)],
)
def test_other_files_hold_no_class_names(tmp_path, name, text):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(BadModel, match=name):
        read_class_names(tmp_path / name)


def test_broken_onnx_is_refused(tmp_path):
    (tmp_path / "a.onnx").write_bytes(b"not onnx")
    for name in ("a.onnx", "missing.onnx"):
        with pytest.raises(BadModel, match=name):
            OnnxClassifier(tmp_path / name)


@pytest.mark.parametrize(("name", "clean"), [("resnet8", 0.85), ("resnet20", 0.900), ("resnet56", 0.92)])
def test_cifar_classifiers_are_as_accurate_as_published(name, clean):
    folder = data()
    images = open_images(folder / "cifar10" / "test_every20.npz")
    file = {"resnet8": "mlperf_tiny_resnet8"}.get(name, name)
    answer = cifar_classifier(name, folder / "cifar10_models" / f"{file}.safetensors").prepared(EAGER)
    x = torch.from_numpy(np.stack([image.pixels for image in images])).permute(0, 3, 1, 2).float() / 255
    right = np.mean([label == image.label for label, image in zip(answer(x), images, strict=True)])
    assert right >= clean


def test_onnx_agrees_with_torch():
    folder = data() / "cifar10_models"
    # other images at each run would have a near tie, which rounding decides, in 6 of 100,000 runs
    x = torch.rand(64, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    torch_answers = cifar_classifier("resnet20", folder / "resnet20.safetensors").prepared(EAGER)(x)
    onnx = load_classifier(f"onnx:{folder / 'resnet20.onnx'}")
    assert onnx.prepared(EAGER)(x) == torch_answers
    with pytest.raises(BadModel, match="does not accept"):
        onnx.prepared(EAGER)(torch.rand(2, 3, 16, 16))
    onnx.class_names = ["cat", "dog"]
    with pytest.raises(BadModel, match="2 classes, got 10 logits"):
        onnx.prepared(EAGER)(x)


def test_efficientnet_lite0_knows_the_validation_images():
    folder = data() / "imagenet"
    classifier = load_classifier("efficientnet-lite0")
    images = open_images(folder / "val50_224.zip", labels=folder / "val50_labels.csv")
    answer = classifier.prepared(EAGER)
    right = 0
    for image in images:
        x = torch.from_numpy(image.pixels.transpose(2, 0, 1).copy())[None].float() / 255
        right += answer(x)[0] == image.label
    assert right >= 35
    assert classifier.class_names[285] == "Egyptian cat"
