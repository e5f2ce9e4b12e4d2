import errno
import json
import warnings
from zipfile import ZipFile

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from dsmooth.classifiers.cifar_resnet import CifarResNet
from dsmooth.classifiers.specs import load_classifier
from dsmooth.denoisers.loading import describe, load_denoiser
from dsmooth.denoisers.saving import save_denoiser
from dsmooth.denoisers.unet import UNet
from dsmooth.errors import BadImage, BadInput, BadModel, BadParameter, BadRun, TrainingDiverged
from dsmooth.images.opening import open_images
from dsmooth.images.sets import ImageSet
from dsmooth.training.checkpoints import TrainingFolder
from dsmooth.training.denoising import train
from dsmooth.training.held_out import split
from dsmooth.training.judging import psnr
from dsmooth.training.learning_curve import draw_learning_curve
from dsmooth.training.patches import Patches
from dsmooth.training.recipe import Recipe
from dsmooth.training.surrogates import load_surrogates
from support import Linear

SMALL = {
    "config": {"widths": [8, 12], "blocks": [1, 1]},
    "steps": 8,
    "batch": 4,
    "patch": 16,
    "precision": "32-true",
}


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    y, x = np.mgrid[0:40, 0:48]
    for i in range(6):
        waves = 127 + 100 * np.sin((x * (i + 1) + y * 2) / 9)
        Image.fromarray(np.stack([waves, waves[::-1], 255 - waves], -1).astype(np.uint8)).save(folder / f"{i}.png")
    return open_images(folder)


def weights(path):
    return {key: value.clone() for key, value in load_denoiser(path).state_dict().items()}


def resumed(recipe, images, out, **more):
    """The weights that a training ends with which goes on in `out`, and the steps that it took from there."""
    steps = []
    path = train(
        recipe, [images], out, data="", resume=True, on_report=lambda report: steps.append(report.step), **more
    )
    return path, steps


def test_training_lowers_the_error_of_held_out_images(tmp_path, images):
    reports = []
    recipe = Recipe(**{**SMALL, "steps": 150, "lr": 3e-3, "average": 0.9})
    path = train(recipe, [images], tmp_path / "out", data="waves", every=50, on_report=reports.append)
    first, last = (r.scores["psnr"] for r in (reports[49], reports[-1]))
    assert last["0.35"] > first["0.35"]
    assert last["0.35"] > 9.1 + 4  # the noisy images have -20 log10(.35) = 9.1 dB
    described = describe(path)
    assert described.data == "waves"
    assert described.sigma_range == (0.1, 0.6)
    assert described.metrics["psnr_held_out"] == last
    assert described.metrics["recipe"]["steps"] == 150
    lines = [json.loads(line) for line in (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [50, 100, 150]


def test_resume_goes_on_bit_for_bit(tmp_path, images):
    whole = train(Recipe(**SMALL), [images], tmp_path / "whole", data="", every=4)

    class StopError(Exception):
        pass

    def stop(report):
        if report.step == 6:
            raise StopError

    with pytest.raises(StopError):
        train(Recipe(**SMALL), [images], tmp_path / "parts", data="", every=4, on_report=stop)
    assert not (tmp_path / "parts" / "model.safetensors").exists()
    parts, steps = resumed(Recipe(**SMALL), images, tmp_path / "parts", every=4)
    assert steps == [5, 6, 7, 8]  # from the checkpoint on: a training that begins again has the same weights in the end
    for key, value in weights(whole).items():
        assert torch.equal(value, weights(parts)[key]), key
    assert course(tmp_path / "whole") == course(tmp_path / "parts")


def course(folder):
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def flipped(data):
    """One bit of a weight is another one; torch loads that as if nothing had happened."""
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 64]) + data[middle + 1 :]


@pytest.mark.parametrize(
    "damage",
    [
        *(lambda data: data[:1000], lambda data: b"not a checkpoint", lambda data: bytes(5000), flipped),
        lambda data: data.replace(b"optimizers", b"optimisers"),
    ],
)
def test_a_damaged_checkpoint_is_passed_over(tmp_path, images, damage):
    whole = train(Recipe(**SMALL), [images], tmp_path / "out", data="", every=4)
    expected = weights(whole)
    newest = tmp_path / "out" / "checkpoint-00000008.pt"
    newest.write_bytes(damage(newest.read_bytes()))
    rows = course(tmp_path / "out")
    with (tmp_path / "out" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 12, "lo')  # torn
    _, steps = resumed(Recipe(**SMALL), images, tmp_path / "out", every=4)
    assert steps == [5, 6, 7, 8]
    assert all(torch.equal(value, weights(whole)[key]) for key, value in expected.items())
    assert course(tmp_path / "out") == rows


def test_a_training_without_a_whole_checkpoint_says_so_and_keeps_them(tmp_path, images):
    train(Recipe(**SMALL), [images], tmp_path / "out", data="", every=4)
    held = TrainingFolder(tmp_path / "out").checkpoints()
    for path in held:
        path.write_bytes(flipped(path.read_bytes()))
    with pytest.raises(BadRun, match=r"none of the checkpoints \(checkpoint-00000004.pt, .* delete them"):
        train(Recipe(**SMALL), [images], tmp_path / "out", data="", every=4, resume=True)
    assert TrainingFolder(tmp_path / "out").checkpoints() == held


def test_a_whole_file_that_is_no_checkpoint_is_named_and_kept(tmp_path):
    path = tmp_path / "checkpoint-00000004.pt"
    with ZipFile(path, "w") as held:
        held.writestr("a.txt", "something else")
    with pytest.raises(BadRun, match=r"checkpoint-00000004.pt: expected a checkpoint of a training, cannot read it"):
        TrainingFolder(tmp_path).restore(torch.device("cpu"))
    assert path.exists()


def test_checkpoints_of_later_steps_do_not_push_out_those_of_now(tmp_path):
    folder = TrainingFolder(tmp_path)
    for step in (4, 8):
        folder.save(step, {}, None)
    folder.checkpoints()[-1].write_bytes(b"torn")
    assert folder.restore(torch.device("cpu")) == {"step": 4}
    assert folder.newest == tmp_path / "checkpoint-00000004.pt"
    folder.save(5, {}, None)
    assert [path.name for path in folder.checkpoints()] == ["checkpoint-00000004.pt", "checkpoint-00000005.pt"]


def test_an_interruption_costs_no_more_than_a_minute(tmp_path, images, monkeypatch):
    whole = train(Recipe(**SMALL), [images], tmp_path / "whole", data="")
    monkeypatch.setattr("dsmooth.training.loop._SAVE_EVERY", 0.0)

    def interrupt(report):
        if report.step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(Recipe(**SMALL), [images], tmp_path / "out", data="", on_report=interrupt)
    assert [path.name for path in TrainingFolder(tmp_path / "out").checkpoints()] == [
        "checkpoint-00000004.pt",
        "checkpoint-00000005.pt",
    ]
    assert not (tmp_path / "out" / "metrics.jsonl").exists()  # nothing was judged
    parts, steps = resumed(Recipe(**SMALL), images, tmp_path / "out")
    assert steps == [6, 7, 8]
    assert all(torch.equal(value, weights(parts)[key]) for key, value in weights(whole).items())


def test_a_full_disk_keeps_what_was_there(tmp_path, images, monkeypatch):
    train(Recipe(**SMALL), [images], tmp_path / "out", data="", every=4)
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}

    def full(number):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        TrainingFolder(tmp_path / "out").save(12, {}, None)
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


def test_two_checkpoints_are_kept(tmp_path, images):
    train(Recipe(**SMALL), [images], tmp_path / "out", data="", every=2)
    assert sorted(p.name for p in (tmp_path / "out").glob("*.pt")) == [
        "checkpoint-00000006.pt",
        "checkpoint-00000008.pt",
    ]


def test_nan_stops_and_keeps_the_last_good_checkpoint(tmp_path, images):
    recipe = Recipe(**{**SMALL, "lr": 1e30})
    with pytest.raises(
        TrainingDiverged, match=r"lower --lr into another --out; the last good checkpoint is .*00001\.pt"
    ):
        train(recipe, [images], tmp_path / "out", data="", every=1)
    assert not (tmp_path / "out" / "model.safetensors").exists()
    (kept,) = TrainingFolder(tmp_path / "out").checkpoints()
    assert torch.load(kept, weights_only=True)["step"] == 1
    with pytest.raises(TrainingDiverged, match=r"another --out$"):  # before the first one
        train(recipe, [images], tmp_path / "early", data="", every=100)


def test_weights_of_another_origin_are_never_replaced(tmp_path, images):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "model.safetensors").write_bytes(b"precious")
    with pytest.raises(BadRun, match="weights that are not from a training"):
        train(Recipe(**SMALL), [images], tmp_path / "out", data="")
    assert [path.read_bytes() for path in (tmp_path / "out").iterdir()] == [b"precious"]


def test_another_training_in_the_folder_is_refused(tmp_path, images):
    train(Recipe(**SMALL), [images], tmp_path / "out", data="", every=8)
    with pytest.raises(BadRun, match="--resume"):
        train(Recipe(**SMALL), [images], tmp_path / "out", data="")
    with pytest.raises(BadRun, match="trained with batch 4, not 5"):
        train(Recipe(**{**SMALL, "batch": 5}), [images], tmp_path / "out", data="", resume=True)
    with pytest.raises(BadRun, match="trained with images"):
        train(Recipe(**SMALL), [images[1:]], tmp_path / "out", data="", resume=True)


def test_a_training_can_start_from_another(tmp_path, images):
    first = train(Recipe(**SMALL), [images], tmp_path / "a", data="")
    recipe = {**SMALL, "start": str(first), "lr": 1e-12, "average": 0.0, "steps": 1}
    second = train(Recipe(**recipe), [images], tmp_path / "b", data="")
    assert all(torch.allclose(v, weights(first)[k], atol=1e-4) for k, v in weights(second).items())
    with pytest.raises(BadModel, match="to hold unet"):
        train(Recipe(**{**recipe, "config": {"widths": [4], "blocks": [1]}}), [images], tmp_path / "c", data="")


def test_a_training_can_start_from_a_denoiser_with_another_number_of_blocks(tmp_path, images):
    first = train(Recipe(**SMALL), [images], tmp_path / "a", data="")
    more = {**SMALL["config"], "blocks": [count + 1 for count in SMALL["config"]["blocks"]]}
    recipe = {**SMALL, "config": more, "start": str(first), "lr": 1e-12, "average": 0.0, "steps": 1}
    longer = train(Recipe(**recipe), [images], tmp_path / "b", data="")
    kept = weights(first)
    assert kept.keys() < weights(longer).keys()
    assert all(torch.allclose(weights(longer)[name], value, atol=1e-4) for name, value in kept.items())


def test_a_student_learns_what_its_teacher_makes_of_the_same_noisy_image(tmp_path, images):
    teacher = train(Recipe(**SMALL), [images], tmp_path / "teacher", data="")
    same = {**SMALL, "start": str(teacher), "average": 0.0, "steps": 1}
    told = {}
    for name, more in (("alone", {}), ("taught", {"teacher": str(teacher)})):
        losses = []
        out = tmp_path / name
        train(
            Recipe(**same, **more),
            [images],
            out,
            data="",
            on_report=lambda report, kept=losses: kept.append(report.loss),
        )
        told[name] = losses[0]
    assert told["alone"] > 1e-3
    assert told["taught"] == pytest.approx(0.0, abs=1e-9)  # the same network, the same noisy images: nothing to learn
    assert json.loads((tmp_path / "taught" / "recipe.json").read_text())["teacher"] == load_denoiser(teacher).digest()

    student = {**SMALL, "config": {"widths": [8], "blocks": [1]}, "teacher": str(teacher), "steps": 60, "lr": 1e-2}
    taught = load_denoiser(train(Recipe(**student), [images], tmp_path / "student", data=""))
    untaught = load_denoiser(train(Recipe(**{**student, "steps": 1}), [images], tmp_path / "untaught", data=""))
    noisy = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(5))
    wanted = load_denoiser(teacher).denoise(noisy, 0.3)
    far, near = (float(((other.denoise(noisy, 0.3) - wanted) ** 2).mean()) for other in (untaught, taught))
    assert near < 0.5 * far


def test_a_teacher_that_cannot_teach_is_refused(tmp_path, images):
    with pytest.raises(BadParameter, match="a teacher is for mse, which 'head' lacks"):
        Recipe(**SMALL, objective="head", teacher="photo")
    with pytest.raises(BadModel, match="for gaussian noise, got photo-l1, for splitting noise"):
        train(Recipe(**SMALL, teacher="photo-l1"), [images], tmp_path / "noise", data="")
    save_denoiser(UNet(widths=(4,), blocks=(1,), channels=1), tmp_path / "grey.safetensors", data="", metrics={})
    with pytest.raises(BadModel, match="a teacher for images of 3 channels"):
        train(Recipe(**SMALL, teacher=str(tmp_path / "grey.safetensors")), [images], tmp_path / "channels", data="")


def test_a_teacher_is_known_to_have_learned_other_noise_levels(tmp_path, images):
    recipe = {**SMALL, "steps": 1}
    teacher = train(Recipe(**recipe, sigma_range=(0.2, 0.6)), [images], tmp_path / "teacher", data="")
    with pytest.warns(UserWarning, match="trained for sigma 0.2 to 0.6; some of 0.15 to 0.6 is outside"):
        train(Recipe(**recipe, teacher=str(teacher), sigma_range=(0.15, 0.6)), [images], tmp_path / "out", data="")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train(Recipe(**recipe, teacher=str(teacher), sigma_range=(0.2, 0.3)), [images], tmp_path / "in", data="")


def test_patches_follow_from_the_generator_alone(images):
    training, held_out = split([images])
    assert len(held_out) == 1
    assert len(training[0]) == 5
    patches = Patches(training, 16)
    (a, _), (b, _) = (patches.batch(6, np.random.default_rng(3)) for _ in range(2))
    assert np.array_equal(a, b)
    assert a.shape == (6, 3, 16, 16)
    assert a.dtype == np.float32
    assert 0 <= a.min() < a.max() <= 1
    with pytest.raises(BadImage, match="at least 41 x 41"):
        Patches(training, 41)


def test_a_set_too_large_for_memory_trains_the_same_weights(tmp_path, images, monkeypatch):
    held = train(Recipe(**SMALL), [images], tmp_path / "held", data="")
    monkeypatch.setattr("dsmooth.training.held_out._IN_MEMORY", 0)
    training, _ = split([images])
    assert isinstance(training[0], ImageSet)
    read = train(Recipe(**SMALL), [images], tmp_path / "read", data="")
    assert all(torch.equal(v, weights(held)[k]) for k, v in weights(read).items())


def test_an_unreadable_image_ends_a_training_that_reads_as_it_goes(tmp_path, images, monkeypatch):
    monkeypatch.setattr("dsmooth.training.held_out._IN_MEMORY", 0)

    def read(i):
        if i > 1:
            raise BadImage(f"{i} is broken")
        return images[i]

    broken = ImageSet(images.names, images.labels, "broken", read)
    with pytest.raises(BadImage, match="is broken"):
        train(Recipe(**SMALL), [broken], tmp_path / "out", data="")


def test_psnr():
    clean = torch.full((1, 1, 4, 4), 0.5)
    assert psnr(clean + 0.1, clean) == pytest.approx(20.0, abs=1e-4)
    assert psnr(clean, clean) == float("inf")
    assert psnr(clean + 7, clean) == pytest.approx(psnr(clean + 0.5, clean))  # clipped to [0, 1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"patch": -1}, "patch"),
        ({"padding": -1}, "padding"),
        ({"padding": 4, "distort": 1.0}, "distort"),
        ({"distort": 0.1}, "padding too"),
        ({"sigma_range": (0.5, 0.1)}, "sigma range"),
        ({"sigma_range": (0.0, 0.1)}, "sigma range"),
        ({"sigma_range": (0.1, 100.0)}, "sigma"),
        ({"noise": "uniform", "sigma_range": (0.1, 7.0)}, "levels"),  # more than any certificate takes
        ({"judged": (-1.0,)}, "sigma"),
        ({"sigma_law": "loguniform"}, "sigma law"),
        ({"schedule": "sawtooth"}, "schedule as one of"),
        ({"optimizer": "lion"}, "optimizer as one of"),
        ({"precision": "fp8"}, "precision as one of"),
        ({"horizon": 7}, "horizon"),
        ({"horizon": 9, "minutes": 1.0}, "leave out minutes"),
        ({"objective": "stab"}, "at least one --surrogate"),
        ({"objective": "mse", "alone": 1.5}, "share from 0 to 1"),
        ({"objective": "stab", "surrogates": ("x",), "alone": 0.5}, "no term for the part without surrogates"),
        ({"cut": 0.0}, "cut above 0"),
        ({"objective": "nothing"}, "expected an objective"),
    ],
)
def test_impossible_recipes_are_refused(changes, message):
    with pytest.raises(BadParameter, match=message):
        Recipe(**{**SMALL, **changes})


@pytest.fixture
def halves(tmp_path):
    rng = np.random.default_rng(0)
    pixels = rng.integers(90, 110, (800, 16, 16, 3)).astype(np.uint8)
    labels = np.arange(800) // 40 % 2  # the 20 that are held out alternate
    for image, label in zip(pixels, labels, strict=True):
        image[:, 8 * (1 - label) : 8 * (2 - label)] += 40
    np.savez(tmp_path / "halves.npz", images=pixels, labels=labels)
    return open_images(tmp_path / "halves.npz")


SURROGATE, OTHER = ("import:support:Halves",), "import:support:Fixed"
THROUGH = {**SMALL, "padding": 0, "sigma_range": (0.5, 0.5), "lr": 3e-3, "batch": 16, "surrogates": SURROGATE}


@pytest.mark.parametrize("objective", ["clf", "stab", "stab + 0.1 mse", "adv"])
def test_training_through_a_classifier_raises_its_accuracy_under_noise(tmp_path, halves, objective):
    reports = []
    recipe = Recipe(**{**THROUGH, "steps": 60, "average": 0.5, "objective": objective})
    path = train(recipe, [halves], tmp_path / "out", data="", every=1, on_report=reports.append)
    first, last = (r.scores["accuracy"][SURROGATE[0]]["0.5"] for r in (reports[0], reports[-1]))
    assert last > first
    assert reports[-1].loss < reports[0].loss
    assert describe(path).metrics["accuracy_held_out"] == {SURROGATE[0]: {"0.5": last}}


def test_surrogates_can_be_averaged_with_mirror_images(tmp_path, halves):
    (plain,), (both,) = (load_surrogates(("import:support:Sided",), mirrored=each) for each in (False, True))
    images = torch.rand(8, 3, 16, 16, generator=torch.Generator().manual_seed(0), requires_grad=True)
    assert torch.allclose(both.network(images), Linear()(images), atol=1e-6)
    assert not torch.allclose(plain.network(images), Linear()(images), atol=1e-3)
    both.network(images)[:, 1].sum().backward()
    assert torch.allclose(images.grad, torch.full_like(images, 1 / images[0].numel()))
    recipe = Recipe(**{**THROUGH, "objective": "clf", "surrogates": ("import:support:Sided",), "mirrored": True})
    train(recipe, [halves], tmp_path / "out", data="")
    told = json.loads((tmp_path / "out" / "recipe.json").read_text())
    assert told["mirrored"] is True
    assert told["surrogates"] == [{"name": "import:support:Sided", "digest": both.digest}]


def test_the_classifier_stays_as_it_was(tmp_path, halves, monkeypatch):
    used = []

    def remembered(specs, **options):
        used.extend(load_surrogates(specs, **options))
        return used

    monkeypatch.setattr("dsmooth.training.denoising.load_surrogates", remembered)
    before = {key: value.clone() for key, value in load_surrogates((OTHER,))[0].network.state_dict().items()}
    assert any(value.is_floating_point() for value in before.values())
    recipe = Recipe(**{**THROUGH, "objective": "clf", "surrogates": (OTHER,)})
    train(recipe, [halves], tmp_path / "out", data="")
    told = json.loads((tmp_path / "out" / "recipe.json").read_text())
    assert told["surrogates"] == [{"name": OTHER, "digest": load_classifier(OTHER).digest()}]
    network = used[0].network
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert not any(part.training for part in network.modules())
    assert not any(p.requires_grad or p.grad is not None for p in network.parameters())


def test_surrogates_take_turns_and_resume_goes_on_bit_for_bit(tmp_path, halves):
    reports = []
    recipe = Recipe(
        **{**THROUGH, "architecture": "dncnn", "config": {"depth": 4, "width": 8, "norm": True}, "steps": 9,
           "objective": "clf + 0.1 stab + mse", "surrogates": (SURROGATE[0], OTHER), "optimizer": "adam-then-sgd",
           "schedule": "stepped", "sigma_range": (0.2, 0.6), "sigma_law": "log-uniform"}
    )  # fmt: skip

    class StopError(Exception):
        pass

    def stop(report):
        if report.step == 7:
            raise StopError

    whole = train(recipe, [halves], tmp_path / "whole", data="", every=3, on_report=reports.append)
    with pytest.raises(StopError):
        train(recipe, [halves], tmp_path / "parts", data="", every=3, on_report=stop)
    parts, steps = resumed(recipe, halves, tmp_path / "parts", every=3)
    assert steps == [7, 8, 9]
    assert set(reports[-1].scores["accuracy"]) == {SURROGATE[0], OTHER}
    for key, value in weights(whole).items():
        assert torch.equal(value, weights(parts)[key]), key


HEADED = {"widths": [8, 12], "blocks": [1, 1], "classes": 2, "shuffle": 2, "scaled": True}


def test_a_class_head_learns_what_it_sees(tmp_path):
    labels = np.arange(800) // 40 % 2
    pixels = np.random.default_rng(0).integers(70, 110, (800, 16, 16, 3)) + 80 * labels[:, None, None, None]
    np.savez(tmp_path / "bright.npz", images=pixels.astype(np.uint8), labels=labels)
    images, reports = open_images(tmp_path / "bright.npz"), []
    recipe = Recipe(
        **{**THROUGH, "config": HEADED, "steps": 60, "average": 0.5, "objective": "head + mse", "surrogates": ()}
    )
    path = train(recipe, [images], tmp_path / "out", data="", every=20, on_report=reports.append)
    assert reports[-1].scores["accuracy"]["head"]["0.5"] > 0.8  # two classes, 20 images
    assert load_denoiser(path).config["classes"] == 2


def test_muon_in_two_phases_goes_on_bit_for_bit(tmp_path, halves, monkeypatch):
    asked = []
    surrogates = load_surrogates(SURROGATE)
    surrogates[0].network.register_forward_hook(lambda *_: asked.append(torch.is_grad_enabled()))
    monkeypatch.setattr("dsmooth.training.denoising.load_surrogates", lambda specs, mirrored: surrogates)
    recipe = Recipe(
        **{**THROUGH, "config": HEADED, "steps": 10, "objective": "clf + head + mse", "optimizer": "muon",
           "schedule": "linear", "alone": 0.5, "cut": 0.5, "temperature": 4.0, "clip": 1.0}
    )  # fmt: skip

    class StopError(Exception):
        pass

    def stop(report):
        if report.step == 7:
            raise StopError

    counts = []
    whole = train(
        recipe, [halves], tmp_path / "whole", data="", every=100, on_report=lambda report: counts.append(sum(asked))
    )
    assert [count - counts[0] for count in counts] == [0] * 5 + [1, 2, 3, 4, 5]  # nobody is asked in the first phase
    with pytest.raises(StopError):
        train(recipe, [halves], tmp_path / "parts", data="", every=3, on_report=stop)
    parts, steps = resumed(recipe, halves, tmp_path / "parts", every=3)
    assert steps == [7, 8, 9, 10]
    for key, value in weights(whole).items():
        assert torch.equal(value, weights(parts)[key]), key


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"widths": [8], "blocks": [1]}, "a unet, and --classes"),
        ({"widths": [8], "blocks": [1], "classes": 1}, "labels from 0 to 0 for a head of 1 classes, got 1"),
    ],
)
def test_a_head_that_does_not_fit_is_refused(tmp_path, halves, config, message):
    with pytest.raises(BadInput, match=message):
        train(Recipe(**{**THROUGH, "config": config, "objective": "head"}), [halves], tmp_path / "out", data="")
    assert not (tmp_path / "out").exists()


def test_whole_images_are_shown_whole_to_a_surrogate(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 232, 232, 3), dtype=np.uint8)
    np.savez(tmp_path / "large.npz", images=pixels, labels=[0, 1])
    recipe = Recipe(
        **{**THROUGH, "objective": "stab", "surrogates": (f"import:{__name__}:fixed",), "steps": 1, "batch": 1,
           "config": {"widths": [8], "blocks": [1], "shuffle": 4}}
    )  # fmt: skip
    reports = []
    train(recipe, [open_images(tmp_path / "large.npz")], tmp_path / "out", data="", on_report=reports.append)
    assert len(reports) == 1


def fixed():
    """A classifier of 232 x 232 pixels, and of nothing else."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 232 * 232, 2))


def test_minutes_end_a_training(tmp_path, images):
    reports = []
    recipe = Recipe(**{**SMALL, "steps": 10**9, "minutes": 0.02})
    path = train(recipe, [images], tmp_path / "out", data="", every=10**9, on_report=reports.append)
    assert path.is_file()
    assert reports[-1].progress == 1.0
    assert 1.2 <= reports[-1].seconds < 30


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"surrogates": ("onnx:x.onnx",)}, r"no such ONNX file"),
        ({"surrogates": SURROGATE * 2}, "each surrogate once"),
        ({"surrogates": ("import:support:nothing",)}, "cannot be imported"),
        ({"surrogates": (OTHER,), "padding": None, "patch": 8}, r"does not accept images of shape \(1, 3, 8, 8\)"),
    ],
)
def test_unusable_surrogates_are_refused(tmp_path, halves, changes, message):
    with pytest.raises(BadInput, match=message):
        train(Recipe(**{**THROUGH, **changes}), [halves], tmp_path / "out", data="")
    assert not (tmp_path / "out").exists()


def test_labels_are_checked_before_anything_is_written(tmp_path, images, halves):
    recipe = Recipe(**{**SMALL, "objective": "clf", "surrogates": SURROGATE})
    with pytest.raises(BadImage, match="6 of 6 have none"):
        train(recipe, [images], tmp_path / "out", data="")
    np.savez(tmp_path / "three.npz", images=np.zeros((4, 16, 16, 3), np.uint8), labels=[0, 1, 2, 0])
    with pytest.raises(BadImage, match="labels from 0 to 1"):
        train(
            Recipe(**{**THROUGH, "objective": "clf"}), [open_images(tmp_path / "three.npz")], tmp_path / "out", data=""
        )
    assert not (tmp_path / "out").exists()
    stability = Recipe(**{**THROUGH, "objective": "stab", "steps": 1})  # needs no labels
    train(stability, [open_images(tmp_path / "three.npz")], tmp_path / "out", data="")


def test_surrogates_of_one_kind_are_told_apart(tmp_path):
    specs = []
    for name in ("a", "b", "c/a"):
        path = tmp_path / name / "model.safetensors"
        path.parent.mkdir(parents=True)
        save_file(CifarResNet(20).state_dict(), path)
        specs.append(f"cifar:resnet20@{path}")
    a, b, other = load_surrogates(specs)
    assert (a.name, b.name) == ("cifar:resnet20@a", "cifar:resnet20@b")
    assert other.name == f"cifar:resnet20@a#{other.digest[:8]}"
    assert "airplane" in a.class_names
    with pytest.raises(BadModel, match="expected surrogates that gradients pass through"):
        load_surrogates(["azure:image-analysis"])  # without asking for its key


def test_the_course_is_drawn(tmp_path, halves):
    with pytest.raises(BadRun, match="at least one evaluation"):
        draw_learning_curve(tmp_path)
    train(Recipe(**{**THROUGH, "objective": "clf"}), [halves], tmp_path / "out", data="", every=4)
    text = draw_learning_curve(tmp_path / "out").read_text()
    assert "accuracy" in text
    assert "PSNR" in text
