"""The software and the kind of machine that networks run with."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform

import torch

__all__ = ["versions"]


def versions() -> dict[str, str]:
    """What the votes were computed with."""
    packages = {name: importlib.metadata.version(name) for name in ("dsmooth", "torch", "numpy", "scipy")}
    if importlib.util.find_spec("openvino"):
        packages["openvino"] = importlib.metadata.version("openvino")
    machine = {"machine": platform.machine(), "cpu": torch.backends.cpu.get_cpu_capability(), "os": os.name}
    if torch.cuda.is_available():
        machine["gpu"] = torch.cuda.get_device_name()
    return {**packages, "python": platform.python_version(), **machine}
