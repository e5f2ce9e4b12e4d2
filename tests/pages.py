"""Pages of the documentation, followed: their files are written, their rows added, their code and commands run."""

import ast
import importlib
import importlib.util
import re
import shlex
import sys
import textwrap
from pathlib import Path

import numpy as np
from PIL import Image

from dsmooth.theory.laws import known
from support import ROOT, dsmooth

BLOCK = re.compile(r"^( *)```([^\n]*)\n(.*?)^\1```$", re.M | re.S)


class Page:
    """One page of docs, followed in a folder of its own. Nothing of dsmooth is changed on the disk."""

    def __init__(self, name, folder, monkeypatch):
        self.text = (ROOT / "docs" / name).read_text()
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


def with_photos(folder):
    """photos/ in this folder: four images of 16 x 16 pixels, two of each of two classes."""
    for i, name in enumerate(("dark", "light")):
        (folder / "photos" / name).mkdir(parents=True)
        for j in range(2):
            drawn = np.random.default_rng(2 * i + j).integers(0, 60, (16, 16, 3)) + 190 * i
            Image.fromarray(drawn.astype(np.uint8)).save(folder / "photos" / name / f"{j}.png")
