import httpx
import pytest

from shared.clients import InferenceClient, ServiceClient
from shared.errors import KeyRefused, Starting, Unavailable


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


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_is_told_at_once_and_can_be_waited_on(status: int) -> None:
    asked = []

    def refuse(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(status, json={"detail": "the key is not known here"})

    client = InferenceClient("http://service", transport=httpx.MockTransport(refuse))

    with pytest.raises(KeyRefused, match="not known here") as caught:
        client.ad("a")
    assert isinstance(caught.value, Unavailable)
    assert len(asked) == 1


def test_the_key_of_the_settings_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKIM_API_KEY", " skim_me_1\n")
    seen = []

    def ready(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers.get("authorization"))
        return httpx.Response(200)

    transport = httpx.MockTransport(ready)
    ServiceClient("http://service", transport=transport).is_ready()
    ServiceClient("http://service", headers={}, transport=transport).is_ready()

    assert seen == ["Bearer skim_me_1", None]
