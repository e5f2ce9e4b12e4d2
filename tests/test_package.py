"""What is uploaded: sdist and wheel, their metadata and their contents."""

import hashlib
import subprocess
import sys
import tarfile
import zipfile

import pytest

from dsmooth.denoisers.names import SHIPPED
from support import ROOT


def ran(*line):
    done = subprocess.run([sys.executable, "-m", *map(str, line)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    ran("build", "--no-isolation", "--outdir", folder, ROOT)
    return next(folder.glob("*.tar.gz")), next(folder.glob("*.whl"))


@pytest.mark.slow
def test_the_index_would_take_the_metadata(built):
    assert ran("twine", "check", "--strict", *built).count("PASSED") == 2


@pytest.mark.slow
def test_the_wheel_holds_the_package_and_nothing_else(built):
    with zipfile.ZipFile(built[1]) as wheel:
        names = set(wheel.namelist())
        for name, digest in SHIPPED.items():
            shipped = wheel.read(f"dsmooth/denoisers/shipped/{name}.safetensors")
            assert hashlib.sha256(shipped).hexdigest() == digest
    source = ROOT / "src"
    wanted = {
        str(path.relative_to(source))
        for path in (source / "dsmooth").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {name for name in names if ".dist-info/" not in name} == wanted
    assert {"dsmooth/py.typed", "dsmooth/report/templates/report.js"} <= wanted


@pytest.mark.slow
def test_the_sdist_holds_what_its_tests_need(built):
    with tarfile.open(built[0]) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    assert {"README.md", "LICENSE", "CHANGELOG.md", "pyproject.toml", "tests/support.py", "docs/theory.md"} <= names
    assert not [name for name in names if name.startswith((".", "dist/", "docs/_build")) and name != ".gitignore"]


def test_every_extra_is_documented():
    import tomllib

    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    told = (ROOT / "docs" / "install.md").read_text()
    assert [name for name in extras if name not in ("dev", "docs") and f"`{name}`" not in told] == []
