"""The command line: parse, call, print. One file per command; torch is imported inside them, so that help is quick.

certify.py, predict.py                  smooth a classifier
merge.py                                merge the shards of a run
recertify.py, verify.py, attack.py      re-examine a run: from its query log, from its evidence, inside its certified balls
train.py, train_classifier.py           train
measure_denoiser.py                     the command test-denoiser
report.py, export.py, demo.py           show
doctor.py                               show what is installed and what works
serve.py, keygen.py                     answer over HTTP, sign certificates
options.py                              what several commands take: the model, the images, the service
setting_up.py                           before the first vote: interruptions, and a time estimate
expense.py                              what a service costs: reported, and confirmed before the first query
"""

from __future__ import annotations

import signal
import sys
import warnings

from cyclopts import App, CycloptsError

import dsmooth
from dsmooth.cli.attack import attack
from dsmooth.cli.certify import certify
from dsmooth.cli.demo import demo
from dsmooth.cli.doctor import doctor
from dsmooth.cli.export import export
from dsmooth.cli.keygen import keygen
from dsmooth.cli.measure_denoiser import measure_denoiser
from dsmooth.cli.merge import merge
from dsmooth.cli.predict import predict
from dsmooth.cli.recertify import recertify
from dsmooth.cli.report import report
from dsmooth.cli.serve import serve
from dsmooth.cli.train import train
from dsmooth.cli.train_classifier import train_classifier
from dsmooth.cli.verify import verify
from dsmooth.console import complain, note
from dsmooth.errors import DsmoothError
from dsmooth.interruption import ending, listen

__all__ = ["app", "main"]

app = App(
    name="dsmooth",
    help="Provable robustness for any pretrained image classifier, without retraining it.",
    help_epilogue="Start with `dsmooth demo`: a real classifier on real photographs, in a few minutes.",
    version=dsmooth.__version__,
    help_format="markdown",
    suppress_keyboard_interrupt=False,
)
for command in (
    certify, merge, recertify, verify, attack, predict, serve, keygen, train, train_classifier, report, export, demo, doctor,
):  # fmt: skip
    app.command(command)
app.command(measure_denoiser, name="test-denoiser")

_KEPT = "work that certify or train had finished is on disk; continue with --resume"


def main() -> None:
    """The program `dsmooth`. Exit codes: 0 success; 1 failure on the way (a full disk, diverged training); 2 bad input (one
    line, nothing half-written); 3 a service failed or its budget ran out (partial, resumable); 130/143 interrupted.
    """
    listen()
    warnings.showwarning = lambda message, *rest, **more: note(f"dsmooth: {message}")
    try:
        _call()
    finally:
        if (number := ending()) is not None:  # whatever became of its exception on the way here
            complain(f"{'interrupted' if number == signal.SIGINT else 'terminated'}; {_KEPT}")
            sys.exit(128 + number)


def _call() -> None:
    try:
        app(exit_on_error=False, print_error=False)
    except DsmoothError as error:
        complain(str(error))
        sys.exit(error.exit_code)
    except CycloptsError as error:
        complain(f"{error}; try dsmooth --help")
        sys.exit(2)
    except OSError as error:
        complain(f"{error.filename or 'output'}: {error.strerror or error}")
        sys.exit(1)
