import re
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path

import orjson
import pytest
from fastapi.testclient import TestClient

from services.dashboard.app import build_app
from services.dashboard.routes.site import NAVIGATION
from services.dashboard.settings import DashboardSettings
from shared.contracts.reviews import ReviewVerdict
from tests.support.documents import revision_of
from tests.support.evaluations import evaluation
from tests.support.operated_suite import BUNDLES, HOSTILE, OperatedSuite, write_reports

ORIGIN = "http://testserver"


@contextmanager
def operated(suite: OperatedSuite, home: Path, **settings: str | float) -> Iterator[TestClient]:
    app = build_app(
        suite.common(home=home),
        DashboardSettings(**settings),  # type: ignore[arg-type]
        suite.transport(),
    )
    with TestClient(app, base_url=ORIGIN) as client:
        yield client


@pytest.fixture
def suite() -> OperatedSuite:
    return OperatedSuite()


@pytest.fixture
def client(suite: OperatedSuite, tmp_path: Path) -> Iterator[TestClient]:
    write_reports(tmp_path)
    with operated(suite, tmp_path) as client:
        yield client


@pytest.fixture(scope="module")
def reading(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A client for tests that change nothing."""
    home = tmp_path_factory.mktemp("home")
    write_reports(home)
    with operated(OperatedSuite(), home) as client:
        yield client


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


def token_of(client: TestClient, path: str = "/reviews") -> str:
    found = re.search(r'name="csrf_token" value="([0-9a-f]{64})"', client.get(path).text)
    assert found
    return found[1]


def post(client: TestClient, path: str, **fields: str) -> str:
    """Send a form as a browser would; return the page it leads to."""
    data = {"csrf_token": token_of(client), **fields}
    answer = client.post(path, data=data, headers={"origin": ORIGIN})
    assert answer.status_code == 200, answer.text
    return answer.text


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
        ("/documents/ad-3", ["It is number", "slm-1", "encoder-1", "orchestra"]),
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


# Actions


def test_a_job_is_cancelled(client: TestClient, suite: OperatedSuite) -> None:
    page = post(client, f"/jobs/{suite.running.id}:cancel")

    assert "The job is cancelled" in page
    assert suite.cancelled == {suite.running.id} or "cancelled</span>" in page


def test_chosen_dead_letters_are_replayed_in_a_job(client: TestClient) -> None:
    page = post(client, "/dead-letters:replay", document_id="broken-1")

    assert "taken in again" in page
    assert "2 in all" in client.get("/dead-letters").text


def test_all_dead_letters_are_purged(client: TestClient) -> None:
    page = post(client, "/dead-letters:purge", which="all")

    assert "Dead letters purged: 3." in page
    assert "None." in client.get("/dead-letters").text


def test_purging_without_a_choice_purges_nothing(client: TestClient) -> None:
    answer = client.post(
        "/dead-letters:purge",
        data={"csrf_token": token_of(client)},
        headers={"origin": ORIGIN},
    )

    assert answer.status_code == 422
    assert "3 in all" in client.get("/dead-letters").text


def test_verdicts_are_kept_and_not_asked_for_again(
    client: TestClient, suite: OperatedSuite
) -> None:
    post(client, "/reviews", **{"verdict/ad-1/q1": "reject", "verdict/ad-1/q2": ""})

    reviews = list(suite.store.iterate_reviews())
    assert [(each.document_id, each.query_id, each.verdict) for each in reviews] == [
        ("ad-1", "q1", ReviewVerdict.REJECT)
    ]
    pages = [client.get(f"/reviews?seed={seed}").text for seed in range(40)]
    assert any("verdict/ad-1/q2" in page for page in pages)
    assert not any("verdict/ad-1/q1" in page for page in pages)


def test_a_verdict_is_taken_back_where_it_is_shown(
    client: TestClient, suite: OperatedSuite
) -> None:
    field = "verdict/ad-1/q1"
    page = post(client, "/reviews", **{field: "accept", "document": "ad-1"})

    assert '<option value="">accepted</option>' in page
    post(client, "/reviews", **{field: "withdraw", "document": "ad-1"})
    assert list(suite.store.iterate_reviews()) == []


def test_a_verdict_on_a_label_that_is_gone_is_shown(
    client: TestClient, suite: OperatedSuite
) -> None:
    post(client, "/reviews", **{"verdict/ad-1/q3": "reject"})
    document = suite.store.document("ad-1")
    suite.store.write_labels("ad-1", revision_of(document, index_version=1_765_000_000_000_000))

    assert re.search(r"q3</span>: rejected", client.get("/documents/ad-1").text)


def test_bundles_are_activated_and_rolled_back(client: TestClient, suite: OperatedSuite) -> None:
    post(client, f"/bundles/{BUNDLES[0]}:activate")
    activated = suite.served
    post(client, "/bundles:rollback")

    assert (activated, suite.served) == BUNDLES


def test_two_bundles_answer_side_by_side(suite: OperatedSuite, tmp_path: Path) -> None:
    with operated(suite, tmp_path, compare_url="http://comparison") as client:
        page = client.get("/search?query=oboe").text

    assert BUNDLES[0] in page
    assert BUNDLES[1] in page
    assert "there number" in page


def test_a_filter_goes_along(reading: TestClient) -> None:
    page = reading.get("/search", params={"query": "oboe", "filter": '{"kind": "woodwind"}'}).text

    assert "2 ads in" in page


# Who may act


@pytest.mark.parametrize(
    ("token", "origin", "session"),
    [
        ("", ORIGIN, True),
        ("0" * 64, ORIGIN, True),
        (None, ORIGIN, False),
        (None, "http://evil.example", True),
        (None, "null", True),
        (None, None, True),
    ],
)
def test_a_form_that_no_page_of_ours_sent_is_refused(
    client: TestClient,
    suite: OperatedSuite,
    token: str | None,
    origin: str | None,
    session: bool,
) -> None:
    ours = token_of(client)
    if not session:
        client.cookies.clear()
    answer = client.post(
        f"/bundles/{BUNDLES[0]}:activate",
        data={"csrf_token": ours if token is None else token},
        headers={} if origin is None else {"origin": origin},
    )

    assert answer.status_code == 403
    assert suite.served == BUNDLES[1]


def test_a_form_from_another_site_is_refused_whatever_it_holds(
    client: TestClient, suite: OperatedSuite
) -> None:
    answer = client.post(
        "/bundles:rollback",
        data={"csrf_token": token_of(client)},
        headers={"origin": ORIGIN, "sec-fetch-site": "cross-site"},
    )

    assert answer.status_code == 403
    assert suite.served == BUNDLES[1]


def test_a_token_of_another_session_is_refused(client: TestClient) -> None:
    of_another = token_of(client)
    client.cookies.clear()
    token_of(client)
    answer = client.post(
        "/bundles:rollback", data={"csrf_token": of_another}, headers={"origin": ORIGIN}
    )

    assert answer.status_code == 403


def test_the_session_is_for_this_site_and_no_script(reading: TestClient) -> None:
    reading.cookies.clear()
    cookie = reading.get("/").headers["set-cookie"].lower()

    assert "httponly" in cookie
    assert "samesite=strict" in cookie


@pytest.mark.parametrize(
    "path", ["/jobs/x:cancel", "/dead-letters:replay", "/dead-letters:purge", "/reviews"]
)
def test_every_action_wants_a_form_of_ours(reading: TestClient, path: str) -> None:
    assert reading.post(path, data={"which": "all"}).status_code == 403
    assert reading.post(path, json={}).status_code == 403


# What is not there


def test_what_a_service_does_not_offer_is_said_in_a_line(tmp_path: Path) -> None:
    suite = OperatedSuite()
    app = suite.apps["inference"]
    app.router.routes = [r for r in app.router.routes if "/v1/bundles" not in str(r)]
    with operated(suite, tmp_path) as client:
        page = client.get("/bundles").text

    assert "This inference service does not offer it (GET /v1/bundles)." in page
    assert "/bundles:reload" in page


def test_with_everything_down_each_page_says_so(tmp_path: Path) -> None:
    suite = OperatedSuite()
    suite.apps.clear()
    with operated(suite, tmp_path) as client:
        pages = {path: client.get(path) for path, _ in NAVIGATION}

    assert {page.status_code for page in pages.values()} == {200}
    for path in ("/jobs", "/dead-letters", "/reviews", "/bundles"):
        assert "does not answer at" in pages[path].text


def test_a_failed_action_says_why(reading: TestClient) -> None:
    answer = reading.post(
        "/bundles/unknown:activate",
        data={"csrf_token": token_of(reading)},
        headers={"origin": ORIGIN},
    )

    assert answer.status_code == 404
    assert "there is no bundle" in answer.text


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
