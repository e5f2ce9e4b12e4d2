"""The CIFAR-10 ResNets of He et al. 2016, section 4.2: depth 6n + 2, shortcuts without weights."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import torch.nn.functional as F
from torch import Tensor, nn

from dsmooth.classifiers.local import TorchClassifier, load_checkpoint, load_weights
from dsmooth.errors import BadModel

__all__ = ["CIFAR10_NAMES", "CifarResNet", "cifar_classifier"]

CIFAR10_NAMES: Final = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_DEPTHS = (20, 32, 44, 56, 110)


class _Block(nn.Module):
    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.stride = outside // inside
        self.conv1 = nn.Conv2d(inside, outside, 3, self.stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outside)
        self.conv2 = nn.Conv2d(outside, outside, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outside)

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.stride != 1:  # option A: take every second pixel, fill the new channels with zeros
            extra = y.shape[1] - x.shape[1]
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, extra // 2, extra - extra // 2))
        return F.relu(y + x)


class CifarResNet(nn.Module):
    """ResNet-`depth` for 32 x 32 images, depth 20, 32, 44, 56 or 110; normalised images -> (B, classes) logits."""

    def __init__(self, depth: int = 20, classes: int = 10) -> None:
        super().__init__()
        if depth not in _DEPTHS:
            raise BadModel(f"expected a CIFAR ResNet of depth {', '.join(map(str, _DEPTHS))}, got {depth}")
        blocks = (depth - 2) // 6
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        for i, (inside, outside) in enumerate(((16, 16), (16, 32), (32, 64)), start=1):
            first = _Block(inside, outside)
            self.add_module(f"layer{i}", nn.Sequential(first, *(_Block(outside, outside) for _ in range(blocks - 1))))
        self.linear = nn.Linear(64, classes)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        for i in (1, 2, 3):
            y = self.get_submodule(f"layer{i}")(y)
        logits: Tensor = self.linear(y.mean(dim=(2, 3)))
        return logits


def cifar_classifier(name: str, checkpoint: Path | str) -> TorchClassifier:
    """A CIFAR-10 classifier by name ("resnet56") from a checkpoint, with the usual normalisation."""
    depth = name.removeprefix("resnet")
    if name == depth or not depth.isdecimal():
        raise BadModel(f"expected cifar:resnet20@FILE or another depth, got {name!r}")
    module = CifarResNet(int(depth))
    load_weights(module, load_checkpoint(checkpoint), name=f"{name}@{checkpoint}")
    return TorchClassifier(module, name=f"cifar:{name}", mean=_MEAN, std=_STD, class_names=CIFAR10_NAMES, input_size=32)
