"""The report as one self-contained page and as Markdown: the same sections, the same figures."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from shared.report_page.evaluation_tables import evaluation_sections
from shared.report_page.gap_figures import KnowledgeGaps
from shared.report_page.gap_tables import gap_section
from shared.report_page.plots import draw, marker
from shared.report_page.stamp import Stamp
from shared.report_page.tables import Section, Table

TITLE = "SKIM: what the labels are worth"
_MARKDOWN = re.compile(r"([\\`*_|\[\]~#])")


def report_sections(
    evaluation: Mapping[str, Any], gaps: KnowledgeGaps | None = None
) -> list[Section]:
    """Return all parts of the report, in the order they are read.

    Raises:
        InvalidInput: the evaluation holds no arms.
    """
    sections = evaluation_sections(evaluation)
    return sections if gaps is None else [*sections, gap_section(gaps)]


def as_page(sections: Sequence[Section]) -> str:
    """Return HTML that needs nothing beside it: no script, no font, no request; texts are escaped."""
    environment = Environment(
        loader=ChoiceLoader(
            [PackageLoader("services.training.report_page"), PackageLoader("shared.report_page")]
        ),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["drawn"] = draw
    environment.filters["marker"] = lambda style: marker(style, 17, 7)
    return environment.get_template("page.html").render(title=TITLE, sections=sections)


def as_markdown(sections: Sequence[Section]) -> str:
    """Return the tables under their headings; the plots' points are tables already."""
    parts = [f"# {TITLE}"]
    for section in sections:
        parts.append(f"## {_text(section.heading)}")
        parts += [_text(note) for note in section.notes]
        parts += [_markdown_table(table) for table in section.tables]
        parts.append(_source(section.stamp))
    return "\n\n".join(parts) + "\n"


def _markdown_table(table: Table) -> str:
    rule = ["---" if number < table.texts else "---:" for number in range(len(table.columns))]
    body = [_line(map(_text, row)) for row in (table.columns, *table.rows)]
    return "\n".join([f"**{_text(table.caption)}**", "", body[0], _line(rule), *body[1:]])


def _source(stamp: Stamp) -> str:
    return _text(f"{stamp.date}, {stamp.machine}, commit {stamp.commit}: {stamp.command}")


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _text(text: str) -> str:
    """Return text as Markdown shows it: no markup of it, no HTML."""
    return _MARKDOWN.sub(r"\\\1", html.escape(text, quote=False))
