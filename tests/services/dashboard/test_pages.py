from html.parser import HTMLParser
from pathlib import Path

import orjson
import pytest
from fastapi.testclient import TestClient

from services.dashboard.routes.site import NAVIGATION
from tests.services.dashboard.operating import operated
from tests.support.evaluations import evaluation
from tests.support.operated_suite import BUNDLES, HOSTILE, OperatedSuite


class Tags(HTMLParser):
    """Collects tags, and the attributes that a hostile text would have to write."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs


PAGES = [
    *(link for link, _ in NAVIGATION),
    "/documents/ad-3",
    "/documents/hostile",
    "/search?query=oboe&explain=ad-1",
    "/reports/reports/evaluation.json",
    "/reports/reports/gaps.json",
    f"/bundles?a={BUNDLES[0]}&b={BUNDLES[1]}",
    "/documents/unknown",
]


@pytest.mark.parametrize("path", PAGES)
def test_no_page_holds_script_or_style_of_its_own_nor_anything_foreign(
    reading: TestClient, path: str
) -> None:
    answer = reading.get(path)
    seen = Tags(answer.text)

    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe-inline" not in policy
    assert answer.text.count("<script") == answer.text.count('<script src="/static/live.js" defer')
    assert not {"style", "img", "iframe"} & set(seen.tags)
    assert not [name for name, _ in seen.attributes if name == "style" or name.startswith("on")]
    assert all(
        str(value).startswith(("/", "#"))
        for name, value in seen.attributes
        if name in ("href", "src", "action")
    )


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/", ["documents", "1 thing needs a person", "2 d ago", "3 h ago"]),
        ("/jobs", ["10 of 40", "13 of 13", "failed"]),
        ("/dead-letters", ["3 in all", "broken-1", "the SLM answered nothing"]),
        (
            "/documents/ad-3",
            ["oboe number 3", "1693", "reed instrument", "double reed 2", "0.850"],
        ),
        ("/documents/ad-3", ["It is number 6", 'class="own" value="6"', "slm-1", "encoder-1"]),
        ("/documents/ad-3", ["orchestra", "2025-11-24 16:00:00"]),
        ("/search?query=oboe&explain=ad-1", ["oboe number 1", BUNDLES[1], "0.41", "trained"]),
        ("/reviews", ["verdicts so far", "Reached from"]),
        ("/reports", ["reports/gaps.json", "knowledge gaps", "evaluation", "no report of ours"]),
        ("/reports/reports/evaluation.json", ["clicks + SKIM", "60.0", "Recall against exposure"]),
        ("/reports/reports/gaps.json", ["Knowledge gaps", "75.0", "skim gaps x"]),
        (f"/bundles?a={BUNDLES[0]}&b={BUNDLES[1]}", ["+0.105", "served", "the one before"]),
    ],
)
def test_a_page_shows_what_the_services_say(
    reading: TestClient, path: str, shown: list[str]
) -> None:
    page = reading.get(path).text

    assert [each for each in shown if each not in page] == []


@pytest.mark.parametrize(
    "path",
    [
        "/documents/hostile",
        "/dead-letters",
        "/search?query=oboe&k=50",
        "/reports/reports/gaps.json",
    ],
)
def test_hostile_text_is_text(reading: TestClient, path: str) -> None:
    page = reading.get(path).text

    assert "&lt;script&gt;document.title" in page
    assert "{{ 7*7 }}" in page


def test_hostile_parameters_are_text(reading: TestClient) -> None:
    page = reading.get("/search", params={"query": HOSTILE, "filter": HOSTILE}).text

    assert "<script>" not in page
    assert "&lt;script&gt;document.title" in page


def test_an_address_can_put_no_words_on_a_page(reading: TestClient) -> None:
    page = reading.get("/bundles?done=call+0900&n=call+0900").text

    assert "0900" not in page


def test_two_bundles_answer_side_by_side(suite: OperatedSuite, tmp_path: Path) -> None:
    with operated(suite, tmp_path, compare_url="http://comparison") as client:
        page = client.get("/search?query=oboe").text

    assert f"behind each, its place in {BUNDLES[0]}" in page
    assert f"behind each, its place in {BUNDLES[1]}" in page
    assert "there 10" in page


def test_a_filter_goes_along(reading: TestClient) -> None:
    page = reading.get("/search", params={"query": "oboe", "filter": '{"kind": "woodwind"}'}).text

    assert "2 ads in" in page


def test_what_a_service_does_not_offer_is_said_in_a_line(tmp_path: Path) -> None:
    suite = OperatedSuite()
    app = suite.apps["inference"]
    app.router.routes = [r for r in app.router.routes if "/v1/bundles" not in str(r)]
    with operated(suite, tmp_path) as client:
        page = client.get("/bundles").text

    assert "This inference service does not offer it (GET /v1/bundles)." in page
    assert "/bundles:reload" in page


def test_a_suite_that_is_new_says_on_each_page_that_there_is_nothing(tmp_path: Path) -> None:
    with operated(OperatedSuite(is_new=True), tmp_path) as client:
        pages = {path: client.get(path).text for path, _ in NAVIGATION}

    assert "All is well" in pages["/"]
    assert "No jobs yet" in pages["/"]
    assert "No jobs yet" in pages["/jobs"]
    assert "None." in pages["/dead-letters"]
    assert "There are no labels yet." in pages["/reviews"]
    assert "None yet." in pages["/reports"]


def test_with_everything_down_each_page_says_so(tmp_path: Path) -> None:
    suite = OperatedSuite()
    suite.apps.clear()
    with operated(suite, tmp_path) as client:
        pages = {path: client.get(path) for path, _ in NAVIGATION}

    assert {page.status_code for page in pages.values()} == {200}
    for path in ("/jobs", "/dead-letters", "/reviews", "/bundles"):
        assert "does not answer at" in pages[path].text


@pytest.mark.parametrize("name", ["../secret.json", "reports/../../secret.json", "/etc/passwd"])
def test_a_report_is_looked_up_and_never_a_path(
    client: TestClient, tmp_path: Path, name: str
) -> None:
    (tmp_path.parent / "secret.json").write_bytes(orjson.dumps(evaluation()))

    assert client.get(f"/reports/{name.replace('.', '%2e')}").status_code == 404


def test_a_report_that_is_none_is_not_shown(reading: TestClient) -> None:
    assert reading.get("/reports/reports/other.json").status_code == 422


def test_what_needs_a_person_is_said_first(suite: OperatedSuite, client: TestClient) -> None:
    suite.is_mapping_ready = False
    page = client.get("/").text

    assert "mapping is not ready: no train-query index" in page
    assert '<li class="part service wait">' in page
    assert "<script>document" not in page


def test_the_overview_shows_the_traffic_of_routes_that_work(
    suite: OperatedSuite, tmp_path: Path
) -> None:
    with operated(suite, tmp_path, sample_seconds=0.01) as client:
        overviews = (client.get("/v1/overview").json() for _ in range(500))
        next(each for each in overviews if each["traffic"]["inference"])
        for _ in range(3):
            client.get("/search?query=oboe")
        traffic = next(
            each["traffic"]["inference"]
            for each in overviews
            if each["traffic"]["inference"]["p99_ms"] is not None
        )
        page = client.get("/").text

    assert traffic["requests_per_second"] > 0
    assert traffic["errors"] == 0
    assert " ms</dd>" in page
