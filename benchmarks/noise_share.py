"""How much of a certification is spent on noise and on the bookkeeping of votes.

    python -m benchmarks.noise_share

DnCNN (17 x 64, the paper's) and ResNet-56 at 32 x 32, one thread; medians of interleaved rounds of CPU time. Weights are
random: they do not change the time.
"""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from dsmooth.classifiers.cifar_resnet import CifarResNet
from dsmooth.classifiers.local import TorchClassifier
from dsmooth.denoisers.dncnn import DnCNN
from dsmooth.images import LabelledImage
from dsmooth.smoothing.chunks import Chunk, MasterKey, Phase
from dsmooth.smoothing.pipeline import Pipeline, default_batch
from dsmooth.smoothing.sampler import Sampler
from dsmooth.smoothing.scheduler import Scheduler
from dsmooth.theory.noises import Gaussian

ROUNDS, SAMPLES, SIDE = 5, 500, 32
PROBE = 4  # batches that a run asks before its first sample


def seconds(work: Callable[[], object]) -> float:
    """CPU time of this process, all threads."""
    started = time.process_time()
    work()
    return time.process_time() - started


def main() -> None:
    torch.set_num_threads(1)
    noise, batch = Gaussian(0.25), default_batch(SIDE, SIDE)
    image = LabelledImage("image", np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8))
    classifier, denoiser, key = TorchClassifier(CifarResNet(56)), DnCNN(), MasterKey.draw(0)
    sampler, stream = Sampler(noise), bytes(16)
    noisy = np.zeros((batch, SIDE, SIDE, 3), dtype=np.int16) + image.pixels

    def draw() -> None:
        for first in range(0, SAMPLES, batch):
            sampler.draw(Chunk(Phase.ESTIMATION, stream, first, batch), image.pixels.size)

    print(f"{platform.machine()}, torch {torch.__version__}, {ROUNDS} rounds of {SAMPLES} samples, batch {batch}")
    print("| dtype | certify, ms a sample | networks alone | noise | noise share | noise + scheduling + counting |")
    print("| --- | --- | --- | --- | --- | --- |")
    for dtype in ("fp32", "bf16"):
        pipeline = Pipeline(classifier, denoiser, noise.sigma, dtype=dtype)
        scheduler = Scheduler(pipeline, noise, batch, 1)

        def certify(scheduler: Scheduler = scheduler) -> None:
            list(scheduler.run([image], {Phase.ESTIMATION: SAMPLES}, key))

        def networks(pipeline: Pipeline = pipeline) -> None:
            for _ in range(SAMPLES // batch + PROBE):
                pipeline.labels(noisy)

        networks()
        rounds = [(seconds(certify), seconds(networks), seconds(draw)) for _ in range(ROUNDS)]
        whole, alone, noise_only = (1000 * statistics.median(column) / SAMPLES for column in zip(*rounds, strict=True))
        share = statistics.median(noise_time / total for total, _, noise_time in rounds)
        spread = [noise_time / total for total, _, noise_time in rounds]
        rest = statistics.median(1 - nets / total for total, nets, _ in rounds)
        print(
            f"| {dtype} | {whole:.2f} | {alone:.2f} | {noise_only:.3f} "
            f"| {100 * share:.1f} % ({100 * min(spread):.1f} to {100 * max(spread):.1f}) | {100 * rest:.1f} % |",
            flush=True,
        )


if __name__ == "__main__":
    main()
