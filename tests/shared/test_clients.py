from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from shared.circuit_breaker import CircuitBreaker
from shared.clients import InferenceClient, MappingClient, ServiceClient
from shared.contracts.mapping import MappingInfo
from shared.errors import KeyRefused, Starting, Unanswered, Unavailable
from shared.retry_budget import RetryBudget


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


class Service:
    """Answers with the next of its answers, the last one again and again; an exception is raised."""

    def __init__(self, *answers: httpx.Response | type[httpx.HTTPError]) -> None:
        self.answers = list(answers)
        self.paths: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.paths.append(request.url.path)
        if request.url.path == "/readyz":
            return httpx.Response(200)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, type):
            raise answer("broken", request=request)
        return answer


def _asking(service: Service, **options: Any) -> MappingClient:  # noqa: ANN401  (its own)
    return MappingClient("http://service", transport=httpx.MockTransport(service), **options)


@pytest.mark.parametrize("status", [502, 504])
def test_what_a_service_took_and_did_not_answer_is_told_apart(status: int) -> None:
    with pytest.raises(Unanswered):
        _asking(Service(httpx.Response(status)), attempts=1).info()


@pytest.mark.parametrize("error", [httpx.ReadTimeout, httpx.RemoteProtocolError, httpx.ReadError])
def test_a_call_that_broke_off_may_have_been_taken(error: type[httpx.HTTPError]) -> None:
    with pytest.raises(Unanswered):
        _asking(Service(error), attempts=1).info()


@pytest.mark.parametrize("answer", [httpx.ConnectError, httpx.Response(503), httpx.Response(429)])
def test_a_call_that_was_never_taken_is_no_ones_fault(
    answer: httpx.Response | type[httpx.HTTPError],
) -> None:
    with pytest.raises(Unavailable) as raised:
        _asking(Service(answer), attempts=1).info()

    assert not isinstance(raised.value, Unanswered)


def test_a_wary_client_does_not_repeat_what_may_have_broken_the_service() -> None:
    service = Service(httpx.ReadError)

    with pytest.raises(Unanswered):
        _asking(service, attempts=5, is_wary=True).info()

    assert len(service.paths) == 1


def test_retries_end_with_their_budget() -> None:
    service = Service(httpx.Response(503))
    budget = RetryBudget(share=0.0, most=1)

    for _ in range(2):
        with pytest.raises(Unavailable):
            _asking(service, attempts=5, budget=budget).info()

    assert len(service.paths) == 3


def test_an_open_circuit_lets_only_a_probe_through_and_then_calls_again() -> None:
    seconds = [0.0]
    breaker = CircuitBreaker("mapping", failures=2, pause_seconds=1.0, now=lambda: seconds[0])
    info = MappingInfo(encoder="e", train_queries=1, min_similarity=0.6, neighbours=1)
    service = Service(
        httpx.ConnectError,
        httpx.ReadError,
        httpx.Response(200, content=info.model_dump_json()),
    )
    client = _asking(service, attempts=1, breaker=breaker)
    for _ in range(4):
        with pytest.raises(Unavailable):
            client.info()
    seconds[0] = 1.0

    assert client.info() == info

    assert service.paths == ["/v1/info", "/v1/info", "/readyz", "/v1/info"]


def test_a_refusal_is_an_answer_and_opens_no_circuit() -> None:
    breaker = CircuitBreaker("mapping", failures=1)
    service = Service(httpx.Response(503))
    client = _asking(service, attempts=1, breaker=breaker)

    for _ in range(3):
        with pytest.raises(Unavailable):
            client.info()

    assert service.paths == ["/v1/info"] * 3


def test_an_answer_without_end_is_cut_off() -> None:
    sent = []

    def flood() -> Iterator[bytes]:
        for _ in range(1_000):
            sent.append(1)
            yield b" " * 1_000_000

    service = Service(httpx.Response(200, content=flood()))

    with pytest.raises(Unanswered, match="an answer of more than 64,000,000 bytes"):
        _asking(service, attempts=1).info()

    assert len(sent) < 70
