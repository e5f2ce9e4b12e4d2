"""Four small CIFAR-10 classifiers of the VNN competition, as surrogates: import:recipes.vnncomp:resnet_2b.

Their files state no licence: they serve experiments, and train nothing that ships.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from dsmooth.classifiers.checkpoints import load_checkpoint, load_weights
from dsmooth.classifiers.cifar_resnet import CIFAR10_NAMES
from dsmooth.classifiers.local import TorchClassifier
from recipes.experiment import DATA

_MEAN, _STD = (0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616)


class _Block(nn.Module):
    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, outside, 3, stride, padding=1)
        self.conv2 = nn.Conv2d(outside, outside, 3, padding=1)
        self.shortcut = nn.Sequential(nn.Conv2d(inside, outside, 1, stride)) if stride != 1 else nn.Sequential()

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.conv2(F.relu(self.conv1(x))) + self.shortcut(x))


class _ResNet(nn.Module):
    """A stem of `stem` channels and `layers` pairs of blocks of twice as many."""

    def __init__(self, stem: int, layers: int) -> None:
        super().__init__()
        width = 2 * stem
        self.conv1 = nn.Conv2d(3, stem, 3, stride=2, padding=1)
        for i in range(layers):
            pair = nn.Sequential(_Block(width if i else stem, width, 2), _Block(width, width, 1))
            self.add_module(f"layer{i + 1}", pair)
        self.layers = layers
        side = 16 >> layers
        self.linear1 = nn.Linear(width * side * side, 100)
        self.linear2 = nn.Linear(100, 10)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.conv1(x))
        for i in range(self.layers):
            y = self.get_submodule(f"layer{i + 1}")(y)
        return self.linear2(F.relu(self.linear1(y.flatten(1))))


class _Plain(nn.Module):
    """Two strided convolutions and three dense layers."""

    def __init__(self, widths: tuple[int, int]) -> None:
        super().__init__()
        self.conv0 = nn.Conv2d(3, widths[0], 4, stride=2)
        self.conv1 = nn.Conv2d(widths[0], widths[1], 4, stride=2)
        self.fc0 = nn.Linear(widths[1] * 36, 128)
        self.fc1 = nn.Linear(128, 64)
        self.fc2 = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.conv1(F.relu(self.conv0(x))))
        y = y.permute(0, 2, 3, 1).flatten(1)
        return self.fc2(F.relu(self.fc1(F.relu(self.fc0(y)))))


def resnet_2b() -> TorchClassifier:
    """69.25 % of the test images."""
    return _loaded("vnncomp_resnet_2b", _ResNet(8, 1), _MEAN, _STD)


def resnet_4b() -> TorchClassifier:
    """77.20 %."""
    return _loaded("vnncomp_resnet_4b", _ResNet(16, 2), _MEAN, _STD)


def marabou_medium() -> TorchClassifier:
    """70.21 %."""
    return _loaded("vnncomp_marabou_medium", _Plain((16, 32)))


def marabou_large() -> TorchClassifier:
    """74.16 %."""
    return _loaded("vnncomp_marabou_large", _Plain((32, 64)))


def _loaded(
    name: str, module: nn.Module, mean: tuple[float, ...] | None = None, std: tuple[float, ...] | None = None
) -> TorchClassifier:
    load_weights(module, load_checkpoint(DATA / "cifar10_models" / f"{name}.safetensors"), name=name)
    return TorchClassifier(module, name=name, mean=mean, std=std, class_names=CIFAR10_NAMES, input_size=32)
