"""The contract of sections: from the summary of runs to one table or picture of the page."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from typing import Final, final

from markupsafe import Markup

from dsmooth.errors import BadParameter
from dsmooth.records.store import Run
from dsmooth.report.summary import Summary

__all__ = ["RunSection", "Section"]

_OUTSIDE: Final = re.compile(r"""\b(?:src|href)\s*=\s*["'](?!data:|#)""")


class Section(ABC):
    """A part of the page that is about all runs together."""

    @final
    def html(self, summary: Summary) -> Markup | None:
        """The part as self-contained HTML; None where there is nothing to show.

        Raises BadParameter for text that is not escaped (anything but Markup), and for a part that fetches something.
        """
        return _checked(self, self._html(summary))

    @abstractmethod
    def _html(self, summary: Summary) -> Markup | None:
        """As `html`, from `dsmooth.report.filling.filled` or `Markup.format`; what comes back is checked there."""


class RunSection(ABC):
    """A part of the page that every run has; consecutive ones are grouped under the heading of their run."""

    @final
    def html(self, summary: Summary, run: Run) -> Markup | None:
        """As Section's, of one of the runs in the summary."""
        return _checked(self, self._html(summary, run))

    @abstractmethod
    def _html(self, summary: Summary, run: Run) -> Markup | None:
        """As Section's."""


def _checked(section: object, html: object) -> Markup | None:
    if html is None:
        return None
    if not isinstance(html, Markup):
        raise BadParameter(f"section {_name(section)} must answer Markup, which is escaped, got {type(html).__name__}")
    if outside := _OUTSIDE.search(html):
        raise BadParameter(
            f"section {_name(section)} must be self-contained, because the page is one file, "
            f"got {html[outside.start() : outside.start() + 80]!r}"
        )
    return html


def _name(section: object) -> str:
    return f"{type(section).__module__}:{type(section).__qualname__}"
