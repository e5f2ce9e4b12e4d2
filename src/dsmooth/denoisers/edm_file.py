"""Networks of EDM (Karras et al. 2022), written as safetensors, as denoisers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch

from dsmooth.denoisers.diffusion import Diffusion
from dsmooth.denoisers.song_unet import SongUNet
from dsmooth.denoisers.weights import read_arrays
from dsmooth.errors import BadModel, BadParameter, last_line
from dsmooth.records.reading import strict_json

__all__ = ["load_edm"]

_KEY: Final = "edm"
_PREFIX: Final = "model."
_MOST: Final = 4096  # of any number in the settings
_TRAINING: Final = ("use_fp16", "dropout", "label_dropout", "sigma_min", "sigma_max")
"""Settings that decide no answer in inference."""


def load_edm(spec: str) -> Diffusion:
    """The denoiser of edm:FILE, in eval mode: the arrays of EDM's EDMPrecond and, under "edm" in the header, what builds it.

    That is JSON with the class and its keyword arguments ({"class": "EDMPrecond", "model_type": "SongUNet", ...}). Raises
    BadModel for anything else: other classes, models conditioned on classes, pickles.
    """
    path = Path(spec.partition(":")[2])
    arrays, header = read_arrays(path)
    told = _settings(path, header)
    kind, label_dim = told.pop("class", None), told.pop("label_dim", 0)
    network = told.pop("model_type", "DhariwalUNet")
    if (kind, network) != ("EDMPrecond", "SongUNet"):
        raise BadModel(f"{path}: expected EDMPrecond around a SongUNet, got {kind!r:.80} around {network!r:.80}")
    if label_dim:
        raise BadModel(
            f"{path}: conditioned on {label_dim!r:.80} classes; take a model without: it must not know the label"
        )
    for name in _TRAINING:
        told.pop(name, None)
    spread, channels = told.pop("sigma_data", 0.5), told.pop("img_channels", None)
    scales = told.setdefault("channel_mult", [1, 2, 2, 2])
    lists = [value if isinstance(value, list) else [value] for value in (spread, channels, *told.values())]
    numbers = [item for items in lists for item in items if isinstance(item, int | float)]
    try:
        blocks = told.get("num_blocks", 4) * len(scales)
        # before it is built: a short file must not claim much time, nor (meta) memory
        if not all(0 <= number <= _MOST for number in numbers) or max(blocks, len(numbers)) > len(arrays):
            raise ValueError("it has more or larger parts than the file holds")
        with torch.device("meta"):
            model = SongUNet(in_channels=channels, out_channels=channels, **told)
        model.load_state_dict({key.removeprefix(_PREFIX): array for key, array in arrays.items()}, assign=True)
        denoiser = Diffusion(model, "edm", spread=float(spread), channels=channels, multiple=2 ** (len(scales) - 1))
    except (BadParameter, ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        line = last_line(error)
        raise BadModel(f"{path}: its arrays do not fit its settings {str(told)[:300]} ({line[:200]})") from error
    denoiser.data = f"the EDM model in {path.name}"
    return denoiser.eval().requires_grad_(False)


def _settings(path: Path, header: Mapping[str, str]) -> dict[str, Any]:
    try:
        return dict(strict_json(header[_KEY]))
    except (LookupError, TypeError, ValueError) as error:
        raise BadModel(
            f'{path}: expected the settings of an EDM network under "{_KEY}" in the header, as the guide writes them; '
            "found none that can be read"
        ) from error
