"""The contract of classifiers."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor, nn

from dsmooth.errors import BadModel
from dsmooth.records.digests import digest_arrays
from dsmooth.theory.certificate import Label

__all__ = ["Answer", "Classifier", "DifferentiableClassifier", "copy_for_inference", "digest_module", "labels_of"]

Module = TypeVar("Module", bound=nn.Module)

Answer = Callable[[Tensor], Sequence[Label | None]]
"""(B, C, H, W) in [0, 1] scale, not clipped -> one label a row; None where there is no usable answer."""


@runtime_checkable
class Classifier(Protocol):
    """Anything that answers a batch of images with labels; it never certifies."""

    name: str
    """Enough to find the model and its version again."""

    class_names: Sequence[str] | None
    """What the class indices mean, where that is known."""

    input_size: int | None
    """The side, in pixels, of the square images that it was trained for, where that is known."""

    def prepared(self, dtype: torch.dtype) -> Answer:
        """The function from images to labels: in eval mode, without gradients, its networks in this dtype."""
        ...

    def digest(self) -> str:
        """SHA-256 that changes when the function changes, as far as that can be known."""
        ...


@runtime_checkable
class DifferentiableClassifier(Classifier, Protocol):
    """A classifier that shows its logits, and lets gradients through to the images: what an attack needs."""

    def logits(self, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
        """The function from images (B, C, H, W) to float32 logits (B, K): in eval mode, its networks in this dtype."""
        ...


def labels_of(logits: Tensor) -> list[Label | None]:
    """The class of the largest logit in each row of (B, K); None for rows that are not finite."""
    finite = torch.isfinite(logits).all(dim=1).tolist()
    return [int(label) if ok else None for label, ok in zip(logits.argmax(dim=1).tolist(), finite, strict=True)]


def copy_for_inference(module: Module, dtype: torch.dtype) -> Module:
    """A copy in eval mode (every part), without gradients, in this dtype; the module itself stays as it is.

    Parts that torch does not know of, kept in plain lists and dictionaries, are found and treated alike. Raises BadModel
    where `forward` was replaced by a function that holds on to the original: its copy would run the original.
    """
    for name, part in _parts(module, "model", set()):
        forward = vars(part).get("forward")
        cells = getattr(forward, "__closure__", None) or ()
        if any(isinstance(cell.cell_contents, nn.Module) for cell in cells):
            raise BadModel(f"{name}.forward was replaced by a function that cannot be copied: subclass the module")
    twin = copy.deepcopy(module)
    for _, part in _parts(twin, "model", set()):
        part.eval().requires_grad_(False).to(dtype=dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return twin


def digest_module(kind: str, module: nn.Module) -> str:
    """SHA-256 over all of a network that can be seen: classes, printed structure, plain attributes, arrays.

    What cannot be seen (the code of its methods, objects of other kinds) is not in it.
    """
    seen = [f"{kind} {type(module).__module__}.{type(module).__qualname__}", repr(module)]
    arrays: list[tuple[str, Any]] = []
    for name, part in _parts(module, "model", set()):
        plain = {key: value for key, value in vars(part).items() if isinstance(value, bool | int | float | str | tuple)}
        plain.pop("training", None)
        seen.append(f"{name} {type(part).__qualname__} {sorted(plain.items())}")
        for key, value in (*part.named_parameters(recurse=False), *part.named_buffers(recurse=False)):
            array = value.detach().cpu().contiguous()
            arrays.append(
                (f"{name}.{key}", (array.view(torch.int16) if array.dtype == torch.bfloat16 else array).numpy())
            )
    return digest_arrays("\n".join(seen), arrays)


def _parts(value: object, name: str, seen: set[int]) -> Iterator[tuple[str, nn.Module]]:
    """Every module that can be reached from here through attributes, lists, tuples and dictionaries, each once."""
    inside: list[tuple[str, object]] = []
    if isinstance(value, list | tuple):
        inside = [(f"{name}[{i}]", item) for i, item in enumerate(value)]
    elif isinstance(value, dict):
        inside = [(f"{name}[{key!r}]", item) for key, item in value.items()]
    elif isinstance(value, nn.Module) and id(value) not in seen:
        seen.add(id(value))
        yield name, value
        held = {key: item for key, item in vars(value).items() if key not in ("_parameters", "_buffers", "_modules")}
        inside = [(f"{name}.{key}", item) for key, item in {**value._modules, **held}.items()]
    for key, item in inside:
        if isinstance(item, nn.Module | list | tuple | dict):
            yield from _parts(item, key, seen)
