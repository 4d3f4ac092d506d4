import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from structlog.testing import capture_logs

from shared.errors import InvalidInput
from shared.keys import Scope, add_key, new_key
from shared.settings import CommonSettings
from shared.web import create_app
from shared.web.access import access_of, is_loopback
from shared.web.scopes import scope_of

CHANGES = {"POST", "PUT", "PATCH", "DELETE"}


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    yield


async def check_ready(_: FastAPI) -> None:
    pass


def service(settings: CommonSettings) -> FastAPI:
    app = create_app("test", "A service.", lifespan, check_ready=check_ready, max_body_bytes=100)

    @app.get("/v1/ads")
    async def ads() -> str:
        return "ads"

    @app.post("/v1/documents")
    async def documents() -> str:
        return "taken"

    @app.post("/v1/bundles:reload")
    async def reload() -> str:
        return "reloaded"

    @app.get("/v1/broken")
    async def broken() -> None:
        raise RuntimeError("broken")

    app.state.access = access_of(settings)
    return app


class Guarded:
    """A service that asks for keys, and a key of each scope."""

    def __init__(self, folder: Path, requests_per_second: float = 1_000) -> None:
        self.keys = {scope.value: self._made(folder, scope.value, [scope]) for scope in Scope}
        settings = CommonSettings.model_construct(
            home=folder, requests_per_second=requests_per_second
        )
        self.client = TestClient(service(settings))

    def _made(self, folder: Path, name: str, scopes: list[Scope]) -> str:
        token, key = new_key(name, scopes)
        add_key(folder / "keys", key)
        return token

    def ask(self, method: str, path: str, key: str | None = None) -> httpx.Response:
        headers = {"authorization": f"Bearer {self.keys[key]}"} if key else {}
        return self.client.request(method, path, headers=headers)


@pytest.fixture
def guarded(tmp_path: Path) -> Guarded:
    return Guarded(tmp_path)


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("GET", "/v1/ads", "read"),
        ("HEAD", "/v1/ads", "read"),
        ("GET", "/openapi.json", "read"),
        ("POST", "/v1/documents", "ingest"),
        ("POST", "/v1/bundles:reload", "admin"),
    ],
)
def test_a_key_opens_what_its_scope_says_and_nothing_else(
    guarded: Guarded, method: str, path: str, scope: str
) -> None:
    statuses = {key: guarded.ask(method, path, key).status_code for key in guarded.keys}

    assert statuses.pop(scope) in (200, 405)
    assert set(statuses.values()) == {403}


def test_the_answer_without_a_key_says_what_to_send(guarded: Guarded) -> None:
    answer = guarded.ask("GET", "/v1/ads")

    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    schemes = [each.split()[0] for each in answer.headers.get_list("www-authenticate")]
    assert schemes == ["Bearer", "Basic"]
    assert answer.json()["type"] == "urn:skim:problem:unauthorized"
    assert "Authorization: Bearer" in answer.json()["detail"]


def test_a_wrong_key_is_refused_and_not_repeated(guarded: Guarded) -> None:
    wrong = "skim_read_" + "0" * 64
    answer = guarded.client.get("/v1/ads", headers={"x-api-key": wrong})

    assert answer.status_code == 401
    assert wrong not in answer.text + str(answer.headers)


def test_a_path_that_is_not_there_is_told_to_those_with_a_key_only(guarded: Guarded) -> None:
    assert guarded.ask("GET", "/v1/none").status_code == 401
    assert guarded.ask("GET", "/v1/none", "read").status_code == 404


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics"])
def test_what_watches_a_process_needs_no_key_and_knows_no_limit(tmp_path: Path, path: str) -> None:
    guarded = Guarded(tmp_path, requests_per_second=1)

    assert {guarded.ask("GET", path).status_code for _ in range(5)} == {200}


def test_a_key_may_come_as_x_api_key(guarded: Guarded) -> None:
    headers = {"x-api-key": guarded.keys["read"]}

    assert guarded.client.get("/v1/ads", headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("path", "method", "site", "is_taken"),
    [
        ("ads", "GET", {}, True),
        ("documents", "POST", {}, False),
        ("documents", "POST", {"sec-fetch-site": "cross-site"}, False),
        ("documents", "POST", {"sec-fetch-site": "same-site"}, False),
        ("documents", "POST", {"sec-fetch-site": "same-origin"}, True),
    ],
)
def test_a_browser_may_show_a_key_as_password_to_read_and_to_act_on_our_own_pages(
    guarded: Guarded, path: str, method: str, site: dict[str, str], is_taken: bool
) -> None:
    key = guarded.keys["read" if method == "GET" else "ingest"]
    shown = base64.b64encode(f"anyone:{key}".encode()).decode()

    answer = guarded.client.request(
        method, f"/v1/{path}", headers={"authorization": f"Basic {shown}", **site}
    )
    assert (answer.status_code == 401) is not is_taken


@pytest.mark.parametrize(
    "value", ["", "Bearer", "Bearer ", "Basic", "Basic !!", "Basic /w==", "x"]
)
def test_a_header_that_shows_no_key_is_no_key(guarded: Guarded, value: str) -> None:
    answer = guarded.client.get("/v1/ads", headers={"authorization": value})

    assert answer.status_code == 401


def test_too_many_requests_of_a_key_are_told_when_to_come_back(tmp_path: Path) -> None:
    guarded = Guarded(tmp_path, requests_per_second=2)

    answers = [guarded.ask("GET", "/v1/ads", "read") for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[-1].json()["type"] == "urn:skim:problem:too-many-requests"
    assert int(answers[-1].headers["retry-after"]) == 1
    assert guarded.ask("POST", "/v1/documents", "ingest").status_code == 200


def test_guessing_keys_is_limited_as_well(tmp_path: Path) -> None:
    guarded = Guarded(tmp_path, requests_per_second=2)

    statuses = [guarded.ask("GET", "/v1/ads").status_code for _ in range(4)]

    assert statuses == [401, 401, 429, 429]
    assert guarded.ask("GET", "/v1/ads", "read").status_code == 200


def test_a_refusal_is_counted_and_has_a_request_id(guarded: Guarded) -> None:
    answer = guarded.ask("GET", "/v1/ads")

    assert answer.headers["x-request-id"]
    assert 'status="401"' in guarded.client.get("/metrics").text


def test_without_any_key_the_refusal_says_how_to_make_one(tmp_path: Path) -> None:
    client = TestClient(service(CommonSettings.model_construct(home=tmp_path)))

    assert "skim keys create" in client.get("/v1/ads").json()["detail"]


def test_a_malformed_key_in_the_environment_ends_the_start(tmp_path: Path) -> None:
    settings = CommonSettings(home=tmp_path, keys="feed read secret-by-mistake")  # type: ignore[arg-type]

    with pytest.raises(InvalidInput, match="SKIM_KEYS, line 1") as caught:
        access_of(settings)

    assert "secret-by-mistake" not in str(caught.value)


@pytest.mark.parametrize("method", sorted(CHANGES))
@pytest.mark.parametrize(
    "path", ["/v1/anything", "/v1/documents:purge", "/v2/documents", "/", "//v1/documents"]
)
def test_a_change_that_nobody_thought_of_needs_admin(method: str, path: str) -> None:
    assert scope_of(method, path) is Scope.ADMIN


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("DELETE", "/v1/dead-letters", "admin"),
        ("POST", "/v1/dead-letters:replay", "admin"),
        ("POST", "/v1/bundles/v1:activate", "admin"),
        ("POST", "/v1/bundles:rollback", "admin"),
        ("POST", "/v1/index:reload", "admin"),
        ("POST", "/v1/remaps", "admin"),
        ("PUT", "/v1/ads", "ingest"),
        ("PATCH", "/v1/ads", "ingest"),
        ("DELETE", "/v1/ads", "ingest"),
        ("DELETE", "/v1/ads/7", "ingest"),
        ("POST", "/v1/ads:batch", "read"),
        ("POST", "/v1/documents", "ingest"),
        ("DELETE", "/v1/documents/7", "ingest"),
        ("POST", "/v1/jobs/7:cancel", "ingest"),
        ("PUT", "/v1/train-queries", "ingest"),
        ("GET", "/v1/dead-letters", "read"),
        ("GET", "/v1/jobs/7/events", "read"),
        ("GET", "/metrics", None),
    ],
)
def test_a_request_needs_the_scope_of_what_it_does(
    method: str, path: str, scope: str | None
) -> None:
    assert scope_of(method, path) == scope


def test_a_method_that_nobody_thought_of_needs_admin() -> None:
    assert scope_of("get", "/v1/anything") is Scope.ADMIN


def without_keys(tmp_path: Path, base_url: str) -> TestClient:
    settings = CommonSettings.model_construct(home=tmp_path, auth="off")
    return TestClient(service(settings), base_url=base_url)


@pytest.mark.parametrize("host", ["127.0.0.1:8100", "localhost", "[::1]:8100", "127.9.9.9"])
def test_with_keys_off_programs_of_this_machine_come_in(tmp_path: Path, host: str) -> None:
    client = without_keys(tmp_path, f"http://{host}")

    assert client.post("/v1/documents").status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "10.0.0.1", "[", ""])
def test_with_keys_off_a_page_that_rebound_its_name_stays_out(tmp_path: Path, host: str) -> None:
    client = without_keys(tmp_path, "http://127.0.0.1")

    assert client.get("/v1/ads", headers={"host": host}).status_code == 403


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://127.0.0.1:8104", 200),
        ("https://evil.example", 403),
        ("http://127.0.0.1:1", 403),
        ("null", 403),
    ],
)
def test_with_keys_off_no_other_page_may_ask(tmp_path: Path, origin: str, status: int) -> None:
    client = without_keys(tmp_path, "http://127.0.0.1:8104")

    answer = client.post("/v1/documents", headers={"origin": origin})
    assert answer.status_code == status


def test_with_keys_off_an_address_is_limited(tmp_path: Path) -> None:
    settings = CommonSettings.model_construct(home=tmp_path, auth="off", requests_per_second=1)
    client = TestClient(service(settings), base_url="http://127.0.0.1")

    assert [client.get("/v1/ads").status_code for _ in range(2)] == [200, 429]


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("::1", True), ("0.0.0.0", False), ("::", False), ("x", False)],  # noqa: S104
)
def test_loopback_is_this_machine_alone(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


def test_the_openapi_document_says_which_scope_a_route_needs(guarded: Guarded) -> None:
    paths = guarded.ask("GET", "/openapi.json", "read").json()["paths"]

    assert paths["/v1/documents"]["post"]["security"] == [
        {"bearer": ["ingest"]},
        {"header": ["ingest"]},
    ]
    assert {"401", "403", "429"} <= set(paths["/v1/documents"]["post"]["responses"])
    assert "security" not in paths["/livez"]["get"]
    assert not {"401", "403", "429"} & set(paths["/livez"]["get"]["responses"])


def test_a_limit_of_ones_own_goes_before_the_services(tmp_path: Path) -> None:
    token, key = new_key("slow", [Scope.READ], 1)
    add_key(tmp_path / "keys", key)
    client = TestClient(service(CommonSettings.model_construct(home=tmp_path)))

    statuses = [client.get("/v1/ads", headers={"x-api-key": token}).status_code for _ in range(2)]

    assert statuses == [200, 429]


def test_no_log_line_holds_a_key(guarded: Guarded) -> None:
    keys = [*guarded.keys.values(), "skim_read_" + "0" * 64]

    with capture_logs() as logs:
        for key in keys:
            for path in ("/v1/ads", "/v1/broken"):
                guarded.client.get(path, headers={"x-api-key": key})

    assert [entry["event"] for entry in logs] == ["unexpected_error"]
    assert not [key for key in keys if key.rpartition("_")[2] in str(logs)]
