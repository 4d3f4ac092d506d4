"""The operators' pages in a real browser, fed over real HTTP. Needs Debian's chromium: `pytest -m browser`."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shared.contracts.augmentation import JobState
from tests.browser.conftest import Operated
from tests.support.documents import document_of
from tests.support.operated_suite import BUNDLES

pytestmark = pytest.mark.browser

Open = Callable[..., Any]
PAGES = {
    "overview": "/",
    "jobs": "/jobs",
    "job": "/jobs/{running}",
    "failed-job": "/jobs/{failed}",
    "dead-letters": "/dead-letters",
    "documents": "/documents",
    "document": "/documents/ad-3",
    "hostile-document": "/documents/hostile",
    "search": "/search?query=oboe&k=13&explain=ad-1",
    "reviews": "/reviews?seed=1",
    "reports": "/reports",
    "evaluation": "/reports/reports/evaluation.json",
    "gaps": "/reports/reports/gaps.json",
    "bundles": f"/bundles?a={BUNDLES[0]}&b={BUNDLES[1]}",
    "problem": "/documents/unknown",
}
OUTSIDE = """() => {
  const width = document.documentElement.clientWidth;
  const isScrolled = e => e.parentElement.closest(".wide");
  const isSeen = e => !e.closest(".hidden, .skip, thead") && e.getBoundingClientRect().width;
  const boxes = [...document.querySelectorAll("main *")].filter(e => isSeen(e) && !isScrolled(e));
  const outside = boxes.filter(e => e.getBoundingClientRect().right > width + 0.5);
  const page = document.documentElement.scrollWidth > width ? [`page is ${document.documentElement.scrollWidth}`] : [];
  return page.concat(outside.map(e => e.outerHTML.slice(0, 120)));
}"""
"""What is past the window's right edge, but for tables that scroll in their box."""
SERIOUS = {"serious", "critical"}


def address_of(operated: Operated, name: str) -> str:
    suite = operated.suite
    return operated.url + PAGES[name].format(running=suite.running.id, failed=suite.failed.id)


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_its_window_and_runs_nothing_of_a_document(
    looked_at: Operated, open_page: Open, screenshots: Path, name: str, width: int
) -> None:
    page = open_page(address_of(looked_at, name), width)
    page.screenshot(path=screenshots / f"{name}-{width}.png", full_page=True)
    too_wide = page.evaluate(OUTSIDE)

    assert too_wide == []
    assert page.title().count("owned") <= page.title().count("<script>")
    assert [each for each in page.complaints if "status of 404" not in each] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_has_no_serious_barrier(
    looked_at: Operated, open_page: Open, axe: str, name: str, scheme: str
) -> None:
    page = open_page(address_of(looked_at, name), color_scheme=scheme)
    page.evaluate(axe)
    found = page.evaluate("axe.run(document)")

    barriers = [
        (each["id"], each["nodes"][0]["html"][:200])
        for each in found["violations"]
        if each["impact"] in SERIOUS
    ]
    assert found["passes"]
    assert barriers == []


def test_the_overview_goes_on_by_itself_and_can_be_paused(
    operated: Operated, open_page: Open
) -> None:
    page = open_page(operated.url)
    operated.suite.store.accept([document_of(f"more-{number}") for number in range(1_000)])
    page.locator("#flow", has_text="1,030").wait_for()
    page.get_by_role("button", name="Pause updating").click()
    updates = page.evaluate("document.body.dataset.updates")
    page.wait_for_timeout(2_500)

    assert int(updates) >= 1
    assert page.evaluate("document.body.dataset.updates") == updates
    assert page.get_by_role("button", name="Go on updating").is_visible()


def test_updating_leaves_the_focus_where_it_is(operated: Operated, open_page: Open) -> None:
    page = open_page(operated.url)
    link = page.locator("#flow a", has_text="augmentation")
    link.focus()
    operated.suite.store.accept([document_of(f"more-{number}") for number in range(1_000)])
    page.locator("#flow", has_text="1,030").wait_for()

    assert page.evaluate("document.activeElement.id") == "part-augmentation"


def test_what_needs_a_person_appears_on_an_open_page(operated: Operated, open_page: Open) -> None:
    page = open_page(operated.url)
    operated.suite.is_mapping_ready = False
    page.wait_for_selector("text=mapping is not ready")

    assert "mapping" in page.locator(".part.wait h3").all_inner_texts()
    assert page.title().startswith("2 need you")


def test_a_job_is_cancelled(operated: Operated, open_page: Open) -> None:
    page = open_page(f"{operated.url}/jobs")
    page.get_by_role("link", name=operated.suite.running.id).click()
    page.get_by_text("Cancel this job…").click()
    page.get_by_role("button", name="Yes, cancel this job").click()

    page.wait_for_selector("text=The job is cancelled")
    is_over = operated.suite.store.job(operated.suite.running.id).state not in (
        JobState.ACCEPTED,
        JobState.RUNNING,
    )
    assert operated.suite.cancelled or is_over


def test_a_job_s_progress_moves_on_an_open_page_and_what_was_opened_stays_open(
    operated: Operated, open_page: Open
) -> None:
    running = operated.suite.running
    page = open_page(f"{operated.url}/jobs/{running.id}")
    page.get_by_text("Cancel this job…").click()
    operated.suite.store.finish_document(running.id, "new-20", labels=3)
    page.locator("#job dd", has_text="29").wait_for()

    assert page.locator("#job progress").get_attribute("value") == "11"
    assert page.get_by_role("button", name="Yes, cancel this job").is_visible()


def test_dead_letters_are_replayed_and_purged(operated: Operated, open_page: Open) -> None:
    page = open_page(f"{operated.url}/dead-letters")
    page.get_by_label("Choose broken-1").check()
    page.get_by_role("button", name="Replay those chosen").click()
    page.wait_for_selector("text=taken in again")
    page.goto(f"{operated.url}/dead-letters")
    left = page.locator("main").inner_text()
    page.get_by_label("Choose broken-0").check()
    page.get_by_role("button", name="Purge those chosen").click()
    page.wait_for_selector("text=Dead letters purged: 1.")
    page.get_by_text("Purge all…").click()
    page.get_by_role("button", name="Yes, purge all").click()
    page.wait_for_selector("text=Dead letters purged: 1.")

    assert "2 in all" in left
    assert "None." in page.locator("main").inner_text()


def test_all_dead_letters_are_replayed(operated: Operated, open_page: Open) -> None:
    page = open_page(f"{operated.url}/dead-letters")
    page.get_by_text("Replay all…").click()
    page.get_by_role("button", name="Yes, replay all").click()
    page.wait_for_selector("text=taken in again")

    assert "/jobs/" in page.url
    assert "3" in page.locator("#job").inner_text()


def test_a_document_is_looked_up_and_its_label_judged(operated: Operated, open_page: Open) -> None:
    page = open_page(f"{operated.url}/documents")
    page.get_by_label("Document id").fill("ad-3")
    page.get_by_role("button", name="Look up").click()
    page.get_by_label("Verdict on double reed 2").select_option("reject")
    page.get_by_role("button", name="Save verdicts").click()
    page.wait_for_selector("text=Verdicts kept: 1.")
    kept = [
        (each.document_id, each.query_id, each.verdict)
        for each in operated.suite.store.iterate_reviews()
    ]
    page.get_by_label("Verdict on double reed 2").select_option("withdraw")
    page.get_by_role("button", name="Save verdicts").click()
    page.wait_for_selector("text=Verdicts kept: 1.")

    assert kept == [("ad-3", "q2", "reject")]
    assert list(operated.suite.store.iterate_reviews()) == []


def test_labels_are_reviewed(operated: Operated, open_page: Open) -> None:
    page = open_page(f"{operated.url}/reviews")
    page.locator(".question").nth(0).get_by_label("right", exact=True).check()
    page.locator(".question").nth(1).get_by_label("wrong", exact=True).check()
    page.get_by_role("button", name="Save verdicts").click()
    page.wait_for_selector("text=Verdicts kept: 2.")

    verdicts = sorted(each.verdict for each in operated.suite.store.iterate_reviews())
    assert verdicts == ["accept", "reject"]


def test_a_query_is_asked_filtered_and_explained(operated: Operated, open_page: Open) -> None:
    page = open_page(f"{operated.url}/search")
    page.get_by_label("Query").fill("double reed")
    page.get_by_label("Filter (JSON)").fill('{"kind": "woodwind"}')
    page.get_by_role("button", name="Search").click()
    page.wait_for_selector("text=2 ads in")
    columns = page.locator(".results h2").all_inner_texts()
    page.get_by_role("link", name=re.compile("^Why oboe number 0")).click()
    page.wait_for_selector("text=Labels that taught it")

    assert columns == [BUNDLES[1], BUNDLES[0]]
    assert "double reed" in operated.suite.queries
    assert page.get_by_label("Filter (JSON)").input_value() == '{"kind": "woodwind"}'


def test_bundles_are_compared_activated_and_rolled_back(
    operated: Operated, open_page: Open
) -> None:
    page = open_page(f"{operated.url}/bundles")
    page.get_by_label(f"Compare with {BUNDLES[0]}", exact=True).check()
    page.get_by_role("button", name="Compare metrics").click()
    page.wait_for_selector("text=-0.105")
    page.get_by_text(f"Activate {BUNDLES[0]}…").click()
    page.get_by_role("button", name=f"Yes, activate {BUNDLES[0]}").click()
    page.wait_for_selector("text=This bundle is served now.")
    activated = operated.suite.served
    page.get_by_text("Roll back…").click()
    page.get_by_role("button", name="Yes, roll back").click()
    page.wait_for_selector("text=The bundle before is served again.")

    assert (activated, operated.suite.served) == BUNDLES


def test_a_report_is_opened_from_the_list(looked_at: Operated, open_page: Open) -> None:
    page = open_page(f"{looked_at.url}/reports")
    page.get_by_role("link", name="reports/gaps.json").click()

    assert page.get_by_role("heading", name="Knowledge gaps", exact=True).is_visible()
    assert page.locator("svg.plot").count() == 2


def test_everything_can_be_read_and_done_without_javascript(
    operated: Operated, open_page: Open
) -> None:
    page = open_page(f"{operated.url}/bundles", java_script_enabled=False)
    page.get_by_text("Roll back…").click()
    page.get_by_role("button", name="Yes, roll back").click()
    page.wait_for_selector("text=The bundle before is served again.")
    page.goto(operated.url)

    assert operated.suite.served == BUNDLES[0]
    assert "1,69" not in page.locator("#flow").inner_text()
    assert "13" in page.locator("#flow").inner_text()


def test_a_keyboard_suffices(operated: Operated, open_page: Open) -> None:
    page = open_page(f"{operated.url}/bundles")
    page.keyboard.press("Tab")
    first = page.evaluate("document.activeElement.textContent")
    page.keyboard.press("Enter")
    for _ in range(30):
        page.keyboard.press("Tab")
        if "Roll back" in page.evaluate("document.activeElement.textContent"):
            break
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=The bundle before is served again.")

    assert first == "Skip to the page"
    assert operated.suite.served == BUNDLES[0]


def test_another_site_cannot_act(operated: Operated, open_page: Open, tmp_path: Path) -> None:
    foreign = tmp_path / "foreign.html"
    foreign.write_text(
        f'<form method="post" action="{operated.url}/bundles:rollback"><button>win</button></form>'
    )
    page = open_page(f"{operated.url}/bundles")
    page.goto(foreign.as_uri())
    page.get_by_role("button").click()
    page.wait_for_selector("text=That did not work")

    assert operated.suite.served == BUNDLES[1]
