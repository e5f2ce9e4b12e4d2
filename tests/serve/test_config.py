"""A server that a TOML file describes, with several models."""

import os
import signal
import subprocess
import sys
import urllib.request

import pytest

from serve.running import picture
from support import CHECKOUT, dsmooth, refused

GOOD = """
[server]
port = 0
most_votes = 5000
record = "record"
fresh = true

[models.linear]
classifier = "import:support:Linear"
denoiser = "none"
backend = "eager"
workers = 1
size = 16
n0 = 20
n = 100

[models.quiet]
classifier = "import:support:Linear"
denoiser = "none"
backend = "eager"
workers = 1
sigma = 0.1
size = 8
radius = 0.1
n = 500
"""


def test_several_models_in_one_server(tmp_path):
    (tmp_path / "gateway.toml").write_text(GOOD)
    with subprocess.Popen(
        [sys.executable, "-m", "dsmooth", "serve", "gateway.toml"], cwd=tmp_path,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": CHECKOUT},
    ) as program:  # fmt: skip
        try:
            lines = [program.stdout.readline() for _ in range(3)]
            assert [line.partition(":")[0] for line in lines] == ["linear", "quiet", "listening on http"], lines
            address = lines[2].split()[2].rstrip(",")
            for query, radius in (("", None), ("?model=linear", None), ("?model=quiet", "0.100000000")):
                with urllib.request.urlopen(f"{address}/v1/certify{query}", picture(), timeout=60) as answer:
                    assert answer.headers["Dsmooth-Label"] == "1"
                    assert radius in (None, answer.headers["Dsmooth-Radius"])
                    assert answer.headers["Dsmooth-Cached"] == "false"
                    assert answer.headers["Dsmooth-Sigma"] == ("0.25" if radius is None else "0.1")
        finally:
            program.send_signal(signal.SIGTERM)
        _, log = program.communicate(timeout=60)
    assert program.returncode == 0, log
    assert len(list((tmp_path / "record").rglob("*.json"))) == 3


BAD = {
    "no TOML": ("[server", "expected a TOML file"),
    "nothing": ("", "expected tables [models.NAME]"),
    "no models": ("[server]\nport = 80\n", "expected tables [models.NAME]"),
    "another table": (f"{GOOD}\n[client]\n", "expected tables [models.NAME]"),
    "models are a list": ("models = []", "expected tables [models.NAME]"),
    "a model without a name": (GOOD.replace("models.quiet", "models.''"), "a model's name has"),
    "a model's name of two lines": (GOOD.replace("models.quiet", 'models."a\\nb"'), "a model's name has"),
    "a model of text": ("[models]\na = 'x'", "[models.a]: expected a table"),
    "no classifier": ("[models.a]\nsigma = 0.25", "[models.a]"),
    "an unknown option": (GOOD.replace("sigma", "sigmas"), "[models.quiet]"),
    "a list": (GOOD.replace("sigma = 0.1", "sigma = [0.1]"), "must be text, a number"),
    "n of text": (GOOD.replace("n = 500", "n = 'many'"), "must be a whole number"),
    "a port of text": (GOOD.replace("port = 0", "port = 'http'"), "must be a whole number"),
    "a deadline of 0": (GOOD.replace("fresh = true", "deadline = 0"), "--deadline must be above 0"),
    "sigma of 100": (GOOD.replace("sigma = 0.1", "sigma = 100"), "[models.quiet]: sigma must be between"),
    "a size of 0": (GOOD.replace("size = 8", "size = 0"), "[models.quiet]: size must be from 1"),
    "a classifier that is none": (GOOD.replace("Linear", "Nowhere", 1), "gateway.toml: [models.linear]: "),
    "a host without keys": (GOOD.replace("port = 0", "host = '0.0.0.0'"), "pass --keys"),
}


@pytest.mark.parametrize(("text", "says"), BAD.values(), ids=BAD.keys())
def test_a_file_that_describes_no_server(tmp_path, monkeypatch, text, says):
    (tmp_path / "gateway.toml").write_text(text)
    monkeypatch.chdir(tmp_path)
    refused(tmp_path, "serve", "gateway.toml", says=says)


def test_options_stand_in_one_place(tmp_path, monkeypatch):
    (tmp_path / "gateway.toml").write_text(GOOD)
    monkeypatch.chdir(tmp_path)
    refused(tmp_path, "serve", "gateway.toml", "--port", "80", says="put them into that file")
    refused(tmp_path, "serve", "gateway.toml", "-c", "import:support:Linear", says="expected one of a classifier")
    refused(tmp_path, "serve", says="expected one of a classifier (-c), a TOML file")
    refused(tmp_path, "serve", "--demo", "-c", "efficientnet-lite0", says="--demo has its own classifier")
    refused(tmp_path, "serve", "--demo", "--n", "50", says="--demo has its own votes too")
    refused(tmp_path, "serve", "nowhere.toml", says="expected a TOML file")


def test_help_has_examples():
    shown = dsmooth("serve", "--help")
    assert shown.code == 0
    for word in ("gateway.toml", "--behind-proxy", "--signing-key", "--radius", "--label-map", "curl"):
        assert word in shown.out, word
