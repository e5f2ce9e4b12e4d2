"""Denoised smoothing of vision services: Figure 6 of Salman et al. 2020 in small, and once more from the logs.

    python -m recipes.services_figure6 [--denoiser NAME=FILE ...] [--images 50] [--few 5]

Sigma .25, n0 = 20, n = 100, alpha = .001, bf16. A server on this machine speaks the wires of the four services and answers
with EfficientNet-Lite0; it is reached through their official SDKs. Without a denoiser, with the shipped `photo` (mean
squared error) and `photo-light` (through EfficientNet-Lite1 and -Lite2), and with every denoiser that is given. All images
go over Azure's wire, a few over the others; the votes must be those of the local model. Then the certificates are made again
from the logs, with no query, and must be equal to the last digit.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
from pathlib import Path
from typing import Any

import torch

from dsmooth.classifiers.remote import RemoteClassifier
from dsmooth.classifiers.specs import load_classifier
from dsmooth.records.record_file import in_order
from dsmooth.records.sidecar import read_sidecar
from dsmooth.records.store import read_run
from dsmooth.runs.recertify import recertify
from dsmooth.services.gate import Limits
from dsmooth.services.voting import LabelMap
from recipes.experiment import RUNS, certify, report
from recipes.imagenet_samples import validation_images
from tests.services.local import Local
from tests.services.servers import SECRETS, SPECS, Brain, server

RADII = (0.0, 0.2, 0.37)
SIGMA, N0, N = 0.25, 20, 100
MAIN = "azure"


def lite0(names: list[str]) -> Any:
    """Pixels -> its five highest classes with their probabilities; names are made unique by their number."""
    torch.set_num_threads(1)
    classifier: Any = load_classifier("efficientnet-lite0")
    module = classifier.module.eval()

    def model(pixels: Any) -> list[tuple[str, float]]:
        with torch.inference_mode():
            x = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 255.0
            scores, classes = module((x - 0.5) / 0.5).softmax(dim=1)[0].topk(5)
        return [(names[int(i)], float(score)) for i, score in zip(classes, scores, strict=True)]

    return model


def class_names() -> list[str]:
    classifier: Any = load_classifier("efficientnet-lite0")
    return [f"{name} ({i})" for i, name in enumerate(classifier.class_names)]


def serve(wires: list[str], addresses: Any) -> None:
    """One server process: every wire asks the same model."""
    model = lite0(class_names())
    servers = [server(wire, Brain(model)).__enter__() for wire in wires]
    addresses.put([running.url for running in servers])
    servers[0].over.wait()


def votes(run: Path) -> list[list[Any]]:
    """The votes behind each record, in order of the images."""
    found = read_run(run)
    return [list(read_sidecar(run, record.votes, N0 + N)) for record in in_order(found.records)]


def facts(run: Path) -> list[tuple[Any, ...]]:
    return [(r.name, r.selection, r.estimation, r.answer, r.radius) for r in read_run(run).records]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--denoiser", action="append", default=[], metavar="NAME=FILE", help="one more denoiser")
    parser.add_argument("--images", type=int, default=50, help="over Azure's wire")
    parser.add_argument("--few", type=int, default=5, help="over the other wires")
    options = parser.parse_args()
    more = dict(given.split("=", 1) for given in options.denoiser)
    denoisers: dict[str, str | None] = {"none": None, "mse": "photo", "stab": "photo-light", **more}
    os.environ.update(SECRETS)  # what the SDKs want to see; the servers take any key
    images = validation_images()
    names = class_names()
    rule = LabelMap({name: [name] for name in names})
    context = multiprocessing.get_context("spawn")
    addresses = context.Queue()
    process = context.Process(target=serve, args=(list(SPECS), addresses), daemon=True)
    process.start()
    urls = dict(zip(SPECS, addresses.get(timeout=300), strict=True))

    remotes = {
        wire: RemoteClassifier(spec, rule=rule, endpoint=urls[wire], limits=Limits(concurrency=8, time_limit=60.0))
        for wire, spec in SPECS.items()
    }

    def over(wire: str, name: str, denoiser: str | None, count: int) -> Path:
        return certify(f"figure6-{wire}-{name}", images[:count], remotes[wire], denoiser, SIGMA, n0=N0, n=N)

    wrong = 0
    online = [over(MAIN, name, denoiser, options.images) for name, denoiser in denoisers.items()]
    model = lite0(names)
    few = images[: options.few]
    for name, denoiser in denoisers.items():
        for wire, remote in remotes.items():
            # what is asked is part of the address of the noise, so each service has a local model of its own
            local = Local(lambda pixels: [(names.index(model(pixels)[0][0]), 1.0)], remote)
            run = certify(f"figure6-local-{wire}-{name}", few, local, denoiser, SIGMA, n0=N0, n=N, batch=32)
            here = votes(run)
            there = votes(over(wire, name, denoiser, options.images if wire == MAIN else options.few))[: options.few]
            differ = sum(
                a != b for one, other in zip(there, here, strict=True) for a, b in zip(one, other, strict=True)
            )
            wrong += differ
            print(f"{wire}, {name}: {differ} of {sum(map(len, here))} votes differ from the local model")
    for remote in remotes.values():
        remote.close()
    process.terminate()
    offline = []
    for run in online:
        out = RUNS / f"{run.name}-offline"
        result = recertify(run)
        if not out.exists():
            result.write(out)
        offline.append(out)
        same = facts(run) == facts(out)
        wrong += not same
        print(f"{run.name}: certificates from the log {'are equal' if same else 'DIFFER'}")
    report("figure6", online, RADII)
    report("figure6-offline", offline, RADII)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
