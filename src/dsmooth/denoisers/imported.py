"""`import:package.module:factory`: denoisers that the user's own Python code makes."""

from __future__ import annotations

from dsmooth.denoisers.base import Denoiser
from dsmooth.errors import BadModel
from dsmooth.registry import imported

__all__ = ["load_imported"]


def load_imported(spec: str) -> Denoiser:
    """What the factory of no arguments returns, in eval mode; raises BadModel unless it is a Denoiser."""
    made = imported(spec, BadModel)
    if not isinstance(made, Denoiser):
        raise BadModel(
            f"{spec}: expected a Denoiser, such as dsmooth.denoisers.diffusion.Diffusion(network, ...), "
            f"got {type(made).__name__}"
        )
    return made.eval().requires_grad_(False)
