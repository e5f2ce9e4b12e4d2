"""Batch normalisation folded into the convolution before it: the same function with fewer passes over memory."""

from __future__ import annotations

import copy
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from dsmooth.backends.base import difference

__all__ = ["fold_batchnorm", "folded_if_same", "the_same"]

_SAME: Final = 1e-3
"""Folded and original agree to a few units of float32's last place, times the depth: 1e-5 at 110 layers."""


_ONE_AT_A_TIME: Final = threading.Lock()
"""fx patches torch's Module for the whole process while it traces: two at once could leave the patch behind."""


class _Tracer(fx.Tracer):
    """Sees convolutions as one step, also those of other packages, and leaves networks alone that other threads run."""

    def __init__(self) -> None:
        super().__init__()
        self._thread = threading.get_ident()

    def is_leaf_module(self, module: nn.Module, qualified_name: str) -> bool:
        return isinstance(module, nn.Conv2d) or super().is_leaf_module(module, qualified_name)

    def call_module(
        self, module: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        if threading.get_ident() != self._thread:
            return forward(*args, **kwargs)
        return super().call_module(module, forward, args, kwargs)

    def getattr(self, attribute: str, value: Any, proxies: dict[str, Any]) -> Any:
        return value if threading.get_ident() != self._thread else super().getattr(attribute, value, proxies)


def folded_if_same(module: nn.Module, few: Tensor, *, parts: bool = False) -> nn.Module:
    """The module with its batch normalisation folded where that leaves its answer to these images as it is, else itself.

    With `parts`, of a network that cannot be traced the parts are folded that can be. Not for what is certified: for
    other images it may use a part in a way that these few do not show.
    """
    folded = fold_batchnorm(module)
    if folded is None and parts:
        folded = _fold_parts(module)
    return module if folded is None else the_same(folded, module, few)


def the_same(folded: nn.Module, module: nn.Module, few: Tensor) -> nn.Module:
    """The folded module where it answers these images as the module does, else the module."""
    expected = module(few)
    try:
        return folded if difference(folded(few), expected) <= _SAME else module
    except Exception:  # a stranger's forward that looks into a part which was folded
        return module


def fold_batchnorm(module: nn.Module) -> nn.Module | None:
    """A new module in which normalisations (eval mode) that follow a convolution are part of its weights; shares the rest.

    While it traces, torch's tracer sees every module of the process: not beside threads that compute.
    None where there is nothing to fold, or where the network cannot be traced: it decides by what it sees. Tracing takes
    the branches of today's settings, and a convolution of another package may use its weights in its own way: compare
    the two modules before relying on it.
    """
    if not any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in module.modules()):
        return None
    try:
        with _ONE_AT_A_TIME:
            traced = fx.GraphModule(module, _Tracer().trace(module))
    except Exception:  # a stranger's forward meets symbols in place of tensors: whatever it raises means "as it is"
        return None
    modules = dict(traced.named_modules())
    calls = Counter(node.target for node in traced.graph.nodes if node.op == "call_module")
    folded = 0
    for node in list(traced.graph.nodes):
        statistics = _statistics(node, modules, traced)
        if statistics is None:
            continue
        source = node.args[0]
        conv = modules.get(str(source.target)) if isinstance(source, fx.Node) and source.op == "call_module" else None
        if not isinstance(conv, nn.Conv2d) or calls[source.target] != 1 or _readers(source) != [node]:
            continue
        merged = copy.deepcopy(conv)
        merged.weight, merged.bias = fuse_conv_bn_weights(conv.weight, conv.bias, *statistics)
        _replace(traced, str(source.target), merged)
        node.replace_all_uses_with(source)
        traced.graph.erase_node(node)
        folded += 1
    if not folded:
        return None
    traced.graph.lint()
    traced.recompile()
    return traced.eval().requires_grad_(False)


def _fold_parts(module: nn.Module) -> nn.Module | None:
    parts = {name: fold_batchnorm(part) or _fold_parts(part) for name, part in module.named_children()}
    folded = {name: part for name, part in parts.items() if part is not None}
    if not folded:
        return None
    outer = copy.copy(module)
    outer._modules = {**module._modules, **folded}
    return outer


def _readers(node: fx.Node) -> list[fx.Node]:
    """Who uses the values of a step; what only asks for its shape is no reader."""
    return [user for user in node.users if user.target is not getattr or user.args[1] not in ("ndim", "shape", "dtype")]


_Statistics = tuple[Tensor, Tensor, float, Tensor | None, Tensor | None]


def _statistics(node: fx.Node, modules: dict[str, nn.Module], traced: fx.GraphModule) -> _Statistics | None:
    """mean, variance, eps, weight, bias where the node normalises with kept statistics; None where it does anything else."""
    if node.op == "call_module":
        norm = modules[str(node.target)]
        if type(norm) is not nn.BatchNorm2d or norm.running_mean is None or norm.running_var is None:
            return None
        return norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
    if node.op != "call_function" or node.target is not F.batch_norm:
        return None
    names = ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")
    given: dict[str, Any] = {**dict(zip(names, node.args, strict=False)), **node.kwargs}
    if given.get("training") or given.get("running_mean") is None or given.get("running_var") is None:
        return None
    mean, variance, weight, bias = (_array(given.get(name), traced) for name in names[1:5])
    if mean is None or variance is None:
        return None
    return mean, variance, float(given.get("eps", 1e-5)), weight, bias


def _array(node: Any, traced: fx.GraphModule) -> Tensor | None:
    if not isinstance(node, fx.Node) or node.op != "get_attr":
        return None
    value: Any = traced
    for part in str(node.target).split("."):
        value = getattr(value, part)
    return value


def _replace(traced: fx.GraphModule, name: str, module: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(traced.get_submodule(parent), last, module)
