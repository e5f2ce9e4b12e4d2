"""`dsmooth doctor`: what it says is so."""

import importlib.metadata
import re

import torch

from support import dsmooth


def test_it_says_what_is_installed_and_which_backends_run():
    done = dsmooth("doctor", "--seconds", "0.2")
    assert done.code == 0, done.err
    assert f"torch {torch.__version__}" in done.out
    version = importlib.metadata.version("scikit-image")
    assert re.search(rf"^  denoise +scikit-image {re.escape(version)}$", done.out, re.M)
    rates = dict(re.findall(r"^  (\w+ +\w+) +(\d+)", done.out, re.M))
    assert float(rates["eager     fp32"]) > 0
    assert done.out.count("fastest here") == 1
    if not torch.cuda.is_available():
        assert "backend cuda needs an NVIDIA GPU" in done.out


def test_it_need_not_measure():
    done = dsmooth("doctor", "--seconds", "0")
    assert done.code == 0
    assert "GFLOP" not in done.out
    assert dsmooth("doctor", "--seconds", "-1").code == 2


def test_an_extra_that_lacks_a_package_says_which(monkeypatch):
    found = importlib.metadata.version

    def version(name):
        if name == "scikit-image":
            raise importlib.metadata.PackageNotFoundError(name)
        return found(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    assert re.search(r"^  denoise +missing: scikit-image$", dsmooth("doctor", "--seconds", "0").out, re.M)
