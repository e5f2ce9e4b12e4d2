"""A folder with one good thing of each kind, so that each row of the catalogue spoils exactly one."""

import numpy as np
import pytest
from PIL import Image

from support import dsmooth


@pytest.fixture(scope="session")
def good_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("good")
    pixels = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3)).astype(np.uint8)
    np.savez(folder / "images.npz", images=pixels, labels=[0, 1, 1])
    arguments = ["certify", folder / "images.npz", "-c", "import:support:Linear", "-d", "none", "--n", "20"]
    done = dsmooth(*arguments, "-o", folder / "run", "--certificates", folder / "certificates")
    assert done.code == 0, done.err
    return folder


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for i, name in enumerate(("dark", "light")):
        (tmp_path / "images" / name).mkdir(parents=True)
        for j in range(2):
            pixels = np.random.default_rng(2 * i + j).integers(0, 60, (8, 8, 3)) + 190 * i
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "images" / name / f"{j}.png")
    np.savez(tmp_path / "arrays.npz", images=np.zeros((2, 8, 8, 3), np.uint8))
    monkeypatch.chdir(tmp_path)
    return tmp_path
