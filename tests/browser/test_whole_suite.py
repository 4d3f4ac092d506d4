"""The operators' pages on the suite as `skim up` runs it, every action clicked through; only the SLM is a stand-in.

Redis, the services, worker and sweeper are processes of their own, bundles are trained, and a second inference service
serves the bundle from before SKIM.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from loadtests.service import started
from shared.contracts.augmentation import JobState
from shared.contracts.document import Document
from shared.dataset import Dataset, Query, write_dataset
from tests.browser.looking import outside
from tests.chaos.documents import document_of, train_queries
from tests.support.operated_suite import HOSTILE
from tests.support.whole_suite import WholeSuite

pytestmark = pytest.mark.browser

Open = Callable[..., Any]
DOCUMENTS = [
    document_of(number).model_copy(update={"metadata": {"kind": "thing", "number": number}})
    for number in range(20)
] + [Document(id="hostile", title=HOSTILE, text=f"reed wind, {HOSTILE}")]
CLICKS, SKIM = "bundle-clicks", "bundle-skim"
REASON = f"the SLM answered nothing {HOSTILE}"


@dataclass(frozen=True)
class Whole:
    """A suite that runs, where its dashboard is, and the job that everything came from."""

    suite: WholeSuite
    url: str
    job_id: str


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path) -> Iterator[Whole]:
    folder = tmp_path_factory.mktemp("whole")
    with WholeSuite(folder, tiny_encoder) as suite:
        job_id = augment(suite)
        train(suite, CLICKS, "--clicks-only")
        before = folder / "before"
        shutil.copytree(suite.home / "bundles", before / "bundles", symlinks=True)
        (before / "models").symlink_to(suite.home / "models")
        train(suite, SKIM)
        report(suite)
        with started("inference", before) as compared:
            environment = {
                **suite.environment,
                "SKIM_DASHBOARD_COMPARE_URL": compared.url,
                "SKIM_DASHBOARD_REFRESH_SECONDS": "1",
                "SKIM_DASHBOARD_TIMEOUT_SECONDS": "20",
            }
            with started("dashboard", suite.home, environment=environment) as dashboard:
                yield Whole(suite, dashboard.url, job_id)


def augment(suite: WholeSuite) -> str:
    with suite.augmentation() as augmentation:
        job = augmentation.post_documents(DOCUMENTS)
        suite.until(lambda: augmentation.job(job.id).done == len(DOCUMENTS))
    return job.id


def train(suite: WholeSuite, version: str, *options: str) -> None:
    """Train on a log with a few clicks and a few judged queries, and publish."""
    queries = [Query(id=each, text=text) for each, text in train_queries().items()]
    judged = [Query(id=f"v{number}", text="reed wind", split="validation") for number in range(3)]
    clicks = {query.id: {"d00000": 1.0} for query in queries[:3]}
    truth = {each.id: {"d00000": 1.0, "d00003": 1.0} for each in judged}
    write_dataset(suite.data, Dataset(DOCUMENTS, [*queries, *judged], clicks, truth))
    suite.skim("train", str(suite.data), "--tower", "title", "--version", version, *options)
    suite.skim("publish", version)


def report(suite: WholeSuite) -> None:
    """Write the knowledge gaps where the dashboard looks for them."""
    queries = suite.home.parent / "synthetic.jsonl"
    suite.skim("labels", "export-queries", str(queries))
    command = ("gaps", str(suite.data), "--queries", str(queries), "--json")
    done = suite.run_skim(*command)
    assert done.returncode == 0, done.stderr
    (suite.home / "reports").mkdir()
    (suite.home / "reports" / "gaps.json").write_text(done.stdout)


def give_up(suite: WholeSuite, name: str) -> None:
    """Make a dead letter of a document that could be labelled."""
    job = suite.store.accept([Document(id=name, title=name, text="reed wind")])
    suite.store.finish_document(job.id, name, error=REASON)


PAGES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "overview": ("/", ("Documents become labels", SKIM, "generation")),
    "jobs": ("/jobs", ("21 of 21",)),
    "job": ("/jobs/{job}", ("done", "21")),
    "dead-letters": ("/dead-letters", ("Dead letters",)),
    "document": ("/documents/d00000", ("thing 0", "reed", "It is number", "index of (UTC)")),
    "hostile-document": ("/documents/hostile", (HOSTILE, "reed wind")),
    "search": (
        "/search?query=reed+wind&explain=d00000",
        (f"its place in {CLICKS}", f"its place in {SKIM}", "Labels that taught it"),
    ),
    "reviews": ("/reviews", ("verdicts so far", "Reached from")),
    "reports": ("/reports", ("knowledge gaps",)),
    "gaps": ("/reports/reports/gaps.json", ("Coverage of documents", "documents without a click")),
    "bundles": (
        f"/bundles?a={CLICKS}&b={SKIM}",
        ("served", "the one before", "validation: recall@10"),
    ),
}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_shows_the_suite_that_runs_and_fits(
    whole: Whole, open_page: Open, screenshots: Path, name: str
) -> None:
    path, shown = PAGES[name]
    page = open_page(whole.url + path.format(job=whole.job_id))
    text = page.locator("main").inner_text()

    assert [each for each in shown if each not in text] == []
    assert outside(page, f"whole-{name}", screenshots) == {}
    assert page.title() != "owned"
    assert page.complaints == []


def test_an_open_overview_follows_documents_to_labels_and_is_not_loaded_again(
    whole: Whole, open_page: Open
) -> None:
    page = open_page(whole.url)
    page.evaluate("window.isTheSame = true")
    known = page.locator(".part", has_text="known").locator("dd").first
    before = known.inner_text()
    with whole.suite.augmentation() as augmentation:
        augmentation.post_documents([document_of(number) for number in range(100, 110)])
    page.wait_for_function(
        "before => document.querySelector('.part dd').textContent.trim() !== before", arg=before
    )

    assert int(known.inner_text()) > int(before)
    assert page.evaluate("window.isTheSame")
    assert page.complaints == []


def test_a_job_under_way_is_cancelled(whole: Whole, open_page: Open) -> None:
    documents = [document_of(number) for number in range(1_000, 2_000)]
    with whole.suite.augmentation() as augmentation:
        job = augmentation.post_documents(documents)
        page = open_page(f"{whole.url}/jobs")
        page.get_by_role("link", name=job.id).click()
        page.get_by_text("Cancel this job…").click()
        page.get_by_role("button", name="Yes, cancel this job").click()
        page.wait_for_selector("text=The job is cancelled")
        page.locator("#job .state", has_text="cancelled").wait_for()
        whole.suite.until(lambda: augmentation.job(job.id).finished_at is not None)
        over = augmentation.job(job.id)

    assert over.state is JobState.CANCELLED
    assert over.cancelled > 0
    assert over.done + over.cancelled == len(documents)


def test_a_dead_letter_is_replayed_to_its_labels_and_another_purged(
    whole: Whole, open_page: Open
) -> None:
    give_up(whole.suite, "odd-1")
    give_up(whole.suite, "odd-2")
    page = open_page(f"{whole.url}/dead-letters")
    reason = page.locator("tr", has_text="odd-1").inner_text()
    page.get_by_label("Choose odd-1").check()
    page.get_by_role("button", name="Replay those chosen").click()
    page.wait_for_selector("text=taken in again")
    page.locator("#job .state", has_text="done").wait_for()
    page.goto(f"{whole.url}/documents/odd-1")
    labels = page.locator("tbody tr").count()
    page.goto(f"{whole.url}/dead-letters")
    page.get_by_label("Choose odd-2").check()
    page.get_by_role("button", name="Purge those chosen").click()
    page.wait_for_selector("text=Dead letters purged: 1.")

    assert REASON in reason
    assert labels > 0
    assert "None." in page.locator("main").inner_text()


def test_labels_are_accepted_and_rejected_and_a_verdict_is_taken_back(
    whole: Whole, open_page: Open
) -> None:
    page = open_page(f"{whole.url}/reviews")
    questions = page.locator(".question")
    asked = [
        questions.nth(each).locator("input[value=accept]").get_attribute("name") or ""
        for each in (0, 1)
    ]
    questions.nth(0).get_by_label("right", exact=True).check()
    questions.nth(1).get_by_label("wrong", exact=True).check()
    page.get_by_role("button", name="Save verdicts").click()
    page.wait_for_selector("text=Verdicts kept: 2.")
    with whole.suite.augmentation() as augmentation:
        kept = {
            f"verdict/{each.document_id}/{each.query_id}": each.verdict.value
            for each in augmentation.export_reviews()
        }
    document_id = asked[0].split("/")[1]
    page.goto(f"{whole.url}/documents/{document_id}")
    page.locator(f'select[name="{asked[0]}"]').select_option("withdraw")
    page.get_by_role("button", name="Save verdicts").click()
    page.wait_for_selector("text=Verdicts kept: 1.")
    with whole.suite.augmentation() as augmentation:
        left = [each.verdict.value for each in augmentation.export_reviews()]

    assert kept == {asked[0]: "accept", asked[1]: "reject"}
    assert left == ["reject"]


def test_a_query_is_asked_before_and_after_skim_filtered_and_explained(
    whole: Whole, open_page: Open
) -> None:
    page = open_page(f"{whole.url}/search")
    page.get_by_label("Query").fill("reed wind")
    page.get_by_role("button", name="Search").click()
    page.wait_for_selector("text=ads in")
    columns = [each.split("\n")[0] for each in page.locator(".results h2").all_inner_texts()]
    page.get_by_label("Filter (JSON)").fill('{"number": {"lt": 2}}')
    page.get_by_role("button", name="Search").click()
    page.wait_for_selector("text=2 ads in")
    filtered = page.locator(".results section").first.locator(".ads li a:first-child")
    titles = sorted(filtered.all_inner_texts())
    page.get_by_role("link", name=re.compile("^Why thing 0")).click()
    page.wait_for_selector("text=Labels that taught it")
    page.get_by_label("Filter (JSON)").fill("{number")
    page.get_by_role("button", name="Search").click()
    page.wait_for_selector("text=The inference service says")

    assert columns == [f"{SKIM} served", f"{CLICKS} to compare"]
    assert titles == ["thing 0", "thing 1"]


def test_bundles_are_compared_activated_and_rolled_back(whole: Whole, open_page: Open) -> None:
    def served() -> str:
        with whole.suite.inference() as inference:
            return inference.info().generation

    page = open_page(f"{whole.url}/bundles")
    page.get_by_label(f"Compare {SKIM}", exact=True).check()
    page.get_by_label(f"Compare with {CLICKS}", exact=True).check()
    page.get_by_role("button", name="Compare metrics").click()
    page.wait_for_selector("text=difference")
    metrics = page.locator("section table").last.locator("tbody tr").count()
    page.get_by_text(f"Activate {CLICKS}…").click()
    page.get_by_role("button", name=f"Yes, activate {CLICKS}").click()
    page.wait_for_selector("text=This bundle is served now.")
    activated = served()
    page.get_by_text("Roll back…").click()
    page.get_by_role("button", name="Yes, roll back").click()
    page.wait_for_selector("text=The bundle before is served again.")

    assert metrics > 1
    assert (activated, served()) == (CLICKS, SKIM)
