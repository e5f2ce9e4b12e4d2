"""Torch on an NVIDIA GPU."""

from __future__ import annotations

import torch
from torch import nn

from dsmooth.backends.base import DTYPES, TensorFunction, check_dtype
from dsmooth.backends.eager import quickened
from dsmooth.errors import BadParameter

__all__ = ["Cuda"]


class Cuda:
    """Runs the module on the current GPU: channels last, batch normalisation folded, bf16 or TF32 on the matrix units.

    The noise is drawn on the GPU as well (smoothing/cuda_sampler.py), the same that a CPU draws.
    """

    name = "cuda"
    area = 2048 * 32 * 32  # enough work a kernel to hide its launch; a gigabyte of activations at 64 channels
    most_rows = 4096

    def __init__(self, dtype: str = "bf16", workers: int | None = None) -> None:
        self.dtype = check_dtype(dtype, ("fp32", "tf32", "bf16"), self.name)
        if not torch.cuda.is_available():
            raise BadParameter(
                "backend cuda needs an NVIDIA GPU and a torch built for it: choose auto, eager or openvino"
            )
        self.workers = workers or 2  # one prepares and counts while the other's kernels run
        self.device = torch.device("cuda", torch.cuda.current_device())

    def ready(self, module: nn.Module) -> TensorFunction:
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = self.dtype == "tf32"
        torch.backends.cudnn.deterministic = True  # a vote asked again must be the same vote
        return quickened(module, DTYPES[self.dtype], self.device)
