"""What an operator does on the pages, in a real browser: by mouse, by keyboard, without JavaScript, and who may not."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from shared.contracts.augmentation import JobState
from shared.keys import Scope, new_key
from shared.settings import CommonSettings
from shared.web.access import access_of
from tests.browser.conftest import Operated
from tests.support.operated_suite import BUNDLES

pytestmark = pytest.mark.browser

Open = Callable[..., Any]
SCOPES = {"looks": [Scope.READ], "acts": [Scope.READ, Scope.ADMIN]}


def test_a_job_is_cancelled(operated: Operated, open_page: Open) -> None:
    page = open_page(f"{operated.url}/jobs")
    page.get_by_role("link", name=operated.suite.running.id).click()
    page.get_by_text("Cancel this job…").click()
    page.get_by_role("button", name="Yes, cancel this job").click()

    page.wait_for_selector("text=The job is cancelled")
    assert page.locator("#job .state", has_text="cancelled").is_visible()
    assert operated.suite.store.job(operated.suite.running.id).state is JobState.CANCELLED


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

    assert columns == [f"{BUNDLES[1]} served", f"{BUNDLES[0]} to compare"]
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


def test_a_key_that_may_read_opens_the_pages_and_only_one_that_may_change_acts(
    operated: Operated, open_page: Open
) -> None:
    keys = {name: new_key(name, scopes) for name, scopes in SCOPES.items()}
    lines = ";".join(key.line() for _, key in keys.values())
    operated.app.state.access = access_of(CommonSettings(auth="keys", keys=SecretStr(lines)))

    def page_of(name: str) -> Any:  # noqa: ANN401
        shown = {"username": "anyone", "password": keys[name][0]}
        return open_page(f"{operated.url}/bundles", http_credentials=shown)

    refused = httpx.get(f"{operated.url}/bundles", trust_env=False)
    looking = page_of("looks")
    roll_back(looking)
    looking.wait_for_selector("text=lacks the scope")
    before = operated.suite.served
    acting = page_of("acts")
    roll_back(acting)
    acting.wait_for_selector("text=The bundle before is served again.")

    assert refused.status_code == 401
    assert (before, operated.suite.served) == (BUNDLES[1], BUNDLES[0])


def roll_back(page: Any) -> None:  # noqa: ANN401
    page.get_by_text("Roll back…").click()
    page.get_by_role("button", name="Yes, roll back").click()
