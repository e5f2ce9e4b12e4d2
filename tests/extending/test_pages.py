"""Every page of docs/extending does what it says: its files are written, its rows added, its code and commands run."""

import ast
import importlib
import importlib.util
import math
import re
import shlex
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dsmooth.records.store import read_run
from dsmooth.theory.laws import known
from support import ROOT, dsmooth

BLOCK = re.compile(r"^( *)```([^\n]*)\n(.*?)^\1```$", re.M | re.S)


class Page:
    """One page, followed in a folder of its own. Nothing of dsmooth is changed on the disk."""

    def __init__(self, name, folder, monkeypatch):
        self.text = (ROOT / "docs" / "extending" / name).read_text()
        self.folder, self.monkeypatch = folder, monkeypatch
        self.names = {}
        self.done = []
        """What the commands did."""
        self.touched = []
        """Files of the checkout that the page changes or adds."""

    def follow(self):
        """All blocks, in order: files, rows of registries, Python, commands."""
        for _, info, code in BLOCK.findall(self.text):
            language, path, registry = (*info.split(), "", "", "")[:3]
            code = textwrap.dedent(code)
            if not language:
                for line in code.splitlines():
                    self.command(line)
            elif registry:
                self.row(path, registry, code)
            elif path.startswith("src/"):
                self.module(path, code)
            elif path:
                (self.folder / path).write_text(code)
            else:
                self.forget_modules()
                exec(compile(code, "page", "exec"), self.names)
        return self

    def command(self, line, code=0):
        """A command as in a process of its own, to which nobody has introduced a law."""
        self.monkeypatch.setattr(known, "_INTRODUCED", {})
        self.forget_modules()
        program, *arguments = shlex.split(line)
        assert program == "dsmooth", line
        done = dsmooth(*arguments)
        assert done.code == code, (line, done.out, done.err)
        self.done.append(done)
        return done

    def module(self, path, code):
        """A new file of src, that is imported from where it would lie."""
        assert not (ROOT / path).exists()
        self.touched.append(path)
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(code)
        spec = importlib.util.spec_from_file_location(dotted(path), file)
        made = importlib.util.module_from_spec(spec)
        self.monkeypatch.setitem(sys.modules, dotted(path), made)
        spec.loader.exec_module(made)

    def row(self, path, registry, code):
        """A row more in a registry, above all others."""
        self.touched.append(path)
        held = getattr(importlib.import_module(dotted(path)), registry)
        self.monkeypatch.setattr(held, "_rows", {**ast.literal_eval("{" + code + "}"), **held._rows})

    def forget_modules(self):
        """What lies in the folder is imported anew."""
        for name, module in list(sys.modules.items()):
            file = Path(getattr(module, "__file__", None) or "/")
            if file.parent == self.folder:
                self.monkeypatch.delitem(sys.modules, name)


def dotted(path):
    return path.removeprefix("src/").removesuffix(".py").replace("/", ".")


@pytest.fixture
def page(tmp_path, monkeypatch):
    """A page by name; beside it photos/, four images of 16 x 16 pixels, two of each of two classes."""
    for i, name in enumerate(("dark", "light")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for j in range(2):
            drawn = np.random.default_rng(2 * i + j).integers(0, 60, (16, 16, 3)) + 190 * i
            Image.fromarray(drawn.astype(np.uint8)).save(tmp_path / "photos" / name / f"{j}.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    return lambda name: Page(name, tmp_path, monkeypatch)


def test_a_law_goes_through_the_whole_river(page):
    page = page("add-a-law.md").follow()
    certified, reported, attacked, verified = (done.out for done in page.done)
    assert "4 of 4 images certified, 4 with the right label (laplace 0.2, multiclass bound" in certified
    assert "| laplace | laplace 0.2 | multiclass | 0.0 | 100.0" in reported
    assert "0 flips among 24 attacked images inside certified balls" in attacked
    assert "replay      holds          12 of 12 votes are the same" in verified
    (record, *_) = read_run(page.folder / "runs" / "laplace").records
    assert record.asked.norm == 1
    theorem = -0.2 * math.log(2 * (1 - 0.0009 ** (1 / 200)))  # 200 votes of 200, and .9 of alpha for them
    assert theorem - 2e-9 < float(record.radius) <= theorem

    # for everybody: from its place in the house, nobody has to bring it
    page.module("src/dsmooth/theory/laws/laplace.py", (page.folder / "laplace_noise.py").read_text())
    page.command("dsmooth report runs/laplace")
    assert page.touched == ["src/dsmooth/theory/laws/known.py", "src/dsmooth/theory/laws/laplace.py"]
