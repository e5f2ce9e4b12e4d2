"""The training of a classifier on noisy images (Cohen et al. 2019), to be smoothed without a denoiser."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import save
from torch import Tensor, nn

from dsmooth.classifiers.base import labels_of
from dsmooth.classifiers.cifar_resnet import CIFAR10_NAMES, CifarResNet, normalised
from dsmooth.errors import BadImage, BadParameter
from dsmooth.images.sets import ImageSet
from dsmooth.records.digests import digest_json
from dsmooth.records.files import write_whole
from dsmooth.theory.bounds import check_count
from dsmooth.training.checkpoints import TrainingFolder
from dsmooth.training.held_out import split
from dsmooth.training.judging import Judged
from dsmooth.training.loop import Report, Scores, descend, fabric_for, generator
from dsmooth.training.plan import TrainingPlan
from dsmooth.training.resident import Resident

__all__ = ["ClassifierRecipe", "train_classifier"]


@dataclass(frozen=True, kw_only=True)
class ClassifierRecipe(TrainingPlan):
    """Everything that decides the weights, apart from the images.

    depth: of a CIFAR ResNet (20, 32, 44, 56, 110) for 10 classes of 32 x 32 images. sigma: of the noise on every training
    image. padding: images are shifted by up to this many pixels.
    """

    depth: int = 20
    sigma: float = 0.25
    padding: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.0 < self.sigma < math.inf:
            raise BadParameter(f"expected sigma above 0, got {self.sigma}")
        check_count(self.padding, "padding", least=0)


def train_classifier(
    recipe: ClassifierRecipe,
    images: ImageSet,
    out: Path,
    *,
    resume: bool = False,
    every: int = 1000,
    on_report: Callable[[Report], None] = lambda report: None,
) -> Path:
    """`out/model.safetensors` holds a classifier trained on noisy images, for cifar:resnet20@out/model.safetensors.

    Held-out images, checkpoints and resumption as in `denoising.train`; the accuracy is that under noise.
    """
    fabric = fabric_for(recipe)
    device: torch.device = fabric.device
    told: dict[str, Any] = json.loads(json.dumps({**asdict(recipe), "images": digest_json([images.fingerprint])}))
    folder = TrainingFolder(out)
    folder.claim(told, resume=resume)
    torch.manual_seed(recipe.seed)
    network = CifarResNet(recipe.depth, len(CIFAR10_NAMES))
    for image in images:
        if image.pixels.shape != (32, 32, 3) or image.label is None or image.label >= len(CIFAR10_NAMES):
            raise BadImage(
                f"{image.name}: expected 32 x 32 x 3 pixels and a label from 0 to {len(CIFAR10_NAMES) - 1}, as in CIFAR-10, "
                f"got {image.pixels.shape} and {image.label}"
            )
    (training,), held_out = split([images])
    resident = Resident(training, recipe.padding, device)
    judged = Judged(held_out, recipe.seed, device)
    folder.open(told)

    def loss(network: nn.Module, step: int, progress: float) -> Tensor:
        drawn = generator(device, recipe.seed, step)
        clean, labels = resident.batch(recipe.batch, drawn)
        noise = torch.randn(clean.shape, generator=drawn, device=device)
        logits: Tensor = network(normalised(clean + recipe.sigma * noise))
        assert labels is not None
        return F.cross_entropy(logits.float(), labels)

    def judge(network: nn.Module) -> Scores:
        with torch.inference_mode(), fabric.autocast():
            answer = {f"resnet{recipe.depth}": lambda x: labels_of(network(normalised(x)).float())}
            return {"accuracy": judged.scores(lambda x, sigma: x, [recipe.sigma], answer)["accuracy"]}

    average, _ = descend(
        fabric, network, recipe, folder, loss=loss, judge=judge, every=every, resume=resume, on_report=on_report
    )
    state = {key: value.detach().cpu().contiguous() for key, value in average.state_dict().items()}
    write_whole(out / "model.safetensors", save(state))
    return out / "model.safetensors"
