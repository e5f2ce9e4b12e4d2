"""The program as people run it: what it prints, what it refuses, and what it leaves behind."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import save_file

from dsmooth.backends import choice
from dsmooth.classifiers.cifar_resnet import CifarResNet
from dsmooth.cli import app
from dsmooth.cli.train import _training_sets
from dsmooth.denoisers.ffdnet import FFDNet
from dsmooth.denoisers.loading import describe, load_denoiser
from dsmooth.errors import BadImage
from dsmooth.images.labels import class_folders
from dsmooth.records.store import read_run
from dsmooth.theory.modes import Mode
from dsmooth.training.recipe import Recipe
from support import data, environment, run


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for i, name in enumerate(("dark", "light")):
        (tmp_path / "images" / name).mkdir(parents=True)
        for j in range(2):
            pixels = rng.integers(0, 60, (8, 8, 3)) + 190 * i
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "images" / name / f"{j}.png")
    (tmp_path / "grey.npz").write_bytes(b"")
    np.savez(tmp_path / "grey.npz", images=np.zeros((2, 8, 8, 1), np.uint8))
    (tmp_path / "broken.png").write_bytes(b"no picture")
    return tmp_path


def process(folder, *arguments, code):
    """The same in a process of its own: that the program starts, and what the shell sees of it."""
    line = [sys.executable, "-m", "dsmooth", *map(str, arguments)]
    done = subprocess.run(line, cwd=folder, env=environment(), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    return done


LINEAR = ("-c", "import:support:Linear", "-d", "none")


def test_mirror_is_certified_predicted_attacked_and_verified(folder):
    sided = ("-c", "import:support:Sided", "-d", "none")
    run(folder, "certify", "images", *sided, "--mirror", "--n", "200", "-o", "run")
    assert read_run(folder / "run").question.preparation == "logits averaged over it and its mirror image"
    done = run(folder, "verify", "run", "--images", "images", *sided, "--all")
    assert "run: verified" in done.out
    run(
        folder, "attack", "run", "--images", "images", *sided, "--steps", "2", "--draws", "2", "--n", "60", "--max", "1"
    )
    assert "4 of 4 images certified" in run(folder, "certify", "images", *sided, "--mirror", "--n", "60", "-o", "b").out
    done = run(folder, "verify", "run", "--images", "images", *LINEAR, code=1)
    assert "certified with a different one" in done.out
    assert run(folder, "predict", "images", *sided, "--mirror", "--n", "60").out.count("right") == 4


def test_looks_with_a_bound_on_the_strongest_rival(folder):
    done = run(
        folder,
        "certify",
        "images",
        *LINEAR,
        "--mode",
        "decision",
        "--radius",
        "0.1",
        "--rivals",
        "--n",
        "400",
        "-o",
        "run",
    )
    assert "decision-multiclass bound" in done.out
    assert read_run(folder / "run").question.mode == Mode("decision", (0.1,), rivals=True)
    assert "run: verified" in run(folder, "verify", "run", "--images", "images", *LINEAR, "--all").out
    assert "| decision-multiclass |" in run(folder, "report", "run").out
    done = run(folder, "certify", "images", *LINEAR, "--rivals", "-o", "no", code=2)
    assert "rivals belong to the modes curve and decision" in done.err


def test_the_first_two_places(folder):
    (folder / "four.txt").write_text("dark\nlight\nc\nd\n")
    (folder / "four_for_test.py").write_text(
        "import torch\nfrom support import Linear\n\nclass Four(Linear):\n    def forward(self, x):\n"
        "        return torch.cat([super().forward(x), (x[:, 0, 0, :2] - 0.9) * 4], 1)\n"
    )
    four = ("-c", "import:four_for_test:Four", "-d", "none")
    done = run(folder, "certify", "images", *four, "--top", "2", "-o", "no", code=2)
    assert "pass --class-names" in done.err
    named = ("--class-names", "four.txt")
    for wrong in (
        ("--bound", "cohen"),
        ("--mode", "curve", "--radii", "0.1"),
        ("--sigma", "1", "--sigma", "0.5", "--cascade"),
    ):
        done = run(folder, "certify", "images", *four, *named, "--top", "2", *wrong, "-o", "no", code=2)
        assert "--top has its own bound" in done.err
    done = run(folder, "certify", "images", *four, *named, "--top", "4", "-o", "no", code=2)
    assert "choose a smaller top" in done.err
    assert not (folder / "no").exists()
    done = run(folder, "certify", "images", *four, *named, "--top", "2", "--n", "300", "-o", "run")
    assert "in top 2" in done.out
    assert "top-2-of-4 bound" in done.out
    assert "run: verified" in run(folder, "verify", "run", "--images", "images", *four, *named, "--all").out
    assert "| top-2-of-4 |" in run(folder, "report", "run").out
    attacked = ("--images", "images", *four, "--steps", "2", "--draws", "2", "--n", "60", "--max", "2")
    assert "0 flips among" in run(folder, "attack", "run", *attacked).out


def test_certify_and_report(folder):
    done = process(folder, "certify", "images", *LINEAR, "--n", "200", "--seed", "1", "-o", "run", code=0)
    assert "4 of 4 images certified, 4 with the right label" in done.stdout
    assert "dsmooth report run" in done.stdout
    assert done.stdout.count("right") == 5
    assert len(read_run(folder / "run").records) == 4
    done = run(folder, "report", "run")
    assert "| run | gaussian 0.25 | multiclass | 0.0 | 100.0 [47.2]" in done.out
    assert (folder / "run" / "report" / "report.html").is_file()
    done = run(folder, "certify", "images", *LINEAR, "--n", "200", "-o", "run", "--resume")
    assert "4 of 4 images are done" in done.err


def test_certify_in_other_norms(folder):
    done = run(folder, "certify", "images", *LINEAR, "--n", "200", "--norm", "inf", "-o", "run")
    assert "linf radius 0.0" in done.out
    assert run(folder, "report", "run").code == 0


def test_modes_save_votes_and_say_how_many(folder):
    arguments = (
        "certify",
        "images",
        *LINEAR,
        "--n",
        "2000",
        "--mode",
        "curve",
        "--radii",
        "0",
        "0.25",
        "0.5",
        "-o",
        "run",
    )
    done = run(folder, *arguments, "--seed", "1")
    assert "4 of 4 images certified, 4 with the right label" in done.out
    assert "times fewer than the 8,400 of mode fixed" in done.out
    assert "times fewer than the 8,400 of mode fixed" in run(folder, "report", "run").out
    assert "4 of 4 images are done" in run(folder, *arguments, "--resume").err


@pytest.mark.parametrize(
    "options", [("decision", "--radius", "0.25"), ("radius", "--lambda", "1e-3")], ids=lambda o: o[0]
)
def test_the_options_of_each_mode(folder, options):
    done = run(folder, "certify", "images", *LINEAR, "--n", "2000", "--mode", *options, "--max", "1", "-o", "run")
    assert "times fewer than the 2,100 of mode fixed" in done.out
    assert read_run(folder / "run").question.mode.name == options[0]


def test_several_sigmas_make_a_run_each(folder):
    line = (
        "certify",
        "images",
        *LINEAR,
        "--n",
        "60",
        "--sigma",
        "0.5",
        "-s",
        "0.25",
        "--certificates",
        "c",
        "-o",
        "runs",
    )
    done = run(folder, *line)
    held = {path.name: read_run(path).question.law.level for path in (folder / "runs").iterdir()}
    assert held == {"sigma-0.5": 0.5, "sigma-0.25": 0.25}
    assert len(list((folder / "c").glob("sigma-*/*.json"))) == 8
    assert "| sigma-0.5 | gaussian 0.5 | multiclass | " in done.out
    assert "| upper envelope |" in done.out
    assert "dsmooth report runs/sigma-0.5 runs/sigma-0.25" in done.out
    shutil.rmtree(folder / "runs" / "sigma-0.25")
    shutil.rmtree(folder / "c")
    again = run(folder, *line, "--resume")
    assert again.err.count("4 of 4 images are done") == 1
    assert (folder / "runs" / "sigma-0.25" / "end.json").is_file()


@pytest.mark.parametrize(
    ("command", "options", "says"),
    [
        ("certify", ("--witness", "-o", "runs"), "--witness is for a single run"),
        ("certify", ("-o", "run"), "run already holds a run, and several --sigma"),
        ("certify", ("--sigma", "0.25000001", "-o", "runs"), "differ in their first six digits"),
        ("certify", ("--sigma", "9", "-o", "runs"), "sigma must be between"),
        ("predict", (), "only certify takes several"),
    ],
)
def test_several_sigmas_where_they_make_no_sense(folder, command, options, says):
    run(folder, "certify", "images", *LINEAR, "--n", "10", "-o", "run")
    before = sorted(folder.rglob("*"))
    done = run(folder, command, "images", *LINEAR, "--sigma", "0.25", "--sigma", "0.5", *options, code=2)
    assert says in done.err
    assert sorted(folder.rglob("*")) == before


def test_what_runs_and_how_long_it_will_take_is_said_first(folder, monkeypatch):
    done = run(folder, "certify", "images", *LINEAR, "--n", "5000", "-o", "run")
    assert re.search(r"^fp32 on torch: about \d+ s for 20,400 samples$", done.err, re.M)
    monkeypatch.setattr(choice, "has_bf16", lambda: True)
    done = run(folder, "certify", "images", *LINEAR, "--backend", "eager", "--n", "20", "-o", "faster")
    assert "bf16 on torch, several times as fast as fp32 (--dtype fp32 runs the exact network)\n" in done.err
    assert read_run(folder / "faster").question.dtype == "bf16"


NATIVE = """
import hashlib, pathlib
def model():
    pathlib.Path("begun").touch()
    hashlib.pbkdf2_hmac("sha256", b"x", b"y", 10**8)  # a minute of code that hears no signal
"""


def test_an_interruption_during_set_up_is_heard_at_once(folder):
    (folder / "slow_to_load.py").write_text(NATIVE)
    line = [sys.executable, "-m", "dsmooth", "certify", "images", "-c", "import:slow_to_load:model", "-o", "run"]
    program = subprocess.Popen(line, cwd=folder, env=environment(), stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not (folder / "begun").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    started = time.monotonic()
    program.send_signal(signal.SIGINT)
    _, errors = program.communicate(timeout=120)
    assert time.monotonic() - started < 5  # where four other processes want the core; a tenth of a second otherwise
    assert program.returncode == 130
    assert errors.strip() == "dsmooth: interrupted while setting up; nothing of this run was written"
    assert not (folder / "run").exists()


def test_radii_that_no_votes_can_reach_are_said(folder):
    arguments = ("--mode", "curve", "--radii", "0.25", "5", "--n", "20", "-o", "run")
    done = run(folder, "certify", "images", *LINEAR, *arguments)
    assert "radius 0.25 cannot be certified: at least 42 votes are needed" in done.err
    assert "radius 5 cannot be certified: more than 10,000,000 votes are needed" in done.err


def test_predict(folder):
    done = run(folder, "predict", "images/light/0.png", *LINEAR)
    assert "p-value" in done.out
    assert list(folder.glob("run*")) == []


def test_skip_and_max(folder):
    run(folder, "certify", "images", *LINEAR, "--n", "10", "--skip", "2", "--max", "1", "-o", "run")
    assert [record.name for record in read_run(folder / "run").records] == ["dark/0.png"]


def test_train_writes_a_denoiser_that_certifies(folder):
    arguments = [
        "train",
        "images",
        "--steps",
        "6",
        "--every",
        "3",
        "--patch",
        "8",
        "--widths",
        "8",
        "8",
        "--blocks",
        "1",
        "1",
    ]
    run(folder, *arguments, "--precision", "32-true", "-o", "den")
    assert {p.name for p in (folder / "den").iterdir()} == {
        "checkpoint-00000003.pt", "checkpoint-00000006.pt", "learning_curve.svg", "metrics.jsonl", "model.safetensors",
        "recipe.json",
    }  # fmt: skip
    run(folder, "certify", "images", "-c", "import:support:Linear", "-d", "den", "--n", "20", "-o", "run")
    assert read_run(folder / "run").records[0].asked.denoiser is not None
    assert "--resume" in run(folder, *arguments, "-o", "den", code=2).err
    run(folder, "train", "broken.png", "-o", "den2", code=2)
    assert not (folder / "den2" / "model.safetensors").exists()


def test_train_through_a_classifier(folder):
    arguments = [
        "--objective",
        "clf + 10 mse",
        "--surrogate",
        "import:support:Linear",
        "--padding",
        "1",
        "--steps",
        "4",
    ]
    small = ["--widths", "8", "--blocks", "1", "--batch", "2", "--precision", "32-true", "--every", "2"]
    ours = ["--scaled", "--sigma-law", "log-uniform", "--temperature", "4", "--clip", "0"]
    done = run(folder, "train", "images", *arguments, *small, *ours, "-o", "den")
    told = json.loads((folder / "den" / "recipe.json").read_text())
    assert (told["sigma_law"], told["temperature"], told["clip"]) == ("log-uniform", 4.0, None)
    assert told["config"]["scaled"]
    assert "import:support:Linear 100.0 %" in done.out or "import:support:Linear 0.0 %" in done.out
    assert "learning curve: den/learning_curve.svg" in done.out
    more = ["--padding", "1", "--batch", "2", "--precision", "32-true", "--steps", "1"]
    run(folder, "train", "images", *more, "--start", "den", "--sigma-max", "0.5", "-o", "more")
    again = json.loads((folder / "more" / "recipe.json").read_text())
    assert (again["config"], again["sigma_range"]) == (
        describe(folder / "den" / "model.safetensors").config,
        [0.1, 0.5],
    )
    run(folder, "train", "images", *more, "--teacher", "den", "--widths", "4", "--blocks", "1", "-o", "taught")
    taught = json.loads((folder / "taught" / "recipe.json").read_text())
    assert taught["teacher"] == load_denoiser(folder / "den").digest()
    refused = run(folder, "train", "images", *more, "--teacher", "nowhere", "-o", "untaught", code=2).err
    assert "no denoiser 'nowhere'" in refused
    assert not (folder / "untaught").exists()


FLAGS = """
--alone --architecture --average --batch --blocks --brightness --classes --clip --colour --compiled --cut --data
--decoder-blocks --distort --every --judged --label-smoothing --labels --lr --minutes --mirror --mirrored --no-mirror
--no-mirrored --no-turns --no-zoom --noise --norm --objective --optimizer --out --padding --patch --precision
--processes --ramp --resume --scaled --schedule --seed --shuffle --sigma-law --sigma-max --sigma-min --start --steps
--surrogate --teacher --temperature --turns --weight-decay --widths --zoom -o
"""


def test_the_options_of_train():
    arguments = [argument for argument in app["train"].assemble_argument_collection() if argument.parse]
    found = {name for argument in arguments for name in argument.names if name[0] == "-"}
    assert found == set(FLAGS.split())
    hidden = {"architecture", "config", "horizon", "sigma_range"}  # by another name, or for Python only
    renamed = {"surrogates": "surrogate"}
    fields = {renamed.get(name, name) for name in Recipe.__dataclass_fields__} - hidden
    assert {"--" + name.replace("_", "-") for name in fields} <= found


def test_train_with_a_class_head(folder):
    arguments = [
        "--objective",
        "clf + head + mse",
        "--surrogate",
        "import:support:Linear",
        "--padding",
        "1",
        "--steps",
        "4",
    ]
    small = ["--widths", "8", "8", "--blocks", "1", "1", "--decoder-blocks", "1", "--batch", "2", "--every", "2"]
    ours = ["--classes", "2", "--optimizer", "muon", "--schedule", "linear", "--alone", "0.5", "--cut", "1"]
    done = run(folder, "train", "images", *arguments, *small, *ours, "--precision", "32-true", "-o", "den")
    assert "head 100.0 %" in done.out or "head 0.0 %" in done.out
    told = json.loads((folder / "den" / "recipe.json").read_text())
    assert (told["optimizer"], told["alone"], told["cut"], told["config"]["classes"]) == ("muon", 0.5, 1.0, 2)
    done = run(folder, "train", "images", *arguments, *small, "-o", "other", code=2)
    assert "a unet, and --classes" in done.err
    assert not (folder / "other").exists()


def test_sub_folders_of_a_training_are_classes_of_the_surrogate(tmp_path):
    for name in ("ship", "truck", "ship-like"):
        (tmp_path / "images" / name).mkdir(parents=True)
        Image.new("RGB", (32, 32)).save(tmp_path / "images" / name / "0.png")
    save_file(CifarResNet(20).state_dict(), tmp_path / "r20.safetensors")
    through = Recipe(objective="clf", surrogates=(f"cifar:resnet20@{tmp_path / 'r20.safetensors'}",))
    with pytest.raises(BadImage, match="named by class or class number"):
        _training_sets([tmp_path / "images"], None, through)
    (unnamed,) = _training_sets([tmp_path / "images"], None, replace(through, objective="stab"))
    assert unnamed.labels == (None, None, None)
    shutil.rmtree(tmp_path / "images" / "ship-like")
    (named,) = _training_sets([tmp_path / "images"], None, through)
    assert named.labels == (8, 9)


def test_a_denoiser_is_measured(folder):
    done = run(
        folder, "test-denoiser", "images", "-d", "photo", "-c", "import:support:Linear", "--sigma", "0.1", "0.5",
        "--picture", "strip.png",
    )  # fmt: skip
    rows = [line for line in done.out.splitlines() if line.startswith("| 0.")]
    assert [row.split("|")[2].strip() for row in rows] == ["noisy", "denoised"] * 2
    assert rows[0].split("|")[3].strip().startswith("21.")  # -20 log10(.1) = 20, and clipping helps dark images
    assert rows[3].count("%") == 1
    with Image.open(folder / "strip.png") as strip:
        assert strip.size == (4 * (64 + 2), 16 + 8 * (16 + 64 + 2))
    assert (
        "sigma 0.07 is outside what this denoiser was trained for (0.08 to 0.6)"
        in run(folder, "test-denoiser", "images", "-d", "photo", "--sigma", "0.07").err
    )
    run(folder, "test-denoiser", "grey.npz", "-d", "tv", "--sigma", "0.1")
    for arguments, message in (
        (["images", "-d", "x"], "no denoiser 'x'"),
        (["images", "--picture", "nowhere/strip.png"], "--picture nowhere/strip.png: expected a file to write"),
        (["images", "--picture", "images"], "--picture images: expected a file to write"),
        (["grey.npz"], "expects images of 3 channels"),
    ):
        done = run(folder, "test-denoiser", *arguments, code=2)
        assert message in done.err
        assert "|" not in done.out  # before anything is measured


BAD = {
    "sigma 0": (["--sigma", "0"], "sigma must be between"),
    "sigma nan": (["--sigma", "nan"], "sigma must be between"),
    "sigma text": (["--sigma", "big"], "sigma"),
    "alpha 0": (["--alpha", "0"], "alpha must lie strictly between 0 and 1"),
    "alpha 1.5": (["--alpha", "1.5"], "alpha must lie strictly between 0 and 1"),
    "alpha nan": (["--alpha", "nan"], "alpha must lie strictly between 0 and 1"),
    "n 0": (["--n", "0"], "n must be a whole number of at least 1, got 0"),
    "n0 -1": (["--n0", "-1"], "n0 must be a whole number of at least 1, got -1"),
    "n 1.5": (["--n", "1.5"], "--n must be a whole number, got '1.5'"),
    "norm": (["--norm", "0.5"], "norm must be a number from 1 to inf"),
    "dtype": (["--dtype", "int8"], "dtype"),
    "bound": (["--bound", "best"], "bound"),
    "batch": (["--batch", "0"], "batch must be a whole number of at least 1"),
    "workers": (["--workers", "0"], "workers must be a whole number of at least 1"),
    "skip": (["--skip", "0"], "skip must be a whole number of at least 1, got 0"),
    "max": (["--max", "0"], "max must be a whole number of at least 1, got 0"),
    "size": (["--size", "-3"], "size must be from 0"),
    "seed": (["--seed", "-1"], "seed must be a whole number"),
    "n empty": (["--n", ""], "n must be a whole number"),
    "denoiser": (
        ["-d", "nothing"],
        "no denoiser 'nothing': expected a name (photo, photo-light, photo-l1, cifar10-mse, cifar10-white, "
        "cifar10-l1, tv, nlm)",
    ),
    "denoiser file": (["-d", "broken.png"], "expected a safetensors file"),
    "classifier": (["-c", "resnet"], "classifier must be one of"),
    "classifier file": (["-c", "onnx:none.onnx"], "no such ONNX file"),
    "timm name": (["-c", "timm:nothing"], "timm has no model"),
    "labels": (["--labels", "none.csv"], "expected a CSV file of labels"),
    "mode": (["--mode", "best"], "mode"),
    "mode without radii": (["--mode", "curve"], "mode curve needs radii"),
    "radius without mode": (["--radius", "0.5"], "--radius belongs to --mode decision"),
    "lambda without mode": (["--lambda", "1"], "belongs to mode radius"),
    "option": (["--sgima", "1"], "sgima"),
    "out": (["-o", "images"], "holds other files"),
}


@pytest.mark.parametrize(("changes", "message"), BAD.values(), ids=BAD.keys())
def test_bad_parameters_get_one_line_and_leave_nothing(folder, changes, message):
    before = sorted(folder.rglob("*"))
    options = {"-c": LINEAR[1], "-d": "none", "-o": "run", changes[0]: changes[1]}
    done = run(folder, "certify", "images", *(part for option in options.items() for part in option), code=2)
    errors = [line for line in done.err.splitlines() if line.startswith("dsmooth: ")]
    assert len(errors) == 1
    assert message in errors[0]
    assert [p for p in sorted(folder.rglob("*")) if "__pycache__" not in str(p)] == before


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ("missing", "no such file"),
        ("broken.png", "expected a readable PNG"),
        ("grey.npz", "expects images of 3 channels"),
    ],
)
def test_bad_images_get_one_line(folder, images, message):
    denoiser = ("-d", "photo") if images == "grey.npz" else ("-d", "none")
    done = run(folder, "certify", images, "-c", "import:support:Linear", *denoiser, "-o", "run", code=2)
    assert message in done.err
    assert done.err.count("dsmooth: ") == 1
    assert not (folder / "run").exists()


def test_a_broken_image_among_good_ones_is_found_before_anything_is_written(folder):
    (folder / "images" / "light" / "9.png").write_bytes((folder / "images" / "light" / "0.png").read_bytes()[:80])
    done = process(folder, "certify", "images", *LINEAR, "-o", "run", code=2)
    assert "light/9.png: expected a readable PNG" in done.stderr
    assert not (folder / "run").exists()


def test_a_broken_image_may_be_skipped_and_the_run_says_so(folder):
    (folder / "images" / "light" / "9.png").write_bytes(b"no picture")
    (folder / "images" / "dark" / "8.png").write_bytes(b"")
    line = ("certify", "images", *LINEAR, "--n", "60", "-o", "run")
    assert "dark/8.png: expected a readable" in run(folder, *line, code=2).err
    done = run(folder, *line, "--on-bad", "skip")
    assert "skipped dark/8.png: expected a readable" in done.err
    assert "4 of 4 images certified, 4 with the right label" in done.out
    assert set(json.loads((folder / "run" / "run.json").read_text())["skipped"]) == {"dark/8.png", "light/9.png"}
    assert "4 of 4 images are done" in run(folder, *line, "--on-bad", "skip", "--resume").err
    verify = ("verify", "run", "--images", "images", *LINEAR, "--all")
    assert "run: verified" in run(folder, *verify).out
    shutil.copy(folder / "images" / "light" / "0.png", folder / "images" / "light" / "9.png")
    # it can be read, and is not in the run
    assert "not those that the run says it skipped" in run(folder, *verify, code=1).err
    assert "p-value" in run(folder, "predict", "images", *LINEAR, "--on-bad", "skip").out


@pytest.mark.parametrize("zipped", [False, True])
def test_files_that_are_passed_over_are_counted(folder, zipped):
    for name in ("a.gif", "b.GIF", "dark/c.tiff", ".hidden", "notes"):
        (folder / "images" / name).write_bytes(b"")
    if zipped:
        shutil.make_archive(folder / "packed", "zip", folder / "images")
    done = run(folder, "predict", "packed.zip" if zipped else "images", *LINEAR)
    assert "ignored 4 files (2 .gif, 1 .tiff, 1 no suffix); images end in .png, .jpg" in done.err
    assert done.out.count("p-value") == 4


def test_a_wrong_number_of_classes_gets_one_line(folder):
    (folder / "model_for_test.py").write_text(
        "from dsmooth import TorchClassifier\nfrom support import Constant\n"
        "def two():\n    return TorchClassifier(Constant(), class_names=['a', 'b'])\n"
    )
    done = run(folder, "certify", "images", "-c", "import:model_for_test:two", "-d", "none", "-o", "run", code=2)
    assert "expected TwoNames" in done.err or "2 classes, got 10 logits" in done.err


@pytest.mark.parametrize(
    "command",
    [
        "certify", "recertify", "verify", "attack", "predict", "train", "train-classifier", "test-denoiser", "report",
        "demo",
    ],
)  # fmt: skip
def test_help_has_examples(folder, command):
    assert f"dsmooth {command} " in run(folder, command, "--help").out.split("Examples")[1]


def test_help_needs_no_torch(folder):
    code = "import sys, dsmooth.cli; print([m for m in ('torch', 'scipy', 'rich.progress', 'PIL') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_reports_of_no_run_are_refused(folder):
    assert "expected a run folder" in run(folder, "report", "images", code=2).err
    assert "radii" in run(folder, "report", "images", "--radii", "x", code=2).err


def test_certify_real_images_with_onnx_and_an_off_the_shelf_denoiser(folder):
    real = data()
    images, denoiser = real / "cifar10" / "test_every20.npz", real / "denoisers" / "ffdnet_color.safetensors"
    model = f"onnx:{real / 'cifar10_models' / 'resnet20.onnx'}"
    run(folder, "certify", images, "-c", model, "-d", denoiser, "--max", "3", "--n", "60", "--n0", "20", "-o", "run")
    assert all(sum(c for _, c in r.estimation["counts"]) == 60 for r in read_run(folder / "run").records)


def test_an_onnx_file_is_told_what_its_classes_are_called(folder):
    real = data() / "cifar10_models" / "resnet20.onnx"
    np.savez(folder / "one.npz", images=np.full((1, 32, 32, 3), 90, np.uint8))
    (folder / "names.txt").write_text("\n".join(f"kind {i}" for i in range(10)))
    model = ("-c", f"onnx:{real}", "--class-names", "names.txt")
    line = ("certify", "one.npz", *model, "-d", "none", "--sigma", "0.05", "--n", "20", "--alpha", "0.2", "-o", "run")
    assert "kind " in run(folder, *line, "--certificates", "c").out
    assert json.loads((folder / "c" / "000000.json").read_text())["claim"]["name"].startswith("kind ")
    verified = run(folder, "verify", "c/000000.json", "--images", "one.npz", *model, "--all").out
    assert "name          holds" in verified
    (folder / "names.txt").write_text("cat\ndog\n")
    wrong = run(folder, *line[:-1], "other", code=2).err
    assert "to know 2 classes, got 10 logits" in wrong
    assert (
        "class names" in run(folder, "certify", "one.npz", *LINEAR, "--class-names", "none.txt", "-o", "x", code=2).err
    )
    assert (
        "--label-map"
        in run(
            folder,
            "certify",
            "one.npz",
            "-c",
            "http://127.0.0.1:9/",
            "--class-names",
            "names.txt",
            "-o",
            "other",
            code=2,
        ).err
    )


def test_verify_finds_the_shipped_denoiser_by_its_digest(folder):
    model = ("-c", "import:support:Linear")
    run(folder, "certify", "images", *model, "-d", "cifar10-mse", "--n", "20", "--max", "1", "-o", "run")
    assert json.loads((folder / "run" / "run.json").read_text())["denoiser_name"] == "cifar10-mse"
    done = run(folder, "verify", "run", "--images", "images", "--max", "1", *model)
    assert "denoiser      holds" in done.out
    FFDNet(3, 4).save_pretrained(folder / "own")
    run(folder, "certify", "images", *model, "-d", "own", "--n", "20", "--max", "1", "-o", "other")
    done = run(folder, "verify", "other", *model, code=2)
    assert "the denoiser that was certified, called 'own', does not come with dsmooth: pass it as -d" in done.err


def test_class_folders_are_matched_by_name_or_refused(folder):
    (folder / "named_for_test.py").write_text(
        "from dsmooth import TorchClassifier\nfrom support import Linear\n"
        "def model():\n    return TorchClassifier(Linear(), class_names=['light', 'dark'])\n"
    )
    (folder / "few_for_test.py").write_text(
        "from dsmooth import TorchClassifier\nfrom support import Constant\n"
        "def model():\n    return TorchClassifier(Constant(), class_names=[str(i) for i in range(100, 110)])\n"
    )
    done = run(folder, "certify", "images", "-c", "import:named_for_test:model", "-d", "none", "--n", "60", "-o", "run")
    assert "0 with the right label" in done.out  # Linear calls the bright ones 1, which this model names dark
    done = run(folder, "certify", "images", "-c", "import:few_for_test:model", "-d", "none", "-o", "few", code=2)
    assert "one for each of the 10 classes, got dark, light; rename them, or pass --labels" in done.err
    (folder / "labels.csv").write_text("\ufefffile,label\nlight/0.png,99\n", encoding="utf-8")
    done = run(
        folder,
        "certify",
        "images",
        "-c",
        "import:few_for_test:model",
        "-d",
        "none",
        "--labels",
        "labels.csv",
        "-o",
        "few",
        code=2,
    )
    assert "light/0.png: expected a label from 0 to 9, got 99" in done.err


@pytest.mark.parametrize("option", [("--labels", "none.csv"), ("--size", "64")])
def test_options_that_do_not_apply_are_refused(folder, option):
    done = run(folder, "certify", "grey.npz", *LINEAR, *option, "-o", "run", code=2)
    assert "labels and size do not apply" in done.err


def test_too_few_votes_are_said_before_they_are_drawn(folder):
    done = run(folder, "certify", "images", *LINEAR, "--n", "5", "-o", "run")
    assert "with n 5 and alpha 0.001 every image abstains: at least 11 votes are needed" in done.err
    assert "every image abstains" in run(folder, "predict", "images", *LINEAR, "--n", "5").err


def test_noise_that_the_denoiser_does_not_know_is_said(folder):
    done = run(folder, "predict", "images/light/0.png", "-c", "import:support:Linear", "--sigma", "2", "--n", "12")
    assert "trained for sigma 0.08 to 0.6; 2 is outside" in done.err


def test_a_closed_pipe_ends_nothing(folder):
    command = f"{sys.executable} -m dsmooth certify images -c import:support:Linear -d none --n 20 -o run | head -1"
    done = subprocess.run(
        command, shell=True, cwd=folder, env=environment(), capture_output=True, text=True, check=False
    )
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr
    assert len(read_run(folder / "run").records) == 4


def test_names_cannot_forge_lines(folder):
    (folder / "hostile").mkdir()
    (folder / "images" / "light" / "0.png").rename(folder / "hostile" / "a\nb\x1b[31m$x.png")
    done = run(folder, "certify", "hostile", *LINEAR, "--n", "20", "-o", "$run_")
    assert "a?b?[31m$x.png" in done.out
    assert run(folder, "report", "$run_").code == 0


def test_resume_with_other_images_says_so(folder):
    run(folder, "certify", "images", *LINEAR, "--n", "20", "--max", "2", "-o", "run")
    done = run(folder, "certify", "images", *LINEAR, "--n", "20", "--max", "3", "-o", "run", "--resume", code=2)
    assert "made with other images or labels" in done.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["images", "--patch", "64"], "at least 64 x 64"),
        (["images", "--patch", "8", "--start", "nothing"], "no denoiser 'nothing'"),
        (["images", "--patch", "8", "--start", "tv"], "--start: expected a denoiser with weights"),
        (
            ["images", "--patch", "8", "--start", "photo-light", "--widths", "8", "12", "16", "20"],
            "to hold unet-by-noise",
        ),
        (["images", "--patch", "8", "--start", "photo", "--widths", "8", "--blocks", "1"], "to hold unet"),
        (
            ["images", "--architecture", "dncnn", "--widths", "8"],
            "--widths is for a unet, and the architecture is dncnn",
        ),
        (["images", "--patch", "8", "--widths", "8", "8", "--blocks", "1"], "as many widths as blocks"),
        (["images", "grey.npz", "--patch", "8"], "images of 3 channels, got one of 1"),
        (["images", "--patch", "8", "--seed", "-1"], "seed must be a whole number"),
        (["images", "--patch", "8", "--lr", "inf"], "expected lr > 0"),
        (["images", "--patch", "8", "--sigma-max", "inf"], "sigma must be"),
        (["images", "--patch", "8", "--objective", "sharp"], "expected an objective as mse, stab, clf"),
        (["images", "--patch", "8", "--objective", "stab"], "pass at least one --surrogate"),
        (["images", "--objective", "stab + cons", "--batch", "3", "--surrogate", "x"], "expected an even batch"),
        (["images", "--patch", "8", "--surrogate", "nothing"], "classifier must be one of"),
        (["images", "grey.npz", "--patch", "8", "--labels", "x.csv"], "--labels chooses the images of one folder"),
        (["images", "--patch", "8", "--minutes", "0"], "expected minutes above 0"),
        (["images", "--patch", "8", "--temperature", "0"], "expected temperature above 0"),
        (["images", "--patch", "8", "--label-smoothing", "1"], "expected label smoothing from 0 to below 1"),
        (["images", "--patch", "8", "--weight-decay", "-1"], "expected a weight decay of 0 or more"),
        (["images", "--patch", "8", "--clip", "-1"], "expected clip above 0"),
        (["images", "--patch", "8", "--steps", "0"], "steps must be a whole number of at least 1"),
    ],
)
def test_bad_trainings_leave_nothing(folder, arguments, message):
    assert message in run(folder, "train", *arguments, "-o", "den", code=2).err
    assert not (folder / "den").exists()


def test_grey_images_train_a_denoiser_for_grey_images(folder):
    small = ["--widths", "8", "--blocks", "1", "--batch", "2", "--precision", "32-true", "--steps", "1", "--patch", "8"]
    run(folder, "train", "grey.npz", *small, "-o", "den")
    assert describe(folder / "den").config["channels"] == 1

    run(folder, "train", "grey.npz", *small, "--start", "den", "-o", "more")  # the same shape again, as the guide says
    assert describe(folder / "more").config["channels"] == 1


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--sigma-max", "0.5"], "-d den --sigma 0.3 --out RUN"),
        (["--noise", "splitting"], "-d den --noise splitting --levels 309 --out RUN"),
        (["--noise", "uniform"], "-d den --noise uniform --levels 309 --out RUN"),
        (["--brightness", "0.2", "--ramp", "0.1"], "-d den --sigma 0.35 --brightness 0.2 --ramp 0.1 --out RUN"),
        (
            ["--objective", "stab", "--surrogate", "import:support:Linear", "--padding", "0", "--mirrored"],
            "-d den --sigma 0.35 --mirror --out RUN",
        ),
    ],
)
def test_the_next_command_has_the_noise_that_was_trained_for(folder, options, expected):
    small = ["--widths", "8", "--blocks", "1", "--batch", "2", "--precision", "32-true", "--steps", "1"]
    patch = [] if "--padding" in options else ["--patch", "8"]
    assert expected in run(folder, "train", "images", *small, *patch, *options, "-o", "den").out


def test_options_without_effect_are_named(folder):
    small = ["--widths", "8", "--blocks", "1", "--batch", "2", "--precision", "32-true", "--steps", "1"]
    idle = ["--temperature", "4", "--cut", "1", "--label-smoothing", "0.1", "--mirrored", "--alone", "0.5"]
    told = run(folder, "train", "images", *small, "--padding", "0", "--patch", "8", *idle, "-o", "den").err
    assert (
        "--temperature, --cut, --alone, --mirrored, --label-smoothing, --patch: without effect on the objective 'mse'"
        in told
    )


def test_folders_that_number_their_classes_differently_are_refused(folder):
    for name in ("one/cat", "one/dog", "two/dog", "two/fox"):
        (folder / name).mkdir(parents=True)
        Image.new("RGB", (16, 16)).save(folder / name / "0.png")
    small = ["--widths", "8", "--blocks", "1", "--batch", "2", "--steps", "1", "--padding", "0"]
    headed = ["--objective", "head + mse", "--classes", "2"]
    told = run(folder, "train", "one", "two", *small, *headed, "-o", "den", code=2).err
    assert "class 0 is cat in one and dog in two" in told
    assert not (folder / "den").exists()
    shutil.copytree(folder / "one", folder / "again")
    run(folder, "train", "one", "again", *small, *headed, "-o", "den")
    run(folder, "train", "one", "two", *small, "-o", "other")  # without labels it does not matter


def test_folders_below_class_folders_and_classes_from_elsewhere_are_no_classes(folder):
    for name in ("one/cat/in", "one/dog/in", "two/cat/out", "two/dog/out", "two/fox"):
        (folder / name).mkdir(parents=True)
        Image.new("RGB", (16, 16)).save(folder / name / "0.png")
    small = ["--widths", "8", "--blocks", "1", "--batch", "2", "--steps", "1", "--padding", "0"]
    run(folder, "train", "one", "two", *small, "--objective", "head + mse", "--classes", "3", "-o", "den")
    assert class_folders(["cat/in/0.png", "dog/0.png"], [0, 1]) == ["cat", "dog"]
    assert class_folders(["a.parquet/0", "a.parquet/1", "b.parquet/0"], [1, 0, 1]) == []
    assert class_folders(["5/0.png", "7/0.png"], [5, 7]) == []  # named by their numbers
    assert class_folders(["0.png"], [None]) == []


def test_a_training_needs_no_held_out_image(folder):
    arguments = [
        "--steps",
        "2",
        "--patch",
        "8",
        "--widths",
        "8",
        "--blocks",
        "1",
        "--batch",
        "2",
        "--precision",
        "32-true",
    ]
    run(folder, "train", "images/light/0.png", *arguments, "-o", "den")
    assert (folder / "den" / "model.safetensors").is_file()
    (folder / "file").write_text("")
    assert "is a file" in run(folder, "train", "images", *arguments, "-o", "file", code=2).err
    assert "cannot be written" in run(folder, "train", "images", *arguments, "-o", "file/x", code=2).err


LOST = """
import os, signal, sys
from dsmooth.cli import main
from dsmooth.console import Bar

class Named:
    def __set_name__(self, owner, name):
        os.kill(os.getpid(), int(sys.argv[2]))  # what is raised here arrives as a RuntimeError

class Noisy:
    def __del__(self):
        os.kill(os.getpid(), int(sys.argv[2]))  # what is raised here is lost

def work(*arguments, **options):
    with Bar("work", 3, "steps") as bar:
        if sys.argv[1] == "turned":
            type("Owner", (), {"named": Named()})
        else:
            Noisy()
        bar.to(1)
        print("went on")

import dsmooth.cli
dsmooth.cli.app = work
main()
"""


@pytest.mark.parametrize("way", ["turned", "lost"])
@pytest.mark.parametrize(("number", "told"), [(signal.SIGINT, "interrupted"), (signal.SIGTERM, "terminated")])
def test_an_end_that_was_asked_for_is_not_lost_on_the_way(way, number, told):
    line = [sys.executable, "-c", LOST, way, str(int(number))]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 128 + number
    assert f"{told}; work that certify or train had finished is on disk" in done.stderr
    assert way == "lost" or "Traceback" not in done.stderr  # Python itself says what it ignores
    assert "went on" not in done.stdout
