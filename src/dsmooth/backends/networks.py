"""Networks as they are handed in: copies to run, digests of what they are."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, TypeVar

import torch
from torch import nn

from dsmooth.errors import BadModel
from dsmooth.records.digests import digest_arrays

__all__ = ["copy_for_inference", "digest_module"]

Module = TypeVar("Module", bound=nn.Module)


def copy_for_inference(module: Module, dtype: torch.dtype, device: torch.device | str = "cpu") -> Module:
    """A copy in eval mode (every part), without gradients, in this dtype, on this device; the module itself stays as it is.

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
        part.eval().requires_grad_(False)
        part.to(device=device, dtype=dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
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
