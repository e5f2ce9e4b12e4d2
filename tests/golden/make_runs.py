"""Writes runs.json: small runs, recorded with the code of commit 4b33cc3, before the engine was rebuilt.

That code ran this file and no later code can: a seed has given other streams since. What the streams give has not changed.
It also imports httpx.

    git worktree add ../before 4b33cc3
    PYTHONPATH=../before/src:tests OMP_NUM_THREADS=1 python tests/golden/make_runs.py
"""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import json
import os
import tempfile
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from dsmooth.smoothing.sampler import Sampler
from dsmooth.theory.certificate import certifier_named
from dsmooth.theory.noises import Gaussian

from dsmooth import RemoteClassifier, SmoothedClassifier, open_images
from dsmooth.runs.certify import certify_run, versions
from dsmooth.services.gate import Limits
from dsmooth.smoothing.chunks import Chunk, Phase
from dsmooth.theory.modes import FIXED, Mode
from golden.cases import centre, images_of, pattern, processor
from services.servers import Brain, Server

COMMIT = "4b33cc3"
ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("DSMOOTH_DATA", ROOT.parent / "shared" / "data"))
FIRST, FAR = 8, 10**6

CIFAR, IMAGENET = "cifar10/test_every20.npz", "imagenet/val50_224.zip"
RESNET20 = "cifar:resnet20@{data}/cifar10_models/resnet20.safetensors"
DNCNN = "{data}/denoisers/dncnn_color_blind.safetensors"
ONNX = "onnx:{data}/cifar10_models/resnet20.onnx"
RADIUS = Mode("radius")
CURVE = Mode("curve", (0.0, 0.25, 0.5))


@dataclass(frozen=True)
class Case:
    """One run."""

    name: str
    classifier: str
    denoiser: str
    dtype: str
    backend: str
    mode: Mode = FIXED
    file: str = CIFAR
    positions: tuple[int, ...] = (4, 7, 9)
    side: int | None = None
    sigma: float = 0.25
    n0: int = 20
    n: int = 200
    bound: str = "multiclass"
    norm: float = 2.0
    alpha: float = 0.001


PHOTOS = {"file": IMAGENET, "positions": (0, 4)}
NEAR = Mode("curve", (0.0, 0.1, 0.2))
CASES = [
    Case("resnet20 fixed eager fp32", RESNET20, "cifar10-mse", "fp32", "eager", n=300),
    Case("resnet20 curve eager bf16", RESNET20, "cifar10-mse", "bf16", "eager", CURVE, n=300),
    Case("resnet20 decision openvino fp32", RESNET20, "cifar10-mse", "fp32", "openvino", Mode("decision", (0.25,))),
    Case("resnet20 radius openvino bf16", RESNET20, "cifar10-mse", "bf16", "openvino", RADIUS, n=300, sigma=0.5),
    Case("resnet20 dncnn fixed eager bf16", RESNET20, DNCNN, "bf16", "eager", n=100, sigma=0.12, bound="cohen"),
    Case("resnet20 dncnn curve openvino bf16", RESNET20, DNCNN, "bf16", "openvino", NEAR, sigma=0.12),
    Case("onnx fixed eager bf16, l-infinity", ONNX, "cifar10-mse", "bf16", "eager", norm=float("inf"), alpha=0.01),
    Case("onnx decision eager fp32", ONNX, "photo", "fp32", "eager", Mode("decision", (0.125,)), sigma=0.12),
    Case("onnx radius eager fp32", ONNX, "cifar10-mse", "fp32", "eager", Mode("radius", price=0.001), bound="cohen"),
    Case("onnx curve openvino bf16", ONNX, "photo", "bf16", "openvino", NEAR, sigma=0.12),
    Case("lite0 fixed eager fp32, 64 px", "efficientnet-lite0", "photo", "fp32", "eager", side=64, n=100, **PHOTOS),
    Case("lite0 curve openvino bf16, 96 px", "efficientnet-lite0", "photo", "bf16", "openvino", NEAR, side=96, **PHOTOS),
    Case("lite0 radius eager bf16, 64 px", "efficientnet-lite0", "photo", "bf16", "eager", RADIUS, side=64, **PHOTOS),
    Case("lite0 fixed openvino bf16, 224 px", "efficientnet-lite0", "photo", "bf16", "openvino", n0=10, n=30, **PHOTOS),
    Case("service fixed, no denoiser", "service", "none", "fp32", "eager", n=100, sigma=0.03, alpha=0.01),
    Case("service curve eager fp32", "service", "cifar10-mse", "fp32", "eager", CURVE),
]  # fmt: skip
SHAPES = [(0.12, (3, 5, 3)), (0.25, (28, 28, 1)), (0.5, (32, 32, 3)), (1.0, (7, 1, 3)), (0.005, (2, 2, 1))]


def noisy(sigma: float, pixels: np.ndarray, stream: bytes) -> list[str]:
    """SHA-256 of the noisy pixels (int16, little-endian) of the first samples of a stream and of one far out."""
    asked = [(pixels, Chunk(Phase.ESTIMATION, stream, first, count)) for first, count in ((0, FIRST), (FAR, 1))]
    rows, undecided = Sampler(Gaussian(sigma)).noisy(asked, FIRST + 1)
    assert not undecided.any()
    return [hashlib.sha256(np.ascontiguousarray(row, dtype="<i2").tobytes()).hexdigest() for row in rows]


def recorded(case: Case, folder: Path) -> dict:
    """The run as it stands in runs.json."""
    images = images_of(DATA, case.file, list(case.positions), case.side)
    np.savez(folder / "images.npz", images=np.stack(images))
    with Server(Brain(centre)) if case.classifier == "service" else nullcontext() as server:
        classifier = (
            case.classifier.format(data=DATA)
            if server is None
            else RemoteClassifier(f"{server.url}/x", limits=Limits(concurrency=8))
        )
        smoothed = SmoothedClassifier(
            classifier,
            case.denoiser.format(data=DATA),
            case.sigma,
            dtype=case.dtype,
            backend=case.backend,
            workers=1,
            certifier=certifier_named(case.bound),
        )
        run = certify_run(
            smoothed,
            open_images(folder / "images.npz"),
            folder / "run",
            n0=case.n0,
            n=case.n,
            alpha=case.alpha,
            norm=case.norm,
            mode=case.mode,
            seed=sum(case.name.encode()),
        )
    records = sorted(run.records, key=lambda record: record.index)
    first = records[0]
    for record in records:
        print(case.name, first.batch, record.estimation["counts"][:3], record.answer, record.radius, sep=", ")
    return {
        "name": case.name,
        "classifier": case.classifier,
        "denoiser": case.denoiser,
        "dtype": case.dtype,
        "backend": case.backend,
        "batch": first.batch[0],
        "law": first.law,
        "sigma": case.sigma,
        "n0": case.n0,
        "n": case.n,
        "alpha": case.alpha,
        "norm": first.norm,
        "mode": first.mode,
        "bound": case.bound,
        "certifier": first.certifier,
        "file": case.file,
        "side": case.side,
        "images": [
            {
                "position": position,
                "digest": record.image,
                "streams": {phase: record.key[phase] for phase in ("selection", "estimation")},
                "noisy": {
                    phase: noisy(case.sigma, pixels, bytes.fromhex(record.key[phase]))
                    for phase in ("selection", "estimation")
                },
                "labels": record.votes["labels"],
                "votes": base64.b64encode((run.folder / record.votes["file"]).read_bytes()).decode(),
                "selection": record.selection,
                "estimation": record.estimation,
                "reached": record.reached,
                "answer": record.answer,
                "radius": record.radius,
            }
            for position, pixels, record in zip(case.positions, images, records, strict=True)
        ],
    }


def main() -> None:
    """Writes the file beside this one."""
    noise = []
    for sigma, shape in SHAPES:
        stream = hashlib.sha256(f"{sigma} {shape}".encode()).digest()[:16]
        rows = noisy(sigma, pattern(shape), stream)
        noise.append({"sigma": sigma, "shape": list(shape), "stream": stream.hex(), "noisy": rows})
    cases = []
    for case in CASES:
        with tempfile.TemporaryDirectory() as folder:
            cases.append(recorded(case, Path(folder)))
    made = {
        "commit": COMMIT,
        "processor": processor(),
        **versions(),
        "onnxruntime": importlib.metadata.version("onnxruntime"),
    }
    text = json.dumps({"made": made, "samples": [*range(FIRST), FAR], "noise": noise, "cases": cases}, indent=1)
    Path(__file__).with_name("runs.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
