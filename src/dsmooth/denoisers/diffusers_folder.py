"""Models in the folders of Hugging Face's diffusers, as denoisers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from dsmooth.backends.torchvision_ops import import_torchvision
from dsmooth.denoisers.diffusion import Diffusion
from dsmooth.errors import BadModel, first_line, require
from dsmooth.records.reading import strict_json

__all__ = ["load_diffusers"]

_SHOWN: Final = 3  # names of arrays


class _Sample(nn.Module):
    """The part of a diffusers model's answer that counts."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        answer: Tensor = self.model(x, time).sample
        return answer


def load_diffusers(spec: str) -> Diffusion:
    """The denoiser of diffusers:FOLDER, a folder as DDPMPipeline.save_pretrained writes it, in eval mode: unet/, scheduler/.

    Unconditional UNet2DModel, all of whose weights are there and finite; schedulers with alphas_cumprod and a prediction
    type (DDPM, DDIM and others), and EDM's with prediction type epsilon. Only safetensors are read. Raises BadModel for
    anything else.
    """
    import_torchvision()  # diffusers imports it where it is installed
    diffusers = require("diffusers", "diffusers")
    folder = Path(spec.partition(":")[2])
    kind = str(_told(folder / "scheduler" / "scheduler_config.json").get("_class_name"))
    _told(folder / "unet" / "config.json")  # complains of a folder that is none
    try:
        model, loaded = diffusers.UNet2DModel.from_pretrained(
            folder / "unet", local_files_only=True, use_safetensors=True, output_loading_info=True
        )
        named = getattr(diffusers, kind)
        if not issubclass(named, diffusers.SchedulerMixin):  # a pipeline would load, and unpickle, what it likes
            raise TypeError(f"{kind} is no scheduler")
        scheduler = named.from_pretrained(folder / "scheduler", local_files_only=True)
    except Exception as error:  # the package raises many kinds, none of which is this program's fault
        line = first_line(error)
        raise BadModel(f"{folder}: expected a diffusers model and scheduler, cannot read them ({line})") from error
    _check(folder, model, loaded)
    multiple = 2 ** (len(model.config.block_out_channels) - 1)
    common: dict[str, Any] = {"channels": model.config.in_channels, "multiple": multiple}
    prediction = scheduler.config.get("prediction_type", "epsilon")
    if kind.startswith("EDM"):
        if prediction != "epsilon":
            raise BadModel(f"{folder}: expected a model of EDM's epsilon, got {prediction!r:.80}, whose answers differ")
        denoiser = Diffusion(_Sample(model), "edm", spread=scheduler.config.sigma_data, **common)
    elif hasattr(scheduler, "alphas_cumprod"):
        alphas = scheduler.alphas_cumprod
        if not bool(((alphas > 0.0) & (alphas < 1.0)).all()):  # zero terminal signal-to-noise ratio
            raise BadModel(
                f"{folder}: expected alphas_cumprod between 0 and 1, got {alphas.min():g} to {alphas.max():g}: "
                "set rescale_betas_zero_snr to false in scheduler_config.json if the model was trained without it"
            )
        denoiser = Diffusion(_Sample(model), prediction, alphas=alphas, **common)
    else:
        raise BadModel(f"{folder}: expected a scheduler with alphas_cumprod or EDM's, got {kind}")
    denoiser.data = f"the {kind} model in {folder.name}"
    return denoiser.eval().requires_grad_(False)


def _check(folder: Path, model: Any, loaded: Mapping[str, Any]) -> None:
    """Raises BadModel for a model that is not what was saved, and for one that asks for the class of the image."""
    # the package fills in at random what a file lacks
    if wrong := [str(name) for kind in ("missing_keys", "unexpected_keys", "mismatched_keys") for name in loaded[kind]]:
        raise BadModel(
            f"{folder}: expected exactly the weights of its config.json, but {len(wrong)} are missing, unexpected or of "
            f"another shape: {', '.join(wrong[:_SHOWN])}{', ...' * (len(wrong) > _SHOWN)}"
        )
    if bad := [name for name, array in model.state_dict().items() if not bool(torch.isfinite(array).all())]:
        raise BadModel(f"{folder}: expected weights that are finite numbers, got NaN or infinity in {bad[0]}")
    if model.class_embedding is not None:
        raise BadModel(f"{folder}: conditioned on classes; take a model without: it must not know the label")


def _told(path: Path) -> dict[str, Any]:
    try:
        return dict(strict_json(path.read_text()))
    except (OSError, TypeError, ValueError) as error:
        raise BadModel(f"{path}: expected a folder of diffusers with unet/ and scheduler/ ({error})") from error
