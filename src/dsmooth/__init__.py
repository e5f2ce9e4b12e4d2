"""dsmooth makes any pretrained image classifier provably robust, without retraining it.

    from dsmooth import SmoothedClassifier

    smoothed = SmoothedClassifier(model, "photo", sigma=0.25)
    print(smoothed.certify(image))

Names are loaded when they are first used: `import dsmooth` loads no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "BadImage": "errors",
    "BadInput": "errors",
    "BadModel": "errors",
    "BadParameter": "errors",
    "BadRun": "errors",
    "Cascade": "theory.cascade",
    "CascadeCertificate": "theory.cascade",
    "CascadedClassifier": "smoothing.cascaded",
    "Certificate": "theory.certifiers",
    "Cohen": "theory.certifiers",
    "Denoiser": "denoisers.base",
    "Disproved": "errors",
    "Drifted": "errors",
    "DsmoothError": "errors",
    "Expired": "errors",
    "FunctionClassifier": "classifiers.functions",
    "Gaussian": "theory.laws.gaussian",
    "Law": "theory.laws.base",
    "Lighting": "theory.laws.lighting",
    "Listed": "theory.threats.listed",
    "MissingPackage": "errors",
    "Mode": "theory.modes",
    "Multiclass": "theory.certifiers",
    "NoiseFailed": "errors",
    "Prediction": "theory.prediction",
    "Question": "records.question",
    "RemoteClassifier": "classifiers.remote",
    "Run": "records.store",
    "ServiceStopped": "errors",
    "SessionClosed": "errors",
    "SmoothedClassifier": "smoothing.smoothed",
    "Splitting": "theory.laws.splitting",
    "Threat": "theory.threats.base",
    "TopK": "theory.top_k",
    "TorchClassifier": "classifiers.local",
    "TrainingDiverged": "errors",
    "Uniform": "theory.laws.uniform",
    "Votes": "theory.votes",
    "load_classifier": "classifiers.specs",
    "load_denoiser": "denoisers.loading",
    "open_images": "images.opening",
    "predict_votes": "theory.prediction",
    "read_run": "records.store",
    "threat_from_text": "theory.threats.known",
}

__all__ = [
    "BadImage",
    "BadInput",
    "BadModel",
    "BadParameter",
    "BadRun",
    "Cascade",
    "CascadeCertificate",
    "CascadedClassifier",
    "Certificate",
    "Cohen",
    "Denoiser",
    "Disproved",
    "Drifted",
    "DsmoothError",
    "Expired",
    "FunctionClassifier",
    "Gaussian",
    "Law",
    "Lighting",
    "Listed",
    "MissingPackage",
    "Mode",
    "Multiclass",
    "NoiseFailed",
    "Prediction",
    "Question",
    "RemoteClassifier",
    "Run",
    "ServiceStopped",
    "SessionClosed",
    "SmoothedClassifier",
    "Splitting",
    "Threat",
    "TopK",
    "TorchClassifier",
    "TrainingDiverged",
    "Uniform",
    "Votes",
    "__version__",
    "load_classifier",
    "load_denoiser",
    "open_images",
    "predict_votes",
    "read_run",
    "threat_from_text",
]

if TYPE_CHECKING:
    from dsmooth.classifiers.functions import FunctionClassifier
    from dsmooth.classifiers.local import TorchClassifier
    from dsmooth.classifiers.remote import RemoteClassifier
    from dsmooth.classifiers.specs import load_classifier
    from dsmooth.denoisers.base import Denoiser
    from dsmooth.denoisers.loading import load_denoiser
    from dsmooth.errors import (
        BadImage,
        BadInput,
        BadModel,
        BadParameter,
        BadRun,
        Disproved,
        Drifted,
        DsmoothError,
        Expired,
        MissingPackage,
        NoiseFailed,
        ServiceStopped,
        SessionClosed,
        TrainingDiverged,
    )
    from dsmooth.images.opening import open_images
    from dsmooth.records.question import Question
    from dsmooth.records.store import Run, read_run
    from dsmooth.smoothing.cascaded import CascadedClassifier
    from dsmooth.smoothing.smoothed import SmoothedClassifier
    from dsmooth.theory.cascade import Cascade, CascadeCertificate
    from dsmooth.theory.certifiers import Certificate, Cohen, Multiclass
    from dsmooth.theory.laws.base import Law
    from dsmooth.theory.laws.gaussian import Gaussian
    from dsmooth.theory.laws.lighting import Lighting
    from dsmooth.theory.laws.splitting import Splitting
    from dsmooth.theory.laws.uniform import Uniform
    from dsmooth.theory.modes import Mode
    from dsmooth.theory.prediction import Prediction, predict_votes
    from dsmooth.theory.threats.base import Threat
    from dsmooth.theory.threats.known import threat_from_text
    from dsmooth.theory.threats.listed import Listed
    from dsmooth.theory.top_k import TopK
    from dsmooth.theory.votes import Votes


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"dsmooth has no {name!r}: it has {', '.join(__all__)}")
    value = getattr(importlib.import_module(f"dsmooth.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
