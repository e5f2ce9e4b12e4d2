"""Lookup by name: a literal mapping from names to "module:object", loaded on demand.

Adding an entry takes one file and one row. Help texts and errors take the names from here, so no second list exists.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dsmooth.errors import BadInput, BadParameter, DsmoothError

__all__ = ["Registry", "imported"]


class Registry(Mapping[str, str]):
    """Names and the location of each object: BACKENDS = Registry("backend", {"eager": "dsmooth.backends.eager:Eager"}).

    A name with a colon is a form, as in "timm:NAME": it stands for every spec that begins with the same scheme ("timm:").
    A mapping of names to locations, in order of definition; importing it imports none of them.
    """

    def __init__(self, kind: str, rows: Mapping[str, str], error: type[BadInput] = BadParameter) -> None:
        self.kind, self.error = kind, error
        self._rows = dict(rows)

    def __getitem__(self, name: str) -> str:
        return self._rows[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __str__(self) -> str:
        """The names, as messages list them."""
        return ", ".join(self)

    def find(self, spec: str) -> str | None:
        """The name equal to the spec, or the form that has its scheme; None if there is neither."""
        if spec in self:
            return spec
        scheme, colon, _ = spec.partition(":")
        return next((name for name in self if colon and name.startswith(f"{scheme}:")), None)

    def check(self, spec: str) -> str:
        """What `find` finds; raises `error`, listing all names, if that is None."""
        name = self.find(spec)
        if name is None:
            raise self.error(f"{self.kind} must be one of {self}, got {spec[:200]!r}")
        return name

    def load(self, spec: str) -> Any:
        """The object of that name or form; raises `error` for an unknown one."""
        module, _, attribute = self[self.check(spec)].partition(":")
        return getattr(importlib.import_module(module), attribute)


def imported(spec: str, error: type[BadInput] = BadParameter) -> Any:
    """What the factory of import:package.module:factory returns, called without arguments.

    The module must be importable by Python, or be in the current folder. Only for what a user names on the command line
    or in code; raises `error` if anything goes wrong.
    """
    scheme, module_name, name = spec.split(":") if spec.count(":") == 2 else ("", "", "")
    if scheme != "import" or not module_name or not name:
        raise error(f"expected import:package.module:factory, got {spec!r}")
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        factory = getattr(importlib.import_module(module_name), name)
    except (Exception, SystemExit) as wrong:  # a stranger's module may raise anything
        raise error(f"{spec} cannot be imported: {type(wrong).__name__}: {wrong}") from wrong
    try:
        return factory()
    except DsmoothError:
        raise
    except (Exception, SystemExit) as wrong:
        raise error(f"{spec} failed: {type(wrong).__name__}: {wrong}") from wrong
