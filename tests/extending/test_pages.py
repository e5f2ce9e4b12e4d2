"""Every page of docs/extending does what it says."""

import inspect
import math

import pytest

from contracts.test_contracts import TestClassifier as ClassifierContract
from contracts.test_contracts import TestDenoiser as DenoiserContract
from dsmooth.denoisers.loading import load_denoiser
from dsmooth.records.store import read_run
from pages import BLOCK
from support import ROOT, refused


def test_a_law_goes_through_the_whole_river(page):
    page = page("extending/add-a-law.md").follow()
    certified, reported, attacked, verified = (done.out for done in page.done)
    assert "4 of 4 images certified, 4 with the right label (laplace 0.2, multiclass bound" in certified
    assert "| laplace | laplace 0.2 | multiclass | 0.0 | 100.0" in reported
    assert "0 flips among 24 attacked images inside certified balls" in attacked
    assert verified.endswith("runs/laplace: verified; self-chosen key, not witnessed\n")
    (record, *_) = read_run(page.folder / "runs" / "laplace").records
    assert record.asked.norm == 1
    theorem = -0.2 * math.log(2 * (1 - 0.0009 ** (1 / 200)))  # 200 votes of 200, and .9 of alpha for them
    assert theorem - 2e-9 < float(record.radius) <= theorem

    # for everybody: from its place in the house, nobody has to bring it
    page.module("src/dsmooth/theory/laws/laplace.py", (page.folder / "laplace_noise.py").read_text())
    page.command("dsmooth report runs/laplace")
    assert page.touched == ["src/dsmooth/theory/laws/known.py", "src/dsmooth/theory/laws/laplace.py"]


def keeps(contract, make, **arguments):
    """The contract's tests pass for what `make` makes."""
    tests = [getattr(contract(), name) for name in vars(contract) if name.startswith("test_")]
    assert len(tests) >= 5
    for test in tests:
        wanted = inspect.signature(test).parameters
        test(make, **{name: value for name, value in arguments.items() if name in wanted})


def bright(page):
    """The classifier of the first page, in the folder of this one."""
    text = (ROOT / "docs" / "extending" / "add-a-law.md").read_text()
    (code,) = [code for _, info, code in BLOCK.findall(text) if info == "python bright.py"]
    (page.folder / "bright.py").write_text(code)
    return page


@pytest.mark.filterwarnings("ignore:the denoiser was trained")
def test_a_denoiser_is_trained_measured_and_certified(page):
    page = bright(page("extending/add-a-denoiser.md")).follow()
    _, measured, certified = (done.out for done in page.done)
    noisy, denoised = (float(line.split("|")[3].split()[0]) for line in measured.splitlines() if "dB" in line)
    assert denoised > noisy + 1
    assert "4 of 4 images certified" in certified
    trained = load_denoiser("denoisers/haar")
    assert trained.architecture == "haar"
    assert (trained.thresholds != 1).all()
    assert page.touched == ["src/dsmooth/denoisers/haar.py", "src/dsmooth/denoisers/names.py"]
    (make,) = page.names["DENOISERS"].values()
    for size in ((8, 8), (7, 9), (1, 5)):
        keeps(DenoiserContract, make, size=size)


def test_a_classifier_is_certified_and_verified(page):
    page = page("extending/add-a-classifier.md").follow()
    certified, reported, verified = (done.out for done in page.done)
    assert "4 of 4 images certified, 4 with the right label" in certified
    assert "| means |" in reported
    assert "runs/means: verified" in verified
    assert page.touched == ["src/dsmooth/classifiers/nearest_mean.py", "src/dsmooth/classifiers/specs.py"]
    (make,) = page.names["CLASSIFIERS"].values()
    keeps(ClassifierContract, make)
    refused(page.folder, "predict", "photos", "-c", "means:photos", "-d", "none", says="expected an .npz with means")


def test_an_image_source_is_certified_and_verified(page):
    page = bright(page("extending/add-an-image-source.md")).follow()
    certified, verified = (done.out for done in page.done)
    assert "3 of 3 images certified, 3 with the right label" in certified
    assert "runs/digits: verified" in verified
    assert page.touched == ["src/dsmooth/images/sources/idx.py", "src/dsmooth/images/opening.py"]


def test_a_section_stands_on_the_page(page):
    page = bright(page("extending/add-a-report-section.md")).follow()
    records = read_run(page.folder / "runs" / "photos").records
    for file in ("runs/photos/report/report.html", "narrowest.html"):
        html = (page.folder / file).read_text()
        assert html.count("Narrowest certificates") == 1
        assert f"<li>{records[0].name}: {records[0].radius}</li>" in html
    assert page.touched == ["src/dsmooth/report/sections/narrowest.py", "src/dsmooth/report/sections/known.py"]
