"""Templates filled in, with everything that is put into them escaped."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from markupsafe import Markup

from dsmooth.report.cells import one_line

__all__ = ["TEMPLATES", "filled", "page"]

TEMPLATES: Final = Path(__file__).parent / "templates"
"""Of whole pages."""

_TURNS: Final = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def filled(template: Path, **values: Any) -> Markup:
    """The Jinja template with these values, escaped unless they are Markup; it can include others of its folder."""
    return Markup(_environment(template.parent).get_template(template.name).render(values))


def page(template: Path, *, styles: Sequence[str], script: str | None = None, **values: Any) -> Markup:
    """A whole page, which extends page.html: beside these values it gets `style`, `script` (from TEMPLATES) and `policy`.

    Under the policy a browser applies no other style or script, and fetches nothing.
    """
    style = "".join((TEMPLATES / name).read_text() for name in styles)
    code = "" if script is None else (TEMPLATES / script).read_text()
    policy = "; ".join(
        [
            "default-src 'none'",
            "img-src data:",
            f"style-src {_source(style)}",
            "script-src " + (_source(code) if code else "'none'"),
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )
    return filled(template, style=Markup(style), script=Markup(code), policy=Markup(policy), **values)


def _source(text: str) -> str:
    """A style or a script as the policy refers to it, by its hash."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@lru_cache
def _environment(folder: Path) -> Any:
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder), autoescape=True, undefined=jinja2.StrictUndefined, finalize=_upright
    )


def _upright(value: Any) -> Any:
    r"""Text without direction overrides such as \u202e, after which 19 votes would read 91."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return "".join(one_line(c) if c in _TURNS else c for c in value)
