"""Typed httpx clients of our own services: models in, models out, our errors on failure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Self, TypeVar

import httpx
import orjson
import stamina

from shared.circuit_breaker import CircuitBreaker, CircuitOpen
from shared.contracts.augmentation import (
    AcceptedJob,
    Counts,
    DeadLetter,
    DeadLetters,
    DeadLettersRequest,
    DocumentLabels,
    DocumentsRequest,
    ExportedLabel,
    Job,
    PurgedDeadLetters,
    ReplayedDeadLetters,
    WrittenBefore,
)
from shared.contracts.base import Contract
from shared.contracts.document import Document
from shared.contracts.events import EventsResponse
from shared.contracts.generation import NDJSON, GenerateRequest, GenerateResponse, GenerationInfo
from shared.contracts.inference import (
    AdId,
    AdPatch,
    AdResponse,
    AdsChanged,
    AdsResponse,
    Bundles,
    Explanation,
    InferenceInfo,
)
from shared.contracts.mapping import (
    MappingInfo,
    MapRequest,
    MapResponse,
    TrainQueriesChanged,
    TrainQueryChanges,
)
from shared.contracts.reviews import Review, Verdict, VerdictsKept, VerdictsRequest
from shared.contracts.synthetic_queries import SyntheticQueries
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

_Answer = TypeVar("_Answer", bound=Contract)
_PROBE_SECONDS = 2.0
_INFO_SECONDS = 10.0
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
_BLOCK_BYTES = 65_536


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

    def _call(
        self,
        answer: type[_Answer],
        method: str,
        path: str,
        *,
        body: Contract | None = None,
        lines: Sequence[Contract] = (),
        params: Mapping[str, str | int | list[str]] | None = None,
        timeout_seconds: float | None = None,
    ) -> _Answer:
        content = None if body is None else body.model_dump_json()
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
            _raise_unless_success(
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


class GenerationClient(ServiceClient):
    """Asks the generation service for synthetic queries."""

    def generate(self, documents: Sequence[Document]) -> GenerateResponse:
        """Return the synthetic queries of at most 64 documents, in the order given."""
        return self._call(
            GenerateResponse,
            "POST",
            "/v1/generate",
            body=GenerateRequest(documents=list(documents)),
        )

    def info(self) -> GenerationInfo:
        """Return which SLM writes there, and how it draws tokens."""
        seconds = min(self._timeout_seconds, _INFO_SECONDS)
        return self._call(GenerationInfo, "GET", "/v1/info", timeout_seconds=seconds)


class MappingClient(ServiceClient):
    """Asks the mapping service for train queries."""

    def map(self, request: MapRequest) -> MapResponse:
        """Return the train queries that each document's synthetic queries reach."""
        return self._call(MapResponse, "POST", "/v1/map", body=request)

    def info(self) -> MappingInfo:
        """Return what it maps with."""
        return self._call(MappingInfo, "GET", "/v1/info")

    def changes(self, since: int) -> TrainQueryChanges:
        """Return the train queries added and removed after a version."""
        return self._call(
            TrainQueryChanges, "GET", "/v1/train-queries/changes", params={"since": since}
        )

    def put_train_queries(self, queries: Sequence[Contract]) -> TrainQueriesChanged:
        """Add train queries (`TrainQuery`), or give known ids another text: all of them or none."""
        return self._call(TrainQueriesChanged, "PUT", "/v1/train-queries", lines=queries)

    def delete_train_queries(self, ids: Sequence[Contract]) -> TrainQueriesChanged:
        """Take train queries out (`TrainQueryId`)."""
        return self._call(TrainQueriesChanged, "DELETE", "/v1/train-queries", lines=ids)

    def reload(self) -> MappingInfo:
        """Let the service take the index that is on disk now."""
        return self._call(MappingInfo, "POST", "/v1/index:reload")


class AugmentationClient(ServiceClient):
    """Posts documents and follows their jobs."""

    def post_documents(
        self, documents: Sequence[Document], written: WrittenBefore | None = None
    ) -> AcceptedJob:
        """Hand in at most 1,000 documents; posting the same again is harmless."""
        body = DocumentsRequest(documents=list(documents), synthetic_queries=written)
        return self._call(AcceptedJob, "POST", "/v1/documents", body=body)

    def upload_documents(
        self, lines: Callable[[], Iterable[bytes]], key: str, generator: str = ""
    ) -> AcceptedJob:
        """Hand in any number of documents as one job.

        A try that breaks off is repeated from the first line; what has arrived is not stored twice.

        Args:
            lines: gives the same `UploadedDocument`s each time, one a line without its end.
            key: names this very upload; the same lines under it are the same job.
            generator: wrote the synthetic queries that lines bring.

        Raises:
            InFlight: another process uploads under the key.
            InvalidInput: the key was used for something else, or no line is a document.
        """
        for attempt in stamina.retry_context(
            on=self._is_worth_a_retry, attempts=self._attempts, timeout=None
        ):
            with attempt:
                return self._upload(lines, key, generator)
        raise AssertionError("unreachable: stamina raises the last error")

    def _upload(
        self, lines: Callable[[], Iterable[bytes]], key: str, generator: str
    ) -> AcceptedJob:
        try:
            response = self._http.post(
                "/v1/documents",
                content=_blocks_of(lines()),
                headers={"content-type": NDJSON, "idempotency-key": key},
                params={"generator": generator} if generator else None,
            )
        except httpx.HTTPError as error:
            raise Unavailable(
                f"{self._http.base_url}/v1/documents: the upload broke off "
                f"({error or type(error).__name__})"
            ) from error
        _raise_unless_success(response)
        return AcceptedJob.model_validate_json(response.content)

    def cancel(self, job_id: str) -> Job:
        """Have nothing more of a job worked on."""
        return self._call(Job, "POST", f"/v1/jobs/{job_id}:cancel")

    def job(self, job_id: str) -> Job:
        """Return where a job stands."""
        return self._call(Job, "GET", f"/v1/jobs/{job_id}")

    def remap(self) -> Job:
        """Have every labelled document mapped anew; twice is once too often and changes nothing."""
        return self._call(Job, "POST", "/v1/remaps")

    def counts(self) -> Counts:
        """Return what the suite has done so far."""
        return self._call(Counts, "GET", "/v1/counts")

    def dead_letters(self, *, limit: int = 1_000, cursor: str = "") -> DeadLetters:
        """Return a page of the documents that were given up."""
        params: dict[str, str | int] = {"limit": limit}
        if cursor:
            params["cursor"] = cursor
        return self._call(DeadLetters, "GET", "/v1/dead-letters", params=params)

    def all_dead_letters(self) -> Iterator[DeadLetter]:
        """Yield every document that was given up, page by page."""
        page = self.dead_letters()
        yield from page.dead_letters
        while page.next_cursor:
            page = self.dead_letters(cursor=page.next_cursor)
            yield from page.dead_letters

    def replay_dead_letters(self, document_ids: Sequence[str] = ()) -> ReplayedDeadLetters:
        """Take at most 1,000 dead documents in again, the first of all if none is named."""
        body = DeadLettersRequest(document_ids=list(document_ids) or None)
        return self._call(ReplayedDeadLetters, "POST", "/v1/dead-letters:replay", body=body)

    def purge_dead_letters(self, document_ids: Sequence[str] = ()) -> int:
        """Forget dead letters, at most 100 that are named or all; return how many."""
        params = {"document_id": list(document_ids)} if document_ids else None
        purged = self._call(PurgedDeadLetters, "DELETE", "/v1/dead-letters", params=params)
        return purged.purged

    def export_labels(self) -> Iterator[ExportedLabel]:
        """Stream all current labels.

        Raises:
            Unavailable: the service is away, or the stream broke off.
        """
        return self._lines(ExportedLabel, "/v1/labels")

    def export_synthetic_queries(self) -> Iterator[SyntheticQueries]:
        """Stream what all current labels were made from.

        Raises:
            Unavailable: the service is away, or the stream broke off.
        """
        return self._lines(SyntheticQueries, "/v1/synthetic-queries")

    def put_reviews(self, verdicts: Sequence[Verdict]) -> VerdictsKept:
        """Keep what a person says of at most 1,000 labels."""
        body = VerdictsRequest(reviews=list(verdicts))
        return self._call(VerdictsKept, "PUT", "/v1/reviews", body=body)

    def export_reviews(self) -> Iterator[Review]:
        """Stream all verdicts.

        Raises:
            Unavailable: the service is away, or the stream broke off.
        """
        return self._lines(Review, "/v1/reviews")

    def _lines(self, model: type[_Answer], path: str) -> Iterator[_Answer]:
        try:
            with self._http.stream("GET", path) as response:
                if not response.is_success:
                    response.read()
                _raise_unless_success(response)
                for line in response.iter_lines():
                    yield model.model_validate_json(line)
        except httpx.HTTPError as error:
            raise Unavailable(f"{self._http.base_url}{path}: the stream broke off") from error

    def labels(self, document_id: str) -> DocumentLabels:
        """Return a document's augmented labels with their provenance."""
        return self._call(DocumentLabels, "GET", f"/v1/documents/{document_id}/labels")


class InferenceClient(ServiceClient):
    """Asks for ads."""

    def ads(
        self,
        query: str,
        k: int = 10,
        *,
        filter: Mapping[str, object] | None = None,
        fields: Sequence[str] = (),
    ) -> AdsResponse:
        """Return the top `k` ads of a query that match a filter, best first, with these of their fields."""
        params: dict[str, str | int] = {"query": query, "k": k}
        if filter is not None:
            params["filter"] = orjson.dumps(filter).decode()
        if fields:
            params["fields"] = ",".join(fields)
        return self._call(AdsResponse, "GET", "/v1/ads", params=params)

    def ad(self, ad_id: str) -> AdResponse:
        """Return one ad."""
        return self._call(AdResponse, "GET", f"/v1/ads/{ad_id}")

    def explain(self, ad_id: str, query: str) -> Explanation:
        """Return why an ad has its score for a query."""
        return self._call(Explanation, "GET", f"/v1/ads/{ad_id}/explain", params={"query": query})

    def put_ads(
        self, documents: Sequence[Document], *, unless_deleted: bool = False
    ) -> AdsChanged:
        """Add ads, or give known ids another content: all of them or none.

        With `unless_deleted`, what was deleted with this very content stays deleted.
        """
        return self._call(
            AdsChanged,
            "PUT",
            "/v1/ads",
            lines=documents,
            params={"unless_deleted": "true"} if unless_deleted else None,
        )

    def patch_ads(self, patches: Sequence[AdPatch]) -> AdsChanged:
        """Change parts of ads."""
        return self._call(AdsChanged, "PATCH", "/v1/ads", lines=patches)

    def delete_ads(self, ad_ids: Sequence[str]) -> AdsChanged:
        """Take ads out; no bundle brings them back."""
        return self._call(
            AdsChanged, "DELETE", "/v1/ads", lines=[AdId(id=ad_id) for ad_id in ad_ids]
        )

    def bundles(self) -> Bundles:
        """Return the bundles that can be activated."""
        return self._call(Bundles, "GET", "/v1/bundles")

    def activate(self, version: str) -> InferenceInfo:
        """Let the service verify a bundle and serve it."""
        return self._call(InferenceInfo, "POST", f"/v1/bundles/{version}:activate")

    def rollback(self) -> InferenceInfo:
        """Let the service go back to the bundle before."""
        return self._call(InferenceInfo, "POST", "/v1/bundles:rollback")

    def info(self) -> InferenceInfo:
        """Return what it answers from."""
        return self._call(InferenceInfo, "GET", "/v1/info")

    def send_events(self, events: Sequence[Contract]) -> EventsResponse:
        """Hand in events (`Event`); sending the same again is harmless."""
        return self._call(EventsResponse, "POST", "/v1/events", lines=events)

    def reload(self) -> InferenceInfo:
        """Let the service take the bundle that is published now."""
        return self._call(InferenceInfo, "POST", "/v1/bundles:reload")


def _blocks_of(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Yield lines many at a time: each block is a write of its own."""
    block: list[bytes] = []
    size = 0
    for line in lines:
        block.append(line)
        size += len(line)
        if size > _BLOCK_BYTES:
            yield b"\n".join([*block, b""])
            block, size = [], 0
    if block:
        yield b"\n".join([*block, b""])


def _raise_unless_success(response: httpx.Response) -> None:
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
