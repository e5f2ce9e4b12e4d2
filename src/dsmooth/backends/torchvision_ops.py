"""Makes `import torchvision` work beside a CPU-only torch.

torchvision from the package index expects operators of a CUDA build and dies while importing without them, and timm with
it. Nothing here needs those operators; declaring their signatures is enough.
"""

from __future__ import annotations

import sys
from typing import Any

import torch

__all__ = ["import_torchvision"]

_SIGNATURE = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_kept: list[Any] = []  # the declarations last as long as this object


def import_torchvision() -> None:
    """torchvision is imported, or absent; a healthy installation is left alone."""
    try:
        import torchvision
    except ModuleNotFoundError:
        return
    except RuntimeError as error:
        if "torchvision::nms" not in str(error) or _kept:
            raise
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        library: Any = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
        library.define(f"nms{_SIGNATURE}")
        library.define(f"qnms{_SIGNATURE}")
        _kept.append(library)
        import torchvision  # noqa: F401
