"""A denoiser for ImageNet classifiers that it never met: stability through EfficientNet-Lite1 and -Lite2, from `photo`.

    python -m recipes.imagenet_denoiser [--minutes 60] [--compiled]

The Stab+MSE of Salman et al. 2020 with surrogates (black-box): the mean squared error came first (`photo`), and stays in
the objective, so that the estimate remains an image. EfficientNet-Lite0, which is certified, takes no part. Goes on where
it stopped when it is called again.

What ships as `photo-stab` is runs/imagenet-stab/halfway.safetensors: the mean of the weights before and after. A thousand
images are few to learn from, and both classifiers recognise more behind the mean than behind either end (Wortsman et al.
2022 found this for classifiers).
"""

from pathlib import Path

import cyclopts

from dsmooth.denoisers.loading import load_denoiser
from dsmooth.denoisers.saving import save_denoiser
from dsmooth.training.recipe import Recipe
from recipes.experiment import RUNS, teach
from recipes.imagenet_samples import training_images
from recipes.photo_denoiser import NETWORK

STORY = (
    "400 photographs of BSDS500 (train and test; for research and education), then 1,000 ImageNet images (for research), "
    "random crops"
)


def learn(*, minutes: float = 60.0, compiled: bool = False) -> None:
    """Train runs/imagenet-stab, and go half of the way there from `photo`."""
    recipe = Recipe(
        **{**NETWORK, "sigma_range": (0.2, 0.6)},
        start="photo",
        objective="stab + 5 mse",
        surrogates=("efficientnet-lite1", "efficientnet-lite2"),
        minutes=minutes,
        lr=1e-4,
        batch=8,
        patch=160,
        turns=False,  # classifiers know which side is up
        average=0.998,
    )
    found = teach(recipe, [training_images()], RUNS / "imagenet-stab", data=STORY, every=500, compiled=compiled)
    print(f"denoiser: {halfway('photo', found)}")


def halfway(start: str, end: Path) -> Path:
    """The file beside `end` with the mean of the weights of both."""
    middle, other = load_denoiser(start), load_denoiser(end)
    metrics = {
        "mean_of_weights": {"start": middle.digest(), "end": other.digest()},
        "end": dict(other.metrics),  # what was measured there, and the recipe
    }
    weights = {name: (value + other.state_dict()[name]) / 2 for name, value in middle.state_dict().items()}
    middle.load_state_dict(weights)
    out = end.with_name("halfway.safetensors")
    save_denoiser(middle, out, data=STORY, metrics=metrics)
    return out


if __name__ == "__main__":
    app = cyclopts.App(name="python -m recipes.imagenet_denoiser", help=__doc__)
    app.default(learn)
    app()
