"""The page in a real browser. Needs Debian's chromium: `pytest -m browser`."""

import json
import re
import shutil
import subprocess
from html import escape, unescape
from pathlib import Path

import pytest

from services.training.report_page.render import as_page, report_sections
from tests.support.evaluations import evaluation, knowledge_gaps

CHROMIUM = shutil.which("chromium")
HOST = """<!doctype html><iframe style="width: {width}px; height: 2000px; border: 0" srcdoc="{page}"></iframe>
<pre id="probe"></pre><script>addEventListener("load", () => {{
  const page = document.querySelector("iframe").contentDocument;
  const boxes = [...page.querySelectorAll(".wide, figure, .plot")];
  document.getElementById("probe").textContent = JSON.stringify({{
    width: page.documentElement.clientWidth,
    page: Math.max(page.documentElement.scrollWidth, page.body.scrollWidth),
    widest: Math.max(...boxes.map(box => box.getBoundingClientRect().right)),
    scrolling: boxes.filter(box => box.scrollWidth > box.clientWidth + 1).length,
  }});
}});</script>"""
LONG = "an unbroken-" + "word" * 60 + " and <b>many</b> more words " * 8

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium: apt-get install chromium"),
]


def probed(folder: Path, width: int) -> dict[str, float]:
    """Return what is measured of the page in a frame of a width: no window is as narrow as a phone."""
    page = as_page(report_sections(evaluation(), knowledge_gaps(LONG)))
    host = HOST.format(width=width, page=escape(page))
    (folder / "page.html").write_text(host, encoding="utf-8")
    finished = subprocess.run(  # noqa: S603  (a fixed command)
        [
            str(CHROMIUM),
            *("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
            f"--user-data-dir={folder / 'profile'}",
            "--window-size=1400,2100",
            "--dump-dom",
            (folder / "page.html").as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found = re.search(r'<pre id="probe">(.*?)</pre>', finished.stdout)
    assert found, finished.stderr[-1000:]
    measured: dict[str, float] = json.loads(unescape(found[1]))
    return measured


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_never_scrolls_sideways(tmp_path: Path, width: int) -> None:
    measured = probed(tmp_path, width)

    assert measured["width"] == width
    assert measured["page"] <= width
    assert measured["widest"] <= width


def test_on_a_phone_wide_tables_scroll_in_their_box(tmp_path: Path) -> None:
    assert probed(tmp_path, 390)["scrolling"] > 0
