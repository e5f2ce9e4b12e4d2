"""Templates filled in, with everything that is put into them escaped."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from markupsafe import Markup

__all__ = ["TEMPLATES", "filled"]

TEMPLATES: Final = Path(__file__).parent / "templates"
"""Of whole pages."""


def filled(template: Path, **values: Any) -> Markup:
    """The Jinja template with these values, escaped unless they are Markup; it can include others of its folder."""
    return Markup(_environment(template.parent).get_template(template.name).render(values))


@lru_cache
def _environment(folder: Path) -> Any:
    import jinja2

    return jinja2.Environment(loader=jinja2.FileSystemLoader(folder), autoescape=True, undefined=jinja2.StrictUndefined)
