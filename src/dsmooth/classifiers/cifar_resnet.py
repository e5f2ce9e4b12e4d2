"""`cifar:resnet56@FILE`: the CIFAR-10 ResNets of He et al. 2016, section 4.2, and the small one of MLPerf Tiny."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dsmooth.classifiers.checkpoints import load_checkpoint, load_weights
from dsmooth.classifiers.local import TorchClassifier
from dsmooth.errors import BadModel

__all__ = ["CIFAR10_NAMES", "CifarResNet", "TinyResNet", "cifar_classifier", "load_cifar", "normalised"]

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
    """ResNet-`depth` (20, 32, 44, 56 or 110) with shortcuts without weights, for 32 x 32 images.

    Normalised images -> (B, classes) logits.
    """

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


class TinyResNet(nn.Module):
    """The ResNet-8 of MLPerf Tiny (Banbury et al. 2021), batch norms merged; images in [0, 1] -> (B, 10) logits."""

    def __init__(self) -> None:
        super().__init__()
        # inside, outside, kernel, stride: the stem, a block of two, then twice a block of two and its shortcut
        sizes = ((3, 16, 3, 1), (16, 16, 3, 1), (16, 16, 3, 1),
                 (16, 32, 3, 2), (32, 32, 3, 1), (16, 32, 1, 2),
                 (32, 64, 3, 2), (64, 64, 3, 1), (32, 64, 1, 2))  # fmt: skip
        for i, (inside, outside, kernel, stride) in enumerate(sizes):
            padding = 1 if kernel == 3 and stride == 1 else 0
            self.add_module(f"conv{i}", nn.Conv2d(inside, outside, kernel, stride, padding))
        self.fc = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        conv = [self.get_submodule(f"conv{i}") for i in range(9)]
        y = F.relu(conv[0](x))
        y = F.relu(y + conv[2](F.relu(conv[1](y))))
        for down, flat, shortcut in (conv[3:6], conv[6:9]):
            padded = F.pad(y, (0, 1, 0, 1))  # TensorFlow pads even sides at the end only
            y = F.relu(shortcut(y) + flat(F.relu(down(padded))))
        logits: Tensor = self.fc(y.mean(dim=(2, 3)))
        return logits


def normalised(images: Tensor) -> Tensor:
    """Images (B, 3, H, W) in [0, 1] as a CifarResNet expects them."""
    mean, std = (torch.tensor(numbers, device=images.device).view(1, 3, 1, 1) for numbers in (_MEAN, _STD))
    return (images - mean) / std


def cifar_classifier(name: str, checkpoint: Path | str) -> TorchClassifier:
    """A CIFAR-10 classifier by name from a checkpoint: "resnet20" and deeper, with the usual normalisation; "resnet8"."""
    depth = name.removeprefix("resnet")
    if name == depth or not depth.isdecimal():
        raise BadModel(f"expected cifar:resnet20@FILE or another depth, got {name!r}")
    tiny = depth == "8"
    module = TinyResNet() if tiny else CifarResNet(int(depth))
    load_weights(module, load_checkpoint(checkpoint), name=f"{name}@{checkpoint}")
    mean, std = (None, None) if tiny else (_MEAN, _STD)
    return TorchClassifier(module, name=f"cifar:{name}", mean=mean, std=std, class_names=CIFAR10_NAMES, input_size=32)


def load_cifar(spec: str) -> TorchClassifier:
    """The classifier of cifar:NAME@FILE."""
    name, _, file = spec.removeprefix("cifar:").partition("@")
    if not name or not file:
        raise BadModel(f"expected cifar:resnet56@FILE or another depth, got {spec!r}")
    return cifar_classifier(name, file)
