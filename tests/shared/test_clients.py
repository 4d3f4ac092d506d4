import httpx
import pytest

from shared.clients import ServiceClient
from shared.errors import Starting, Unavailable


def _client(status: int, kind: str = "", detail: str = "") -> ServiceClient:
    body = {"type": f"urn:skim:problem:{kind}", "detail": detail} if kind else {}
    transport = httpx.MockTransport(lambda _: httpx.Response(status, json=body))
    return ServiceClient("http://service", transport=transport)


def test_a_ready_service_lacks_nothing() -> None:
    assert _client(200).why_not_ready() is None


def test_a_service_that_waits_for_something_says_what() -> None:
    client = _client(503, "unavailable", "run `skim models build`")

    assert client.why_not_ready() == "run `skim models build`"


def test_a_service_that_still_loads_is_not_one_that_lacks_something() -> None:
    with pytest.raises(Starting, match="still loading"):
        _client(503, "starting", "still loading").why_not_ready()


def test_a_service_that_does_not_answer_is_unavailable() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    client = ServiceClient("http://service", transport=httpx.MockTransport(refuse))

    with pytest.raises(Unavailable, match="no answer"):
        client.why_not_ready()


def test_an_answer_that_is_no_problem_is_named_by_its_status() -> None:
    assert _client(500).why_not_ready() == "GET /readyz: HTTP 500"
