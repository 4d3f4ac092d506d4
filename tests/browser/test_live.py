"""Open pages bring themselves up to date, and disturb nobody."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.browser.conftest import Operated
from tests.support.documents import document_of

pytestmark = pytest.mark.browser

Open = Callable[..., Any]


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
