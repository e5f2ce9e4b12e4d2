"""What several tests need: classifiers whose smoothed answer is known exactly, exact limits, and the real data."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
import time
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats
from torch import nn

from dsmooth.classifiers.local import TorchClassifier
from dsmooth.images.pixels import Pixels
from dsmooth.images.sets import LabelledImage
from dsmooth.records.question import Question
from dsmooth.smoothing.batch_size import BatchSizes
from dsmooth.smoothing.chunks import GENERATOR
from dsmooth.smoothing.engines.threads import ThreadEngine
from dsmooth.smoothing.engines.worker import Recipe, Worker
from dsmooth.smoothing.session import Session
from dsmooth.smoothing.tally import Tally
from dsmooth.theory.grid import is_within
from dsmooth.theory.laws.base import Law
from dsmooth.theory.votes import Phase

ROOT = Path(__file__).resolve().parent.parent
CHECKOUT = os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests")])
"""What subprocesses import: this checkout, whichever one is installed."""

CHANCE = 1e-9
"""A correct program fails a statistical test this seldom; no test is loosened because it failed once."""


class Constant(nn.Module):
    """Always answers the same class."""

    def __init__(self, label: int = 3, classes: int = 10) -> None:
        super().__init__()
        self.register_buffer("logits", nn.functional.one_hot(torch.tensor(label), classes).float())

    def forward(self, x):
        return self.logits.to(x.dtype).expand(len(x), -1)


class Threshold(nn.Module):
    """Class 1 where the first coordinate is at or beyond level + 1/2 steps of 1/255, else class 0.

    The threshold lies between grid points, where neither rounding nor clipping can move an image across it, so that
    P(class 1 at x) = Phi((x - level - 1/2) / (255 sigma)) exactly, and the true radius is (x - level - 1/2) / 255.
    """

    def __init__(self, level: int) -> None:
        super().__init__()
        self.level = level

    def forward(self, x):
        margin = x[:, 0, 0, 0].float() * 255 - (self.level + 0.5)
        return torch.stack([-margin, margin], dim=1)


class Linear(nn.Module):
    """Class 1 where the mean of all coordinates is above a half, else class 0."""

    def forward(self, x):
        margin = x.float().mean(dim=(1, 2, 3)) - 0.5
        return torch.stack([-margin, margin], dim=1)


class Sided(nn.Module):
    """As Linear, but for how much brighter the left is than the right; averaged with the mirror image it is Linear."""

    def forward(self, x):
        left = torch.linspace(1.0, -1.0, x.shape[3])
        margin = ((x.float() - 0.5) * (1.0 + 3.0 * left)).mean(dim=(1, 2, 3))
        return torch.stack([-margin, margin], dim=1)


class Halves(nn.Module):
    """Class 1 where the left half of a 16-pixel image is brighter than the right one, hidden by what noise adds."""

    def forward(self, x):
        margin = 40 * (x[..., :8].mean(dim=(1, 2, 3)) - x[..., 8:].mean(dim=(1, 2, 3)))
        rough = (x[..., 1:, :] - x[..., :-1, :]).abs().mean(dim=(1, 2, 3))  # noise makes every answer 0
        margin = margin - 20 * rough
        return torch.stack([-margin, margin], dim=1)


class Fixed(nn.Module):
    """A network of random weights, the same each time, with batch normalisation."""

    def __init__(self) -> None:
        super().__init__()
        drawn = torch.Generator().manual_seed(7)
        self.norm = nn.BatchNorm2d(3)
        self.register_buffer("weights", torch.randn(2, 3 * 16 * 16, generator=drawn))

    def forward(self, x):
        return self.norm(x).flatten(1) @ self.weights.T


class Sometimes(nn.Module):
    """NaN logits where the first coordinate is below `level` steps (a model that fails), else class 1."""

    def __init__(self, level: int) -> None:
        super().__init__()
        self.level = level

    def forward(self, x):
        logits = torch.tensor([0.0, 1.0]).repeat(len(x), 1)
        logits[x[:, 0, 0, 0].float() * 255 < self.level - 0.5] = torch.nan
        return logits


def at_most(trials: int, probability: float) -> int:
    """The most violations that a correct program shows, but for one run in 1e9."""
    return int(stats.binom.isf(CHANCE, trials, probability))


def data() -> Path:
    """The folder of real data; skips the test where there is none."""
    path = Path(os.environ.get("DSMOOTH_DATA", ROOT.parent / "shared" / "data"))
    if not path.is_dir():
        pytest.skip(f"needs the real data in DSMOOTH_DATA or {path}")
    return path


def environment(*folders: Path) -> dict[str, str]:
    """For a process of its own: what is imported here can be imported there, and what lies in these folders."""
    path = os.pathsep.join(map(str, [ROOT / "tests", *folders, *filter(None, [os.environ.get("PYTHONPATH")])]))
    return {**os.environ, "PYTHONPATH": path, "COLUMNS": "200"}


def picture(mode: str = "RGB", size: tuple[int, int] = (6, 4)) -> Image.Image:
    """The same random picture each time."""
    rng = np.random.default_rng(0)
    return Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)).convert(mode)


def different_images(count: int, value: int, shape: tuple[int, int, int] = (1, 9, 1)) -> np.ndarray:
    """Images that share the first coordinate and differ elsewhere, so that each has noise of its own."""
    images = np.zeros((count, *shape), dtype=np.uint8)
    flat = images.reshape(count, -1)
    flat[:, 0] = value
    numbers = np.arange(count)
    for column in range(1, min(5, flat.shape[1])):
        flat[:, column] = (numbers >> (8 * (column - 1))) & 255
    return images


@dataclass(frozen=True)
class Done:
    """What a command of the program did."""

    code: int
    out: str
    err: str


def dsmooth(*arguments: object, cwd: Path | None = None) -> Done:
    """The program in this process, where starting one takes seconds; what it changes of the process is put back.

    `cwd` is the folder it is started in. Models are imported from there anew each time, as a new process would.
    """
    from dsmooth.cli import main

    out, err = io.StringIO(), io.StringIO()
    terminated, code = signal.getsignal(signal.SIGTERM), 0
    with (
        contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), warnings.catch_warnings(),
        mock.patch.dict(os.environ, COLUMNS="200"), mock.patch.object(sys, "path", list(sys.path)),
        mock.patch.object(sys, "argv", ["dsmooth", *map(str, arguments)]),
        torch.random.fork_rng(devices=[]), contextlib.chdir(cwd or Path.cwd()),
    ):  # fmt: skip
        warnings.simplefilter("default")
        for hidden in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
            warnings.simplefilter("ignore", hidden)  # what Python itself shows nobody
        warnings.filterwarnings("ignore", "Cyclopts application invoked without tokens under unit-test framework")
        try:
            main()
        except SystemExit as stop:
            code = 0 if stop.code is None else int(stop.code)
        finally:
            signal.signal(signal.SIGTERM, terminated)
            forget(Path.cwd())
    return Done(code, out.getvalue(), err.getvalue())


def forget(folder: Path) -> None:
    """Modules of this folder are no longer imported."""
    for name, module in list(sys.modules.items()):
        if Path(getattr(module, "__file__", None) or "/").parent == folder:
            del sys.modules[name]


SECONDS, BYTES = 20.0, 1_000_000_000
"""What a refusal may take: seconds even where four other processes want the core; memory beyond what was held before."""


def tree(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Everything in a folder: names, times of change, contents."""
    return {
        str(path): (path.lstat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in sorted(folder.rglob("*"))
        if "__pycache__" not in path.parts
    }


@contextlib.contextmanager
def frugal() -> Iterator[None]:
    """Raises AssertionError where what is done inside takes long, or more memory than any refusal should.

    What the process holds already, from whatever ran in it before, is not counted.
    """
    peak = Path("/proc/self/clear_refs")
    if peak.exists():
        peak.write_text("5")  # the peak of the resident memory starts again
        before = _resident("VmRSS")
    started = time.monotonic()
    yield
    seconds = time.monotonic() - started
    assert seconds < SECONDS, seconds
    if peak.exists():
        assert (more := _resident("VmHWM") - before) < BYTES, more


def _resident(what: str) -> int:
    """Bytes of memory that this process holds (VmRSS), or held at most (VmHWM)."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(next(line.split()[1] for line in status.splitlines() if line.startswith(what)))


def run(folder: Path, *arguments: object, code: int = 0) -> Done:
    """The command, in this folder, ends with this code and without a traceback."""
    done = dsmooth(*arguments, cwd=folder)
    assert done.code == code, done.out + done.err
    assert "Traceback" not in done.err + done.out
    return done


def refused(folder: Path, *arguments: object, says: str) -> Done:
    """The command is refused: exit code 2, one line that says this, quickly, nothing in the folder created or changed."""
    before = tree(folder)
    with frugal():
        done = dsmooth(*arguments)
    lines = [line for line in done.err.splitlines() if line.startswith("dsmooth: ")]
    assert done.code == 2, (done.code, done.out, done.err)
    assert lines, done.err
    assert says in lines[-1], lines
    assert "Traceback" not in done.err + done.out
    assert len(lines[-1]) < 1000
    assert tree(folder) == before
    return done


def inside(a: Pixels, b: Pixels, norm: float, radius: Fraction) -> bool:
    """Whether two images are closer than the radius."""
    return is_within(b.astype(np.int64) - a.astype(np.int64), norm, radius)


def question(law: Law, demand: Mapping[Phase, object] | None = None, **terms: object) -> Question:
    """What a test asks of an image; `demand` in place of the votes that follow from the terms."""

    class Asked(Question):
        @property
        def demand(self):
            return Question.demand.fget(self) if demand is None else dict(demand)

    usual = {"norm": law.norm, "classifier": "of a test", "denoiser": None, "preparation": "none", "dtype": "fp32"}
    circumstances = {"backend": "eager", "batch_area": 1 << 16, "generator": GENERATOR}
    return Asked(law=law, **{**usual, **circumstances, **terms})


@contextlib.contextmanager
def session(module: nn.Module, asked: Question, *, batch: int = 64, workers: int = 1, ahead: bool = True, dtype="fp32"):
    """A session on a network of a test, without a denoiser; closed at the end."""
    engine = ThreadEngine(Worker(Recipe(TorchClassifier(module), None, asked.law, "eager", dtype), workers))
    sizes = BatchSizes(size=batch, area=1 << 16, most=1 << 16)
    with Session(engine, asked, sizes=sizes, ahead=ahead, canaries=True) as opened:
        yield opened


def put_to_the_vote(module, images, asked, key, *, on_votes=None, **options) -> Iterator[Tally]:
    """The tallies of these images (arrays, or named) under a question, as each is finished."""
    named = (
        image if isinstance(image, LabelledImage) else LabelledImage(str(i), image) for i, image in enumerate(images)
    )
    with session(module, asked, **options) as opened:
        yield from opened.drain(named, asked, key, **({} if on_votes is None else {"on_votes": on_votes}))
