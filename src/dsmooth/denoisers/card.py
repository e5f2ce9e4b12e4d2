"""The model card of a denoiser: what the weights file says of it, for people and for the Hub."""

from __future__ import annotations

import json

from dsmooth.denoisers.trained_for import law_for, recipe_of
from dsmooth.denoisers.weights import Description
from dsmooth.theory.laws.gaussian import Gaussian

__all__ = ["card"]


def card(described: Description, license: str | None) -> str:
    """Markdown: YAML for the Hub (every value is JSON, which is YAML too), then words."""
    head = {"library_name": "dsmooth", "tags": ["denoising", "certified-robustness", "randomized-smoothing"]}
    if license is not None:
        head["license"] = license
    recipe = recipe_of(described.metrics)
    measured = {key: value for key, value in described.metrics.items() if key != "recipe"}
    of = (
        "the end of the training, and these weights are the mean of its start and its end"
        if "end" in measured
        else None
    )
    low, high = described.sigma_range or (None, None)
    law = law_for(recipe or {}, high or 0.25)
    plain = isinstance(law, Gaussian)
    imports = "Denoiser, SmoothedClassifier" + ("" if plain else f", {type(law).__name__}")
    noise = f"sigma={law.sigma:g}" if isinstance(law, Gaussian) else f"law={law!r}"
    served = "unknown noise levels" if low is None else f"sigma {low:g}" + ("" if low == high else f" to {high:g}")
    return "\n".join(
        [
            "---",
            *(f"{key}: {json.dumps(value)}" for key, value in head.items()),
            "---",
            f"# A denoiser for {served}",
            "",
            f"It removes {law.name.capitalize() if plain else law.name} noise from images, so that any pretrained "
            "classifier behind it becomes provably robust.",
            "",
            "```python",
            f"from dsmooth import {imports}",
            "",
            'denoiser = Denoiser.from_pretrained("FOLDER")  # or owner/name',
            f"smoothed = SmoothedClassifier(model, denoiser, {noise})",
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
            + ("" if of is None else f" They are those of {of}."),
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
