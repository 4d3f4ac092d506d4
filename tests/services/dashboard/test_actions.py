import re

from fastapi.testclient import TestClient

from shared.contracts.reviews import ReviewVerdict
from tests.services.dashboard.operating import ORIGIN, post, token_of
from tests.support.documents import revision_of
from tests.support.operated_suite import BUNDLES, OperatedSuite


def test_a_job_is_cancelled(client: TestClient, suite: OperatedSuite) -> None:
    page = post(client, f"/jobs/{suite.running.id}:cancel")

    assert "The job is cancelled" in page
    assert '<span class="state cancelled">cancelled</span>' in page


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


def test_a_failed_action_says_why(reading: TestClient) -> None:
    answer = reading.post(
        "/bundles/unknown:activate",
        data={"csrf_token": token_of(reading)},
        headers={"origin": ORIGIN},
    )

    assert answer.status_code == 404
    assert "there is no bundle" in answer.text
