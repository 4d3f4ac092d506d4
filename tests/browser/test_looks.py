"""Every page fits every window, light and dark, bars nobody, says when there is nothing, and runs nothing of a document."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from services.dashboard.routes.site import NAVIGATION
from tests.browser.conftest import Operated
from tests.browser.looking import SCHEMES, WIDTHS, outside
from tests.browser.pages import PAGES, address_of

pytestmark = pytest.mark.browser

Open = Callable[..., Any]
SERIOUS = {"serious", "critical"}
READ = "main :is(h1, h2, h3, th, dt, legend, label, summary, a)"


@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_its_window_and_runs_nothing_of_a_document(
    looked_at: Operated, open_page: Open, screenshots: Path, name: str
) -> None:
    page = open_page(address_of(looked_at, name))

    assert outside(page, name, screenshots) == {}
    assert page.title() != "owned"
    assert page.locator("img").count() == 0
    assert [each for each in page.complaints if "status of 404" not in each] == []


@pytest.mark.parametrize("link", [link for link, _ in NAVIGATION])
@pytest.mark.parametrize("state", ["new", "away"])
def test_a_page_without_anything_to_show_says_so_and_fits(
    request: pytest.FixtureRequest, open_page: Open, screenshots: Path, state: str, link: str
) -> None:
    page = open_page(request.getfixturevalue(state).url + link)
    name = f"{state}-{link.strip('/') or 'overview'}"

    assert outside(page, name, screenshots) == {}
    assert page.locator("h1").inner_text()
    assert page.locator("main :is(p, .missing, .empty, form)").count() > 0
    assert page.complaints == []


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", PAGES)
def test_a_page_has_no_serious_barrier(
    looked_at: Operated, open_page: Open, axe: str, name: str, width: int
) -> None:
    page = open_page(address_of(looked_at, name), width)
    page.evaluate(axe)
    barriers = []
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme)
        found = page.evaluate("axe.run(document)")
        assert found["passes"]
        barriers += [
            (scheme, each["id"], each["nodes"][0]["html"][:200])
            for each in found["violations"]
            if each["impact"] in SERIOUS
        ]

    assert barriers == []


@pytest.mark.parametrize("name", PAGES)
def test_a_page_reads_the_same_without_javascript(
    looked_at: Operated, open_page: Open, name: str
) -> None:
    address = address_of(looked_at, name)
    with_script = open_page(address).locator(READ).all_inner_texts()
    without = open_page(address, java_script_enabled=False).locator(READ).all_inner_texts()

    assert without == with_script
    assert without


def test_the_browser_runs_no_script_style_or_image_that_is_not_ours(
    looked_at: Operated, open_page: Open
) -> None:
    page = open_page(looked_at.url)
    page.evaluate(
        """() => {
          const made = (tag, fields) => Object.assign(document.createElement(tag), fields);
          document.body.append(
            made("script", { textContent: "document.title = 'owned'" }),
            made("script", { src: "http://127.0.0.1:9/foreign.js" }),
            made("style", { textContent: "h1 { color: rgb(1, 2, 3) }" }),
            made("img", { src: "http://127.0.0.1:9/foreign.png" }),
          );
        }"""
    )
    page.wait_for_timeout(200)

    assert page.title() != "owned"
    assert page.locator("h1").evaluate("e => getComputedStyle(e).color") != "rgb(1, 2, 3)"
    refused = [each for each in page.complaints if "Content Security Policy" in each]
    assert len(refused) == 4


def test_a_report_is_opened_from_the_list(looked_at: Operated, open_page: Open) -> None:
    page = open_page(f"{looked_at.url}/reports")
    page.get_by_role("link", name="reports/gaps.json").click()

    assert page.get_by_role("heading", name="Knowledge gaps", exact=True).is_visible()
    assert page.locator("svg.plot").count() == 2
