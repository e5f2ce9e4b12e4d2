"""The model card of a denoiser: what the weights file says of it, for people and for the Hub."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from dsmooth.denoisers.trained_for import law_for, recipe_of
from dsmooth.denoisers.weights import Description
from dsmooth.errors import BadParameter
from dsmooth.theory.laws.gaussian import Gaussian

__all__ = ["card"]

_USUAL: Final = 0.25  # the noise of the example, where it was trained for
_OF_THE_END: Final = (
    " They are those of the end of the training, and these weights are the mean of its start and its end."
)
_OF_PARTS: Final = " They are those of the trainings that these weights were put together from."


def card(described: Description, license: str | None) -> str:
    """Markdown: YAML for the Hub (every value is JSON, which is YAML too), then words."""
    head = {"library_name": "dsmooth", "tags": ["denoising", "certified-robustness", "randomized-smoothing"]}
    if license is not None:
        head["license"] = license
    recipe = recipe_of(described.metrics)
    measured = {key: value for key, value in described.metrics.items() if key != "recipe"}
    low, high = described.sigma_range or (None, None)
    usual = _USUAL if low is None or high is None else min(max(_USUAL, low), high)
    noise, law, argument = _noise(recipe or {}, usual)
    served = "unknown noise levels" if low is None else f"sigma {low:g}" + ("" if low == high else f" to {high:g}")
    return "\n".join(
        [
            "---",
            *(f"{key}: {json.dumps(value)}" for key, value in head.items()),
            "---",
            f"# A denoiser for {served}",
            "",
            f"It removes {noise} noise from images, so that any pretrained classifier behind it becomes provably robust.",
            "",
            "```python",
            f"from dsmooth import Denoiser, SmoothedClassifier{law}",
            "",
            'denoiser = Denoiser.from_pretrained("FOLDER")  # or owner/name',
            f"smoothed = SmoothedClassifier(model, denoiser, {argument})",
            "```",
            "",
            f"Network: `{described.architecture}` with `{json.dumps(described.config)}`. Pixels are in [0, 1].",
            "",
            "## Data",
            "",
            described.data,
            "",
            "## Measured",
            "",
            "On images held out from the training set, by sigma; not certified figures."
            + (_OF_THE_END if "end" in measured else _OF_PARTS if "parts" in measured else ""),
            "",
            "```json",
            json.dumps(measured, indent=2),
            "```",
            "",
            "## Recipe",
            "",
            "```json",
            json.dumps(recipe, indent=2),
            "```",
            "",
        ]
    )


def _noise(recipe: Mapping[str, Any], sigma: float) -> tuple[str, str, str]:
    """What the noise of this recipe is called, what else to import for it, and how to pass it."""
    try:
        law = law_for(recipe, sigma)
    except BadParameter:  # a file may say what it likes, and a denoiser be made for more noise than can be certified
        return "Gaussian", "", f"sigma={sigma:g}"
    if isinstance(law, Gaussian):
        return "Gaussian", "", f"sigma={sigma:g}"
    return law.name, f", {type(law).__name__}", f"law={law!r}"
