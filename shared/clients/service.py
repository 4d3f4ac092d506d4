"""What all our clients are: httpx with our errors, retries within a budget, and a breaker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self, TypeVar

import httpx
import orjson
import stamina

from shared.circuit_breaker import CircuitBreaker, CircuitOpen
from shared.contracts.base import Contract
from shared.contracts.generation import NDJSON
from shared.errors import (
    Conflict,
    InFlight,
    InvalidInput,
    KeyRefused,
    NotFound,
    SkimError,
    Starting,
    TooLarge,
    Unanswered,
    Unavailable,
)
from shared.retry_budget import RetryBudget
from shared.settings import CommonSettings
from shared.tracing import outgoing

Answer = TypeVar("Answer", bound=Contract)
_PROBE_SECONDS = 2.0
_MAX_ANSWER_BYTES = 64_000_000
"""Far above any answer of ours: a service gone wild must not fill its caller's memory."""
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_NO_ROOM = {429, 503}
_FAILED_OVER_IT = {502, 504}
_ERRORS: dict[int, type[SkimError]] = {
    401: KeyRefused,
    403: KeyRefused,
    404: NotFound,
    409: Conflict,
    413: TooLarge,
    422: InvalidInput,
}


class ServiceClient:
    """A connection pool to one service.

    Calls are retried with growing, jittered waits while the service is unreachable, answers 503 or breaks
    off; so every call here must be safe to repeat.

    Args:
        base_url: where the service listens.
        timeout_seconds: time-out of one attempt.
        attempts: how often a call is tried before `Unavailable` is raised.
        headers: sent with every request; the key of `SKIM_API_KEY` if absent.
        is_wary: a call that the service took and did not answer (`Unanswered`) is not repeated: what was
            asked may be what broke it.
        breaker: keeps calls from a service that is away; its probe is `/readyz`.
        budget: bounds the retries of all calls.
        transport: replaces the network, for tests against the application in process.
    """

    def __init__(
        self,
        base_url: str,
        *,
        timeout_seconds: float = 120.0,
        attempts: int = 5,
        headers: Mapping[str, str] | None = None,
        is_wary: bool = False,
        breaker: CircuitBreaker | None = None,
        budget: RetryBudget | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._attempts = attempts
        self._timeout_seconds = timeout_seconds
        self._is_wary = is_wary
        self._breaker = breaker
        self._budget = budget
        self._http = httpx.Client(
            base_url=base_url,
            timeout=timeout_seconds,
            headers=CommonSettings().authorization if headers is None else headers,
            transport=transport,
            trust_env=False,
        )
        self._http.event_hooks = {"request": [_add_context]}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the connections."""
        self._http.close()

    def is_ready(self) -> bool:
        """Ask `/readyz` once, without retries."""
        try:
            return self._http.get("/readyz", timeout=_PROBE_SECONDS).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False

    def why_not_ready(self) -> str | None:
        """Ask `/readyz` once: None if ready, else the reason it gives.

        Raises:
            Starting: it answers, and is still loading.
            Unavailable: no answer at all.
        """
        try:
            response = self._http.get("/readyz")
        except httpx.HTTPError as error:
            raise Unavailable(f"{self._http.base_url}: no answer") from error
        if response.is_success:
            return None
        if _member_of(response, "type") == "urn:skim:problem:starting":
            raise Starting(_detail_of(response))
        return _detail_of(response)

    def why_hung(self) -> str | None:
        """Ask `/livez` of a worker once: None if it lives or has no page, else the reason it gives.

        Raises:
            Unavailable: something listens and does not answer.
        """
        try:
            response = self._http.get("/livez")
        except httpx.ConnectError:
            return None
        except httpx.HTTPError as error:
            raise Unavailable(f"{self._http.base_url}: no answer") from error
        is_hung = response.status_code == httpx.codes.SERVICE_UNAVAILABLE
        return response.text.strip() if is_hung else None

    def _call(
        self,
        answer: type[Answer],
        method: str,
        path: str,
        *,
        body: Contract | None = None,
        lines: Sequence[Contract] = (),
        json_body: Sequence[str] | None = None,
        params: Mapping[str, str | int | list[str]] | None = None,
        timeout_seconds: float | None = None,
    ) -> Answer:
        content = None if body is None else body.model_dump_json()
        if json_body is not None:
            content = orjson.dumps(json_body).decode()
        if lines:
            content = "".join(line.model_dump_json() + "\n" for line in lines)
        request = self._http.build_request(
            method,
            path,
            content=content,
            headers={"content-type": NDJSON if lines else "application/json"},
            params=params,
            timeout=timeout_seconds or self._timeout_seconds,
        )
        if self._budget:
            self._budget.earn()
        for attempt in stamina.retry_context(
            on=self._is_worth_a_retry, attempts=self._attempts, timeout=None
        ):
            with attempt:
                return answer.model_validate_json(self._guarded(request))
        raise AssertionError("unreachable: stamina raises the last error")

    def _is_worth_a_retry(self, error: Exception) -> bool | float:
        """Return whether, or after how many seconds, to try again."""
        if isinstance(error, InFlight):
            return float(error.retry_after_seconds)
        if not isinstance(error, Unavailable) or isinstance(error, CircuitOpen | KeyRefused):
            return False
        if self._is_wary and isinstance(error, Unanswered):
            return False
        return self._budget is None or self._budget.spend()

    def _guarded(self, request: httpx.Request) -> bytes:
        """Send a request if the circuit is closed, and tell the breaker how it went."""
        if self._breaker is None:
            return self._send(request)
        self._breaker.admit(self.is_ready)
        try:
            content = self._send(request)
        except _Silence:
            self._breaker.failed()
            raise
        except SkimError:  # an answer all the same
            self._breaker.succeeded()
            raise
        self._breaker.succeeded()
        return content

    def _send(self, request: httpx.Request) -> bytes:
        place = f"{self._http.base_url}{request.url.path}"
        try:
            response = self._http.send(request, stream=True)
            try:
                content = _read(response)
            finally:
                response.close()
        except _NEVER_SENT as error:
            raise _NotReached(f"{place}: no answer ({error or type(error).__name__})") from error
        except httpx.HTTPError as error:
            raise _BrokenOff(f"{place}: no answer ({error or type(error).__name__})") from error
        if not response.is_success:
            raise_unless_success(
                httpx.Response(
                    response.status_code,
                    headers=_plain(response),
                    content=content,
                    request=request,
                )
            )
        return content


class _Silence(Unavailable):
    """No answer of the service itself."""


class _NotReached(_Silence):
    """It never had the request."""


class _BrokenOff(_Silence, Unanswered):
    """It may have had the request."""


def raise_unless_success(response: httpx.Response) -> None:
    """Raise our error for an answer that is none; its body must have been read."""
    if response.is_success:
        return
    detail = _detail_of(response)
    if response.status_code in _NO_ROOM:
        raise Unavailable(detail, retry_after_seconds=_retry_after_of(response))
    if response.status_code in _FAILED_OVER_IT:
        raise Unanswered(detail, retry_after_seconds=_retry_after_of(response))
    if response.status_code == httpx.codes.CONFLICT and "retry-after" in response.headers:
        raise InFlight(detail, retry_after_seconds=_retry_after_of(response))
    raise _ERRORS.get(response.status_code, SkimError)(detail)


def _read(response: httpx.Response) -> bytes:
    content = bytearray()
    for chunk in response.iter_bytes():
        content += chunk
        if len(content) > _MAX_ANSWER_BYTES:
            raise _BrokenOff(
                f"{response.request.url}: an answer of more than {_MAX_ANSWER_BYTES:,} bytes"
            )
    return bytes(content)


def _plain(response: httpx.Response) -> dict[str, str]:
    """Return the headers that still hold once the body is decoded."""
    return {
        name: value
        for name, value in response.headers.items()
        if name not in ("content-encoding", "content-length", "transfer-encoding")
    }


def _add_context(request: httpx.Request) -> None:
    """Say for which request of ours, and in which trace, we ask."""
    request.headers.update(outgoing())


def _detail_of(response: httpx.Response) -> str:
    request = response.request
    return (
        _member_of(response, "detail")
        or f"{request.method} {request.url.path}: HTTP {response.status_code}"
    )


def _member_of(problem: httpx.Response, name: str) -> str | None:
    try:
        return str(problem.json()[name])
    except (ValueError, KeyError, TypeError):
        return None


def _retry_after_of(response: httpx.Response) -> int:
    value = response.headers.get("retry-after", "")
    return int(value) if value.isdigit() else 5
