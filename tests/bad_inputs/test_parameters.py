"""Numbers, names and places on the command line that cannot be used."""

import pytest

from support import dsmooth, refused

USUAL = {"-c": "import:support:Linear", "-d": "none", "-o": "run"}
COUNT = "must be a whole number"
SIGMA = "sigma must be between 0.002 and 8"
LEVEL = "alpha must lie strictly between 0 and 1"

CERTIFY = [
    *[("--sigma", value, SIGMA) for value in ("0", "-1", "nan", "inf", "-inf", "1e9", "0.0019", "8.01")],
    *[("--sigma", value, "sigma") for value in ("big", "", "0,25", "0x1p-2")],
    *[("--alpha", value, LEVEL) for value in ("0", "1", "1.5", "-0.1", "nan", "inf")],
    *[("--alpha", value, "alpha") for value in ("small", "")],
    *[
        (f"--{name}", value, COUNT)
        for name in ("n", "n0")
        for value in ("0", "-1", "1.5", "1e3", "many", "", "nan", "9" * 30)
    ],
    *[("--norm", value, "norm must be a number from 1 to inf") for value in ("0", "0.5", "-2", "nan", "-inf")],
    *[("--norm", value, "norm") for value in ("l2", "two", "")],
    *[
        (f"--{name}", value, COUNT)
        for name in ("batch", "workers")
        for value in ("0", "-1", "1.5", "all", "1000000000")
    ],
    *[(f"--{name}", value, COUNT) for name in ("skip", "max") for value in ("0", "-1", "1.5", "x")],
    *[("--size", value, "size must be from 0") for value in ("-1", "5001")],
    ("--size", "7.5", COUNT),
    *[("--seed", value, COUNT) for value in ("-1", "1.5", "x", str(2**63))],
    *[("--dtype", value, "dtype") for value in ("int8", "float32", "")],
    *[("--bound", value, "bound") for value in ("best", "Cohen", "")],
    ("--labels", "none.csv", "expected a CSV file of labels"),
    ("--labels", "images", "expected a CSV file of labels"),
    ("-o", "images", "holds other files"),
    ("-o", "arrays.npz", "is a file"),
    ("-o", "arrays.npz/run", "cannot be written"),
    ("-o", "/proc/nothing/run", "cannot be written"),
    ("-o", "/dev/null", "is a file"),
    ("--certificates", "images", "new or empty folder for --certificates"),
    ("--certificates", "arrays.npz", "new or empty folder for --certificates"),
    ("--sgima", "1", "sgima"),
    ("--resume", "maybe", "maybe"),
    *[("-d", value, "no denoiser") for value in ("nothing", "photo.safetensors", "", ".", "photo\x1b[31m")],
    *[("-c", value, "classifier must be one of") for value in ("resnet", "", "res:net")],
    *[("-c", value, "expected ") for value in ("timm:", "onnx:", "cifar:resnet56", "import:a", "import::")],
    ("-c", "cifar:resnet7@arrays.npz", "ResNet of depth"),
    ("-c", "cifar:vgg@arrays.npz", "expected cifar:resnet20@FILE"),
    ("-c", "import:nosuchmodule:x", "cannot be imported"),
    ("-c", "import:support:nothing", "cannot be imported"),
    ("-c", "import:sys:exit", "failed: SystemExit"),
    ("-c", "import:os:getcwd", "expected a torch.nn.Module"),
    ("-c", "import:json:loads", "failed: TypeError"),
    ("-c", "onnx:none.onnx", "no such ONNX file"),
]


@pytest.mark.parametrize(("option", "value", "says"), CERTIFY, ids=lambda value: repr(value)[:40])
def test_certify(folder, option, value, says):
    options = {**USUAL, option: value}
    refused(folder, "certify", "images", *(part for pair in options.items() for part in pair), says=says)


PREDICT = [
    ("--n", "0", COUNT),
    ("--alpha", "nan", LEVEL),
    ("--sigma", "0", SIGMA),
    ("--seed", "-1", COUNT),
    ("--max", "0", COUNT),
    ("--out", "x", "--out"),
]


@pytest.mark.parametrize(("option", "value", "says"), PREDICT)
def test_predict(folder, option, value, says):
    refused(folder, "predict", "images", "-c", USUAL["-c"], "-d", "none", option, value, says=says)


TRAIN = [
    *[
        (f"--{name}", value, COUNT)
        for name in ("steps", "batch", "patch", "every", "seed")
        for value in ("-1", "0.5", "x")
    ],
    *[("--lr", value, "expected lr > 0") for value in ("0", "-1", "nan", "inf")],
    *[("--sigma-min", value, "0 < low <= high") for value in ("0", "-1", "nan", "0.7")],
    *[("--sigma-max", value, "0 < low <= high") for value in ("nan", "0.01")],
    *[("--sigma-max", value, "sigma must be between 0.002 and 8") for value in ("inf", "9")],
    ("--architecture", "vit", "architecture"),
    ("--precision", "8", "precision"),
    ("--widths", "0", "widths"),
    ("--patch", "100000", "at least"),
    ("--start", "nothing", "no denoiser"),
    ("-o", "arrays.npz", "is a file"),
]


@pytest.mark.parametrize(("option", "value", "says"), TRAIN, ids=lambda value: repr(value)[:40])
def test_train(folder, option, value, says):
    options = {"--patch": "8", "--widths": "8", "--blocks": "1", "-o": "den", option: value}
    refused(folder, "train", "images", *(part for pair in options.items() for part in pair), says=says)


OTHERS = {
    "no command": (["frobnicate"], "frobnicate"),
    "certify nothing": (["certify"], "IMAGES"),
    "certify without a classifier": (["certify", "images", "-o", "run"], "classifier"),
    "certify without an out": (["certify", "images", "-c", "import:support:Linear"], "out"),
    "two sets of images": (["certify", "images", "images", "-c", "x", "-o", "run"], "images"),
    "report of nothing": (["report", "nothing"], "expected a run folder"),
    "report of images": (["report", "images"], "expected a run folder"),
    "report of a file": (["report", "arrays.npz"], "expected a run folder"),
    "verify nothing": (["verify", "nothing"], "expected a certificate file"),
    "verify an array": (["verify", "arrays.npz"], "cannot read it"),
    "verify images": (["verify", "images"], "expected a run folder"),
    "verify a device": (["verify", "/dev/zero"], "expected a certificate file"),
    "verify with no share": (["verify", "nothing", "--share", "nan"], "share must be above 0"),
    "verify with too much": (["verify", "nothing", "--share", "1.01"], "share must be above 0"),
    "attack nothing": (
        ["attack", "nothing", "--images", "images", "-c", "import:support:Linear"],
        "expected a run folder",
    ),
    "demo of no noise": (["demo", "--sigma", "0"], "sigma must be between"),
    "demo of no votes": (["demo", "--n", "0"], COUNT),
    "demo into a file": (["demo", "-o", "arrays.npz", "--n", "1"], "arrays.npz"),
}


@pytest.mark.parametrize(("arguments", "says"), OTHERS.values(), ids=OTHERS.keys())
def test_other_commands(folder, arguments, says):
    refused(folder, *arguments, says=says)


RUN = [
    ("report", ["--radii", "nan"], "radii must be finite"),
    ("report", ["--radii", "-1"], "radii must be finite"),
    ("report", ["--radii", "x"], "radii"),
    ("report", ["-o", "/proc/nothing"], "cannot be written"),
    ("attack", ["--strengths", "0"], "strengths must be finite"),
    ("attack", ["--strengths", "inf"], "strengths must be finite"),
    ("attack", ["--steps", "0"], COUNT),
    ("attack", ["--draws", "-1"], COUNT),
    ("attack", ["--n", "0"], COUNT),
    ("attack", ["--max", "0"], COUNT),
    ("attack", ["--seed", "-1"], COUNT),
    ("attack", ["-c", "import:support:Constant"], "another classifier"),
    ("attack", ["-d", "photo"], "another denoiser"),
    ("attack", ["--images", "images"], "is not among the images"),
    ("verify", ["--images", "nothing"], "no such file"),
    ("verify", ["-c", "resnet"], "classifier must be one of"),
    ("verify", ["-c", "import:support:Linear", "-d", "nothing"], "no denoiser"),
]


@pytest.mark.parametrize(("command", "extra", "says"), RUN, ids=lambda value: repr(value)[:40])
def test_commands_on_a_good_run(folder, good_run, command, extra, says):
    arguments = [command, good_run / "run"]
    if command == "attack":
        given = {"--images": good_run / "images.npz", "-c": USUAL["-c"], "-d": "none"}
        given.update(zip(extra[::2], extra[1::2], strict=True))
        extra = [part for pair in given.items() for part in pair]
    refused(good_run, *arguments, *extra, says=says)


def test_resume_with_other_numbers(folder, good_run):
    same = ["certify", good_run / "images.npz", "-d", "none", "-o", good_run / "run"]
    refused(good_run, *same, "-c", USUAL["-c"], "--n", "20", says="--resume")
    for extra, says in (
        (["--n", "21"], "made with n 20, not 21"),
        (["--n0", "7"], "made with n0 100, not 7"),
        (["--alpha", "0.01"], "made with alpha 0.001, not 0.01"),
        (
            ["--sigma", "0.5"],
            "made with law {'name': 'gaussian', 'sigma': 0.25}, not {'name': 'gaussian', 'sigma': 0.5}",
        ),
        (["--norm", "inf"], "made with norm 2.0, not inf"),
        (["--bound", "cohen"], "made with bound multiclass, not cohen"),
        (["--dtype", "bf16"], "made with dtype fp32, not bf16"),
        (["--batch", "3"], "made with batch_size None, not 3"),
        (["--seed", "3"], "another seed"),
        (["--max", "1"], "other images or labels"),
        (["-c", "import:support:Constant"], "made with classifier"),
    ):
        numbers = {"--n": "20", "-c": USUAL["-c"], **dict(zip(extra[::2], extra[1::2], strict=True))}
        refused(good_run, *same, *(part for pair in numbers.items() for part in pair), "--resume", says=says)


def test_the_good_things_are_good(folder):
    options = [part for pair in USUAL.items() for part in pair]
    assert dsmooth("certify", "images", *options, "--n", "20").code == 0
    assert dsmooth("predict", "arrays.npz", "-c", USUAL["-c"], "-d", "none").code == 0
