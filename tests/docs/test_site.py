"""The documentation: it builds without a warning and without a network, its examples run, its tutorials can be followed."""

import json
import re
import socket
import subprocess
import sys

import pytest

import dsmooth
from support import ROOT, environment

DOCS = ROOT / "docs"


def test_a_network_in_python(page):
    page = page("tutorials/network.md").follow()
    assert page.names["certificate"].answer == 0
    assert page.names["certificate"].radius > 0.4
    assert page.names["prediction"].answer == 0
    assert list(page.names["frame"]["right"]) == [True] * 6
    reported, verified = (done.out for done in page.done)
    assert "dossier: runs/halves/report/dossier.html" in reported
    assert "runs/halves: verified" in verified


def test_a_folder_of_images(page):
    certified, _, attacked, reported, _, verified, exported = (
        done.out for done in page("tutorials/folder.md").follow().done
    )
    assert "4 of 4 images certified, 4 with the right label" in certified
    assert "0 flips" in attacked
    assert "| photos |" in reported
    assert "verified" in verified
    assert "4 images: photos.csv" in exported


def test_nothing_but_an_api(page):
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", 8765)) == 0:
            pytest.skip("port 8765, which the tutorial uses, is taken")
    page = page("tutorials/service.md").follow()
    try:
        priced, certified, again, reported = (done.out for done in page.done)
        assert "nothing was sent" in priced
        assert "280 queries" in page.done[0].err
        assert "4 of 4 images certified" in certified
        assert "cohen" in again
        assert "chosen after the votes" in reported
    finally:
        page.names["server"].shutdown()
        page.names["server"].server_close()


def test_every_public_name_is_in_the_reference_and_in_an_example():
    text = (DOCS / "reference" / "python.md").read_text()
    examples = "\n".join(re.findall(r"^(?:>>>|\.\.\.) .*$", text, re.M))
    for name in set(dsmooth.__all__) - {"__version__"}:
        value = getattr(dsmooth, name)
        assert re.search(rf"^\.\. auto\w+:: dsmooth\.{name}$", text, re.M), name
        if not (isinstance(value, type) and issubclass(value, Exception)):
            assert re.search(rf"\b{name}\b", examples), name


def test_every_page_is_reachable():
    text = (DOCS / "index.md").read_text()
    listed = set(re.findall(r"^[\w/-]+$", text, re.M)) | {"index"}
    pages = {str(path.relative_to(DOCS).with_suffix("")) for path in DOCS.rglob("*.md")}
    pages = {page for page in pages if not page.startswith("_")}  # _made and _build are of a build
    assert {page for page in pages - listed if not re.match(r"decisions/\d{4}-", page)} == set()
    for page in (DOCS / "decisions").glob("0*.md"):
        assert page.name in (DOCS / "decisions" / "README.md").read_text()


NOTEBOOKS = sorted((DOCS / "notebooks").glob("*.ipynb"))


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_notebooks_run(path, tmp_path, monkeypatch):
    """Each from top to bottom in a kernel of its own, in which a warning is no error and an exception is one."""
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    monkeypatch.setenv("PYTHONPATH", environment()["PYTHONPATH"])
    book = nbformat.read(path, as_version=4)
    done = nbclient.NotebookClient(book, timeout=900, resources={"metadata": {"path": str(tmp_path)}}).execute()
    told = "".join(str(output.get("text", "")) for cell in done.cells for output in cell.get("outputs", ()))
    expected = {
        "one-photograph": "tripod 0.",
        "run-and-compare": "| upper envelope |",
        "which-noise": "6 of 255 levels brighter: True",
    }
    assert expected[path.stem] in told, told


def test_notebooks_are_kept_without_results():
    """What a notebook shows is made by whoever runs it: no picture of one machine lies in the history."""
    assert len(NOTEBOOKS) == 3
    for path in NOTEBOOKS:
        for cell in json.loads(path.read_text())["cells"]:
            assert not cell.get("outputs"), path.name
            assert cell.get("execution_count") is None, path.name


@pytest.mark.slow
@pytest.mark.parametrize("builder", ["html", "doctest"])
def test_the_site_builds_without_a_warning(builder, tmp_path):
    line = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", builder, str(DOCS), str(tmp_path)]
    done = subprocess.run(line, capture_output=True, text=True, env=environment(), check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    if builder == "html":
        pages = [path.read_text() for path in tmp_path.rglob("*.html")]
        outside = re.compile(r"""<(?:script|link|img)[^>]*(?:src|href)="(https?:[^"]*)""")
        fetched = {url for page in pages for url in outside.findall(page)}
        assert fetched == set()
