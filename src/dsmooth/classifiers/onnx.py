"""`onnx:FILE`: ONNX files through onnxruntime."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from dsmooth.backends.base import Backend
from dsmooth.classifiers.base import Classifier, LabelFunction, check_logits, labels_of
from dsmooth.errors import BadModel, first_line, require
from dsmooth.records.digests import digest_file

__all__ = ["OnnxClassifier", "load_onnx"]


class OnnxClassifier(Classifier):
    """An ONNX file with one image input (B, C, H, W) in [0, 1], normalisation inside, and (B, K) logits first.

    It runs on the CPU in the precision of the file (fp32), whatever backend and dtype the denoiser has. Data
    outside the file is refused.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise BadModel(f"{path}: no such ONNX file")
        self.name = f"onnx:{self.path.name}"
        runtime = require("onnxruntime", "onnx")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1  # the scheduler has the cores at work already
        options.log_severity_level = 4
        # from bytes, not from the path, so that the runtime has no folder to read external data from; without this line it
        # would take the current one
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", os.devnull)
        try:
            self._session = runtime.InferenceSession(
                self.path.read_bytes(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's exceptions share no base below Exception
            line = first_line(error)
            raise BadModel(f"{path}: expected an ONNX classifier in one file: {line}") from error
        inputs = self._session.get_inputs()
        if len(inputs) != 1 or len(inputs[0].shape) != 4:
            raise BadModel(f"{path}: expected one input (B, C, H, W), got {[i.shape for i in inputs]}")
        self._input = inputs[0].name
        _, channels, _, side = inputs[0].shape  # numbers, or names of what is free
        self.channels = channels if isinstance(channels, int) else None
        self.input_size = side if isinstance(side, int) else None

    def answers(self, backend: Backend) -> LabelFunction:
        def answer(images: Tensor) -> Sequence[int | str | None]:
            batch = images.to("cpu", torch.float32).contiguous().numpy()
            try:
                logits = torch.from_numpy(self._session.run(None, {self._input: batch})[0])
            except Exception as error:  # as above
                line = first_line(error)
                raise BadModel(f"{self.name} does not accept images of shape {batch.shape}: {line}") from error
            return labels_of(check_logits(logits, len(batch), self.name, len(self.class_names or ()) or None))

        return answer

    def digest(self) -> str:
        return digest_file(self.path)


def load_onnx(spec: str) -> OnnxClassifier:
    """The classifier of onnx:FILE."""
    file = spec.removeprefix("onnx:")
    if not file:
        raise BadModel(f"expected onnx:FILE, got {spec!r}")
    return OnnxClassifier(file)
