"""Laws of noise that the user brings: records name them, and only the command line says where their code is."""

import sys

import numpy as np
import pytest

from dsmooth import RemoteClassifier, SmoothedClassifier, open_images
from dsmooth.runs.certify import certify_run
from dsmooth.theory.laws import known
from services.servers import Brain, Server, brightness
from support import dsmooth, refused

LAW = """
from dsmooth.theory.laws.gaussian import Gaussian

class Mine(Gaussian):
    name = "mine"

class Impostor(Gaussian):
    pass  # another class of the name gaussian

def law():
    return Mine(0.3)

def impostor():
    return Impostor(0.3)

def none():
    return 0.3

def breaks():
    raise ZeroDivisionError("no law today")
"""
NETWORK = ("-c", "import:support:Linear", "-d", "none")
MINE = ("--noise", "import:law_for_test:law")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a law, images, a run under that law, its certificates, and a service's run; nobody knows the law."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(known, "_INTRODUCED", {})
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.delitem(sys.modules, "law_for_test", raising=False)
    (tmp_path / "law_for_test.py").write_text(LAW)
    pixels = np.array([20, 220, 40], dtype=np.uint8)[:, None, None, None] + np.zeros((3, 6, 5, 3), np.uint8)
    np.savez(tmp_path / "images.npz", images=pixels, labels=[0, 1, 0])
    done = dsmooth(
        "certify", "images.npz", *NETWORK, *MINE, "--n", 60, "--n0", 20, "-o", "run", "--certificates", "certificates"
    )
    assert done.code == 0, done.err
    assert "3 of 3 images certified, 3 with the right label (mine 0.3" in done.out
    import law_for_test

    with Server(Brain(brightness)) as server:
        remote = RemoteClassifier(f"{server.url}/x")
        smoothed = SmoothedClassifier(remote, None, law=law_for_test.law())
        certify_run(smoothed, open_images("images.npz"), tmp_path / "paid", n0=5, n=30)
        remote.close()
    monkeypatch.setattr(known, "_INTRODUCED", {})
    return tmp_path


COMMANDS = {
    "report": ("report", "run"),
    "verify": ("verify", "run", "--images", "images.npz", *NETWORK, "--all"),
    "verify a certificate": ("verify", "certificates/000001.json", "--images", "images.npz", *NETWORK, "--all"),
    "attack": ("attack", "run", "--images", "images.npz", *NETWORK, "--steps", 2, "--n", 20, "--max", 1),
    "recertify": ("recertify", "paid", "--alpha", 0.01, "-o", "again"),
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS.keys())
def test_records_under_a_law_of_ones_own_need_it_on_the_command_line(folder, command):
    refused(folder, *command, says="your own with --noise import:MODULE:FACTORY, got 'mine'")
    refused(folder, *command, "--noise", "gaussian", says="here --noise only names a noise distribution of your own")
    done = dsmooth(*command, *MINE)
    assert done.code == 0, done.out + done.err


@pytest.mark.parametrize(
    ("factory", "says"),
    [
        ("import:law_for_test", "expected import:package.module:factory"),
        ("import:law_for_test:nothing", "cannot be imported: AttributeError"),
        ("import:no_such_module:law", "cannot be imported: ModuleNotFoundError"),
        ("import:law_for_test:none", "noise must be a RandomLaw or an EnumeratedLaw"),
        ("import:law_for_test:impostor", "has the name of another law, 'gaussian': choose its own"),
        ("import:law_for_test:breaks", "failed: ZeroDivisionError: no law today"),
    ],
)
def test_what_is_no_law_is_refused_in_one_line(folder, factory, says):
    refused(folder, "report", "run", "--noise", factory, says=says)
    refused(folder, "certify", "images.npz", *NETWORK, "--noise", factory, "-o", "new", says=says)


def test_a_law_of_ones_own_has_its_parameters_already(folder):
    options = (*NETWORK, *MINE, "--sigma", 0.5, "-o", "new")
    refused(folder, "certify", "images.npz", *options, says="has its own parameters: leave out --sigma")


@pytest.mark.parametrize("command", ["report", "verify", "attack", "recertify"])
def test_help_says_how_to_bring_a_law(command):
    shown = dsmooth(command, "--help").out
    assert "--noise" in shown
    assert "import:package.module:factory" in shown
