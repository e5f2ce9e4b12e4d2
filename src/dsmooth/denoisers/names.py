"""Every denoiser that has a name. No torch, so that help texts can list them."""

from __future__ import annotations

from typing import Final

from dsmooth.errors import BadModel
from dsmooth.registry import Registry

__all__ = ["ARCHITECTURES", "FETCHED", "FORMS", "SHIPPED", "TRAINED_SIDE", "UNTRAINED", "WRAPPED"]

ARCHITECTURES: Final = Registry(
    "architecture",
    {
        "unet": "dsmooth.denoisers.unet:UNet",
        "unet-by-noise": "dsmooth.denoisers.unet_by_noise:UNetByNoise",
        "dncnn": "dsmooth.denoisers.dncnn:DnCNN",
        "memnet": "dsmooth.denoisers.memnet:MemNet",
        "ffdnet": "dsmooth.denoisers.ffdnet:FFDNet",
    },
    BadModel,
)
"""Networks with weights; a class is found again by what it calls its `architecture`."""

UNTRAINED: Final = Registry(
    "untrained denoiser",
    {"tv": "dsmooth.denoisers.untrained:TotalVariation", "nlm": "dsmooth.denoisers.untrained:NonLocalMeans"},
    BadModel,
)
"""Denoisers without weights; a class is found again by what it calls its `architecture`."""

FETCHED: Final = Registry("place of weights", {"hf:owner/name": "dsmooth.denoisers.hub:fetched"}, BadModel)
"""Places elsewhere; the object turns the spec into the path of a weights file."""

WRAPPED: Final = Registry(
    "model of another library",
    {
        "diffusers:FOLDER": "dsmooth.denoisers.diffusers_folder:load_diffusers",
        "edm:FILE": "dsmooth.denoisers.edm_file:load_edm",
        "import:package.module:factory": "dsmooth.denoisers.imported:load_imported",
    },
    BadModel,
)
"""Models of other libraries, and of the user; the object turns the spec into a denoiser."""

SHIPPED: Final[dict[str, str]] = {
    "photo": "0818f0c0ecc337ee994f53a1e0f2d0960a88a019119d3bed37a48b9c8adda528",
    "photo-light": "5f5ef0548346e13dc318fec4b38e9f3eeece6b02d7bb37f2d41092713019f62d",
    "photo-l1": "47d20e5eaf5d6b4ef48ae65064271bd691fdf7bd341f7c58d0876be189316e87",
    "cifar10-mse": "4655dbe1da4533a21094653cbdee95f8e5a2dd51e18033a25bc10b53603dd203",
    "cifar10-white": "0fef679a2977c85fb66c2bf72c510e3e6f5db070d004e00e5c92d4b5a18ef3e9",
    "cifar10-l1": "53f0618101d407f9d8e4cfa59412bd62cfb0c8f73f3329089e643420a2b03ca0",
}
"""Name -> SHA-256 of shipped/NAME.safetensors; a file that differs is refused."""

TRAINED_SIDE: Final[dict[str, tuple[int, int]]] = {
    **dict.fromkeys(("photo", "photo-light", "photo-l1"), (64, 1 << 16)),
    **dict.fromkeys(("cifar10-mse", "cifar10-white", "cifar10-l1"), (32, 32)),
}
"""Name -> the least and the largest side, in pixels, of the images that it was trained for."""

FORMS: Final = f"a name ({', '.join([*SHIPPED, *UNTRAINED])}), a folder, a .safetensors file, {FETCHED}, {WRAPPED}"
"""What load_denoiser accepts, in words."""
