import re
from html.parser import HTMLParser

import pytest

from services.training.report_page.render import as_markdown, as_page, report_sections
from tests.support.evaluations import evaluation, knowledge_gaps

HOSTILE = (
    '<script>alert(1)</script>"><img src=x onerror=alert(2)> | `code` [a](http://b) \u202e\x1b[31m'
)


class Page(HTMLParser):
    """The elements of a page, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def page(text: str = "oboe") -> Page:
    return Page(as_page(report_sections(evaluation(), knowledge_gaps(text))))


def test_hostile_texts_are_shown_as_text() -> None:
    shown = page(HOSTILE)

    assert not shown.all("script")
    assert not shown.all("img")
    assert "<script>alert(1)</script>" in shown.text
    assert "\u202e" not in shown.text
    assert "\x1b" not in shown.text


def test_hostile_names_in_the_evaluation_are_shown_as_text() -> None:
    named = {HOSTILE: {HOSTILE: {HOSTILE: {"recall_at_100": 0.5}}}}
    shown = Page(as_page(report_sections(named | {"command": HOSTILE})))

    assert not shown.all("script")
    assert not shown.all("img")


def test_hostile_texts_end_neither_a_cell_nor_the_markdown() -> None:
    plain = as_markdown(report_sections(evaluation(), knowledge_gaps()))
    hostile = as_markdown(report_sections(evaluation(), knowledge_gaps(HOSTILE)))

    def cells(text: str) -> list[int]:
        return [len(re.findall(r"(?<!\\)\|", line)) for line in text.splitlines()]

    assert cells(hostile) == cells(plain)
    assert "<script" not in hostile
    assert not re.search(r"(?<!\\)\]\(", hostile)


def test_the_page_asks_nobody_for_anything() -> None:
    shown = page()
    text = as_page(report_sections(evaluation(), knowledge_gaps()))

    assert not [tag for tag, _ in shown.elements if tag in {"script", "link", "img", "iframe"}]
    assert "url(" not in text
    assert "@import" not in text
    assert all(str(link["href"]).startswith("#") for link in shown.all("a"))


def test_a_reader_without_eyes_finds_his_way() -> None:
    shown = page()
    ids = [attributes["id"] for _, attributes in shown.elements if "id" in attributes]
    named = [
        name
        for _, attributes in shown.elements
        for name in str(attributes.get("aria-labelledby") or "").split()
    ]

    assert len(ids) == len(set(ids))
    assert set(named) <= set(ids)
    assert len(shown.all("caption")) == len(shown.all("table")) > 0
    assert all(header["scope"] in {"col", "row"} for header in shown.all("th"))
    assert len(shown.all("desc")) == sum(svg.get("role") == "img" for svg in shown.all("svg")) > 0
    assert (len(shown.all("h1")), shown.all("html")[0]["lang"]) == (1, "en")


def test_every_link_leads_to_a_part() -> None:
    shown = page()
    ids = {attributes.get("id") for _, attributes in shown.elements}

    assert {str(link["href"])[1:] for link in shown.all("a")} <= ids


def test_every_figure_has_date_machine_command_and_commit() -> None:
    for text in (page().text, as_markdown(report_sections(evaluation(), knowledge_gaps()))):
        for part in ("2026-11-25", "a machine", "abc123", "skim evaluate things --json"):
            assert part in text
        assert "another machine" in text


def test_markdown_and_page_show_the_same_figures() -> None:
    markdown = as_markdown(report_sections(evaluation(), knowledge_gaps()))

    assert "| clicks + SKIM | 15.0 | 30.0 \\[29.0, 31.0\\] | 60.0 \\[59.0, 61.0\\] |" in markdown
    assert "| documents without a click | 6 (60.0%) |" in markdown
    assert re.search(r"60\.0\s+\[59\.0, 61\.0\]", page().text)


@pytest.mark.parametrize("scheme", [0, 1])
def test_texts_and_lines_stand_out_from_what_is_behind_them(scheme: int) -> None:
    style = as_page(report_sections(evaluation()))
    colours = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", style.split(":root {")[1 + scheme]))

    for name in ("ink", "soft", "link", "s0", "s1", "s2", "s3"):
        for behind in ("page", "card"):
            assert contrast(colours[name], colours[behind]) >= 4.5, (name, behind)


def contrast(one: str, other: str) -> float:
    """Return the contrast of WCAG 2: 1 to 21."""
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    channels = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
