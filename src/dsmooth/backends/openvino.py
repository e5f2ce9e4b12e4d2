"""OpenVINO on a CPU: convolutions in bf16 on the matrix units of recent processors."""

from __future__ import annotations

import sys
import threading
import warnings
from types import ModuleType
from typing import Any, Final

import torch
from torch import Tensor, nn

from dsmooth.backends.base import CannotRun, TensorFunction, check_dtype, difference
from dsmooth.backends.eager import cores
from dsmooth.backends.networks import copy_for_inference
from dsmooth.errors import first_line, require

__all__ = ["OpenVino"]

_HINTS: Final = {"fp32": "f32", "bf16": "bf16"}
_ROWS: Final = 2  # of the first batch, on which the compiled network is compared with the original
_ALIKE: Final = {"fp32": 1e-3, "bf16": 0.1}
"""How far an answer may be from torch's in float32. bf16 is 0.004 a step: most trained networks are within 0.03."""
_BEYOND: Final = 3.0  # or so many times as far as torch's own answer in bf16


class OpenVino:
    """Compiles a module for each batch shape, once for all threads; each network asks with a request of its own.

    The module is traced on a batch: branches that depend on the pixels are taken as they fell there. Its answer to the
    first batch is compared with torch's, and a network that answers differently is refused (CannotRun).
    """

    name = "openvino"
    device = torch.device("cpu")
    area = 32 * 32 * 32
    most_rows = 256

    def __init__(self, dtype: str = "bf16", workers: int | None = None) -> None:
        self.dtype = check_dtype(dtype, tuple(_HINTS), self.name)
        self.workers = workers or cores()
        self._openvino = _without_telemetry()
        self._core = self._openvino.Core()
        self._lock = threading.Lock()
        self._compiled: dict[tuple[nn.Module, tuple[int, ...]], Any] = {}

    def ready(self, module: nn.Module) -> TensorFunction:
        requests: dict[tuple[int, ...], Any] = {}

        def run(x: Tensor) -> Tensor:
            x = x.to(torch.float32).contiguous()
            shape = tuple(x.shape)
            if shape not in requests:
                requests[shape] = self._compile(module, x).create_infer_request()
            answer = requests[shape].infer([x.numpy()], share_inputs=True)
            return torch.from_numpy(next(iter(answer.values())).copy())

        return run

    def _compile(self, module: nn.Module, x: Tensor) -> Any:
        key = (module, tuple(x.shape))
        with self._lock:
            if key not in self._compiled:
                self._compiled[key] = self._converted(module, x)
            return self._compiled[key]

    def _converted(self, module: nn.Module, x: Tensor) -> Any:
        original = copy_for_inference(module, torch.float32)
        expected = original(x[:_ROWS])  # outside of the guard below: what it raises is about the network, not OpenVINO
        shape = self._openvino.PartialShape(list(x.shape))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of its tracer: what it got wrong shows in the comparison
                model = self._openvino.convert_model(original, example_input=x[:1], input=[shape])
            compiled = self._core.compile_model(
                model,
                "CPU",
                {
                    "INFERENCE_PRECISION_HINT": _HINTS[self.dtype],
                    "NUM_STREAMS": self.workers,
                    "INFERENCE_NUM_THREADS": self.workers,
                    "ENABLE_CPU_PINNING": False,  # the cores may be shared with others
                },
            )
            answers = [torch.from_numpy(answer) for answer in compiled([x.numpy()]).values()]
        except Exception as error:  # the converter raises errors of many kinds
            line = first_line(error)
            raise CannotRun(f"OpenVINO cannot run this network ({line[:200]}): use the backend eager") from error
        if len(answers) != 1 or not isinstance(expected, Tensor):
            raise CannotRun("OpenVINO needs a network with one output: use the backend eager")
        apart, allowed = difference(answers[0][:_ROWS], expected), _ALIKE[self.dtype]
        if apart > allowed and self.dtype == "bf16":  # some networks are far from float32 in any bf16
            rounded = copy_for_inference(module, torch.bfloat16)(x[:_ROWS].to(torch.bfloat16))
            allowed = max(allowed, _BEYOND * difference(rounded, expected))
        if not apart <= allowed:
            told = f"{100 * apart:.1f} % away from torch" if apart < float("inf") else "with other shapes than torch"
            raise CannotRun(f"OpenVINO in {self.dtype} answers {told}: use the backend eager, or fp32")
        return compiled


def _without_telemetry() -> ModuleType:
    """OpenVINO, which tells its makers nothing of this machine.

    Its converter otherwise sends events by a process that it forks, in the middle of other threads: the child can wait for
    ever for a lock that one of them held, and at the end of the program its parent waits for it. Without that package the
    converter goes on silently. One that was imported before stays as it is.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # imports of it raise ImportError
    return require("openvino", "openvino")
