"""Files, headings and pages that a document names are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.commands import DOCUMENTS, ROOT
from tests.support.markdown import anchors_of

NAMED = re.compile(r"`((?:tests|services|shared|loadtests|deploy)/[\w/.*-]+)`")
LINK = re.compile(r"\]\(([^)\s]*)\)")
PAGES = (*DOCUMENTS, "deploy/REFERENCE.md")


def missing_of(path: Path) -> list[str]:
    """Return what a document names of this repository that is not there."""
    text = path.read_text()
    missing = [name for name in NAMED.findall(text) if not any(ROOT.glob(name.rstrip("/")))]
    for link in LINK.findall(text):
        target, _, anchor = link.partition("#")
        if ":" in target:
            continue
        page = (path.parent / target).resolve() if target else path
        if not page.exists() or (anchor and anchor not in anchors_of(page.read_text())):
            missing.append(link)
    return missing


@pytest.mark.parametrize("document", PAGES)
def test_what_a_document_names_is_there(document: str) -> None:
    assert missing_of(ROOT / document) == []


def test_what_is_not_there_is_noticed(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# Here\n`tests/no_such.py` `tests/docs/` [a](#here) [b](#there) [c](none.md) [d](https://e.example/#f)"
    )

    assert missing_of(page) == ["tests/no_such.py", "#there", "none.md"]
