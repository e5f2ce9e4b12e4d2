"""CIFAR-10, ResNet-56, sigma .25: the classifier alone, the smoothed one and its certificates, under attack.

The same 100 images as cifar10_sigma25_resnet56; `--images` takes fewer, `--denoiser` another one than FFDNet (a name, a
folder or a file). Interrupted, the same command goes on.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from dsmooth.audit.attack import Attack, attack_run
from dsmooth.audit.findings import FOLDER, Finding, curve_of, read_findings
from dsmooth.console import Bar
from dsmooth.records.store import read_run
from dsmooth.smoothing.smoothed import SmoothedClassifier
from recipes.cifar10 import classifier, test_images
from recipes.experiment import DATA, certify, report

STRENGTHS = (0.25, 0.5)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--images", type=int, default=100)
    options.add_argument("--denoiser", default=str(DATA / "denoisers" / "ffdnet_color.safetensors"))
    chosen = options.parse_args()
    images = test_images()[::5][: chosen.images]
    model = classifier("resnet56")
    name = f"cifar10-attack-{Path(chosen.denoiser).stem}-{len(images)}"
    out = certify(name, images, model, chosen.denoiser, 0.25)
    run = read_run(out)
    smoothed = SmoothedClassifier(model, chosen.denoiser, 0.25, dtype="bf16")
    with Bar("attack", len(images), "images") as bar:
        done = len(read_findings(out / FOLDER).images) if (out / FOLDER).exists() else 0

        def show(name: str, findings: Sequence[Finding]) -> None:
            nonlocal done
            done += 1
            bar.to(done)

        attack = Attack(strengths=STRENGTHS)
        found = attack_run(run, images, smoothed, attack, resume=(out / FOLDER).exists(), on_image=show)
    report(f"{name}-report", [out], (0.0, *STRENGTHS))
    print(curve_of(found))
    print(f"{len(found.flips)} flips among {sum(f.inside for f in found.all)} attacked images inside certified balls")


if __name__ == "__main__":
    main()
