"""The denoiser `photo-light`: a fifth of the work of `photo-stab` at ImageNet size, for classifiers that it never met.

    python -m recipes.photo_light [--minutes 40 40] [--compiled]

A fold of 4 x 4 pixels in place of 2 x 2 leaves 2.9 GFLOP of 13.9 for 224 x 224 pixels. First the squared error, then
stability through EfficientNet-Lite1 and -Lite2 as for `photo-stab`; EfficientNet-Lite0, which is certified, takes no part.
Goes on where it stopped when it is called again.
"""

from typing import Any

import cyclopts

from dsmooth.images.opening import open_images
from dsmooth.training.recipe import Recipe
from recipes.experiment import DATA, RUNS, teach
from recipes.imagenet_denoiser import STORY
from recipes.imagenet_samples import training_images

NETWORK: dict[str, Any] = {
    "config": {"widths": [64, 96, 128], "blocks": [2, 2, 2], "decoder_blocks": [1, 1], "shuffle": 4, "scaled": True},
    "sigma_range": (0.08, 0.6),
    "sigma_law": "log-uniform",
    "judged": (0.25, 0.5),
    "optimizer": "muon",
    "clip": 1.0,
}


def learn(*, minutes: tuple[float, float] = (40.0, 40.0), compiled: bool = False) -> None:
    """runs/photo-light-1 (squared error), then runs/photo-light (stability), so many minutes each."""
    sets = [open_images(DATA / "photos" / "bsds500_train_test_400.zip"), training_images()]
    first = Recipe(**NETWORK, minutes=minutes[0], lr=1e-3, batch=16, patch=96, seed=1)
    start = teach(first, sets, RUNS / "photo-light-1", data=STORY, every=500, compiled=compiled)
    second = Recipe(
        **{**NETWORK, "sigma_range": (0.2, 0.6)},
        start=str(start),
        objective="stab + 5 mse",
        surrogates=("efficientnet-lite1", "efficientnet-lite2"),
        minutes=minutes[1],
        lr=2e-4,
        batch=8,
        patch=160,
        turns=False,  # classifiers know which side is up
        average=0.998,
        seed=2,
    )
    found = teach(second, [training_images()], RUNS / "photo-light", data=STORY, every=500, compiled=compiled)
    print(f"denoiser: {found}")


if __name__ == "__main__":
    app = cyclopts.App(name="python -m recipes.photo_light", help=__doc__)
    app.default(learn)
    app()
