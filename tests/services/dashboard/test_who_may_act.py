import pytest
from fastapi.testclient import TestClient

from tests.services.dashboard.operating import ORIGIN, token_of
from tests.support.operated_suite import BUNDLES, OperatedSuite


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
