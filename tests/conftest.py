import os
import shutil
import signal
import sys

import pytest
from hypothesis import settings

from dsmooth.backends import choice

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OMP_NUM_THREADS", "1")

# a shell that starts the tests in the background has them ignore this, and so would the programs that they interrupt
signal.signal(signal.SIGINT, signal.default_int_handler)

# a busy machine is no failure, and a failure must come again
settings.register_profile("house", deadline=None, derandomize=True)
settings.load_profile("house")


def pytest_collection_modifyitems(items):
    """Slow tests get an hour: forty million votes take minutes, and on a busy machine many."""
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.timeout(3600))


@pytest.fixture(autouse=True, scope="session")
def _a_processor_without_bf16():
    """What runs by default is the same on every machine: the networks as they are. Who tests the choice undoes this."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(choice, "has_bf16", lambda: False)
        yield


@pytest.fixture
def page(tmp_path, monkeypatch):
    """A page of docs by its path, to be followed in a folder of its own, in which photos/ lies."""
    from pages import Page, with_photos

    with_photos(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    return lambda name: Page(name, tmp_path, monkeypatch)


@pytest.fixture(scope="module")
def browser():
    """Chromium, driven by playwright; what needs it is skipped where one of them is missing."""
    program = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chrome")
    if program is None:
        pytest.skip("needs a browser: apt-get install chromium")
    playwright = pytest.importorskip("playwright.sync_api", reason="drives the browser (extra dev)")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield opened
        opened.close()
