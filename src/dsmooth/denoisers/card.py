"""The model card of a denoiser: what the weights file says of it, for people and for the Hub."""

from __future__ import annotations

import json

from dsmooth.denoisers.weights import Description

__all__ = ["card"]


def card(described: Description, license: str | None) -> str:
    """Markdown: YAML for the Hub (every value is JSON, which is YAML too), then words."""
    head = {"library_name": "dsmooth", "tags": ["denoising", "certified-robustness", "randomized-smoothing"]}
    if license is not None:
        head["license"] = license
    recipe = described.metrics.get("recipe")
    measured = {key: value for key, value in described.metrics.items() if key != "recipe"}
    low, high = described.sigma_range or (None, None)
    served = "unknown noise levels" if low is None else f"sigma {low:g}" + ("" if low == high else f" to {high:g}")
    return "\n".join(
        [
            "---",
            *(f"{key}: {json.dumps(value)}" for key, value in head.items()),
            "---",
            f"# A denoiser for {served}",
            "",
            "It removes Gaussian noise from images, so that any pretrained classifier behind it becomes provably robust.",
            "",
            "```python",
            "from dsmooth import Denoiser, SmoothedClassifier",
            "",
            'denoiser = Denoiser.from_pretrained("FOLDER")  # or owner/name',
            f"smoothed = SmoothedClassifier(model, denoiser, sigma={high or 0.25:g})",
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
            "On images held out from the training set, by sigma; not certified figures.",
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
