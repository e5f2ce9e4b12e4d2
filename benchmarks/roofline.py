"""How fast this processor multiplies large matrices: what no network can be much faster than, whatever runs it.

Ratios to a reference loop depend on the processor, because bf16 units differ more between processors than fp32 ones do. The
share of a product in the same dtype, measured in the same minutes, does not.
"""

from __future__ import annotations

import importlib.util
import statistics
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch

__all__ = ["products", "roof", "told"]

_SIDE, _SIDE_ON_GPU = 2048, 8192
_TIMES = 4  # a call
_DTYPES = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16}


def products(on_gpu: bool) -> dict[str, Callable[[], int]]:
    """Work by name, "product DTYPE by LIBRARY": each call multiplies matrices, and returns how many MFLOP that was.

    One thread on a CPU. There are two libraries, because the best one depends on processor and dtype.
    """
    if on_gpu:
        return {f"product {dtype} by torch": _torch(dtype, _SIDE_ON_GPU, "cuda") for dtype in ("tf32", "bf16")}
    work = {f"product {dtype} by torch": _torch(dtype, _SIDE, "cpu") for dtype in ("fp32", "bf16")}
    if importlib.util.find_spec("openvino"):
        work |= {f"product {dtype} by OpenVINO": _openvino(dtype, _SIDE) for dtype in ("fp32", "bf16")}
    return work


def roof(seconds: Mapping[str, float], dtype: str) -> float:
    """GFLOP/s of the fastest product in this dtype, from the seconds that each piece of work took for one MFLOP."""
    return max(_rate(each) for name, each in seconds.items() if name.startswith(f"product {dtype} "))


def told(rounds: Sequence[Mapping[str, float]]) -> str:
    """One line: the median rate of each product."""
    names = [name for name in rounds[0] if name.startswith("product ")]
    rates = {name.removeprefix("product "): statistics.median(_rate(each[name]) for each in rounds) for name in names}
    return "GFLOP/s of a matrix product: " + ", ".join(f"{rate:,.0f} ({name})" for name, rate in rates.items())


def _rate(seconds: float) -> float:
    return 0.001 / seconds


def _torch(dtype: str, side: int, device: str) -> Callable[[], int]:
    a, b = (torch.randn(side, side, device=device, dtype=_DTYPES[dtype]) for _ in range(2))

    def multiply() -> int:
        before = torch.backends.cuda.matmul.allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = dtype == "tf32"
        for _ in range(_TIMES):
            _ = a @ b
        if device == "cuda":
            torch.cuda.synchronize()
        torch.backends.cuda.matmul.allow_tf32 = before
        return _mflop(side)

    return multiply


def _openvino(dtype: str, side: int) -> Callable[[], int]:
    import openvino
    from openvino import opset13

    drawn = np.random.default_rng(0)
    a, b = (drawn.standard_normal((side, side), dtype=np.float32) for _ in range(2))
    rows = opset13.parameter([side, side], np.float32)
    product = opset13.matmul(rows, opset13.constant(b), False, True)
    hints = {
        "INFERENCE_PRECISION_HINT": {"fp32": "f32"}.get(dtype, dtype),
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": 1,
    }
    compiled = openvino.Core().compile_model(
        openvino.Model([product], [rows]), "CPU", {**hints, "ENABLE_CPU_PINNING": False}
    )
    request = compiled.create_infer_request()

    def multiply() -> int:
        for _ in range(_TIMES):
            request.infer([a], share_inputs=True)
        return _mflop(side)

    return multiply


def _mflop(side: int) -> int:
    return round(2e-6 * side**3 * _TIMES)
