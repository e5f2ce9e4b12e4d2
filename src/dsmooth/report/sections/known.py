"""The sections of a report, in the order in which they stand on the page."""

from __future__ import annotations

from typing import Final

from dsmooth.registry import Registry
from dsmooth.report.sections.base import RunSection, Section

__all__ = ["SECTIONS", "sections_in"]

SECTIONS: Final = Registry(
    "section",
    {
        "totals": "dsmooth.report.sections.totals:Totals",
        "subjects": "dsmooth.report.sections.subjects:Subjects",
        "accuracy": "dsmooth.report.sections.accuracy:Accuracy",
        "differences": "dsmooth.report.sections.differences:Differences",
        "controls": "dsmooth.report.sections.controls:Controls",
        "curve": "dsmooth.report.sections.curve:Curve",
        "images": "dsmooth.report.sections.images:Images",
        "classes": "dsmooth.report.sections.classes:Classes",
        "light": "dsmooth.report.sections.light:Light",
        "covers": "dsmooth.report.sections.covers:Covers",
        "attack": "dsmooth.report.sections.attack:UnderAttack",
        "question": "dsmooth.report.sections.question:Asked",
    },
)


def sections_in(registry: Registry) -> list[Section | RunSection]:
    """The sections of the registry, in its order; raises BadParameter for a row that is no section."""
    sections = [registry.load(name)() for name in registry]
    for name, section in zip(registry, sections, strict=True):
        if not isinstance(section, Section | RunSection):
            raise registry.error(
                f"{registry.kind} {name} must be a Section or a RunSection, got {type(section).__name__}"
            )
    return sections
