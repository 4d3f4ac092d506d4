"""Typed httpx clients of our own services: models in, models out, our errors on failure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Self, TypeVar

import httpx
import stamina

from shared.contracts.augmentation import (
    Counts,
    DocumentLabels,
    DocumentsRequest,
    ExportedLabel,
    Job,
    WrittenBefore,
)
from shared.contracts.base import Contract
from shared.contracts.document import Document
from shared.contracts.events import EventsResponse
from shared.contracts.generation import NDJSON, GenerateRequest, GenerateResponse, GenerationInfo
from shared.contracts.inference import AdResponse, AdsResponse, InferenceInfo
from shared.contracts.mapping import (
    MappingInfo,
    MapRequest,
    MapResponse,
    TrainQueriesChanged,
    TrainQueryChanges,
)
from shared.contracts.synthetic_queries import SyntheticQueries
from shared.errors import (
    Conflict,
    InvalidInput,
    NotFound,
    SkimError,
    Starting,
    TooLarge,
    Unavailable,
)

_Answer = TypeVar("_Answer", bound=Contract)
_ERRORS: dict[int, type[SkimError]] = {
    404: NotFound,
    409: Conflict,
    413: TooLarge,
    422: InvalidInput,
}


class ServiceClient:
    """A connection pool to one service.

    Calls are retried with growing waits while the service is unreachable, answers 503 or breaks off;
    so every call here must be safe to repeat.

    Args:
        base_url: where the service listens.
        timeout_seconds: time-out of one attempt.
        attempts: how often a call is tried before `Unavailable` is raised.
        transport: replaces the network, for tests against the application in process.
    """

    def __init__(
        self,
        base_url: str,
        *,
        timeout_seconds: float = 120.0,
        attempts: int = 5,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._attempts = attempts
        self._http = httpx.Client(
            base_url=base_url, timeout=timeout_seconds, transport=transport, trust_env=False
        )

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
            return self._http.get("/readyz", timeout=2.0).status_code == httpx.codes.OK
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
        params: dict[str, str | int] | None = None,
    ) -> _Answer:
        for attempt in stamina.retry_context(
            on=Unavailable, attempts=self._attempts, timeout=None
        ):
            with attempt:
                return self._call_once(answer, method, path, body=body, lines=lines, params=params)
        raise AssertionError("unreachable: stamina raises the last error")

    def _call_once(
        self,
        answer: type[_Answer],
        method: str,
        path: str,
        *,
        body: Contract | None,
        lines: Sequence[Contract],
        params: dict[str, str | int] | None,
    ) -> _Answer:
        content = None if body is None else body.model_dump_json()
        if lines:
            content = "".join(line.model_dump_json() + "\n" for line in lines)
        try:
            response = self._http.request(
                method,
                path,
                content=content,
                headers={"content-type": NDJSON if lines else "application/json"},
                params=params,
            )
        except httpx.HTTPError as error:
            raise Unavailable(
                f"{self._http.base_url}{path}: no answer ({error or type(error).__name__})"
            ) from error
        if response.is_success:
            return answer.model_validate_json(response.content)
        detail = _detail_of(response)
        if response.status_code in {429, 502, 503, 504}:
            raise Unavailable(detail, retry_after_seconds=_retry_after_of(response))
        raise _ERRORS.get(response.status_code, SkimError)(detail)


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
        return self._call(GenerationInfo, "GET", "/v1/info")


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
    ) -> Job:
        """Hand in at most 1,000 documents; posting the same again is harmless."""
        body = DocumentsRequest(documents=list(documents), synthetic_queries=written)
        return self._call(Job, "POST", "/v1/documents", body=body)

    def job(self, job_id: str) -> Job:
        """Return where a job stands."""
        return self._call(Job, "GET", f"/v1/jobs/{job_id}")

    def remap(self) -> Job:
        """Have every labelled document mapped anew; twice is once too often and changes nothing."""
        return self._call(Job, "POST", "/v1/remaps")

    def counts(self) -> Counts:
        """Return what the suite has done so far."""
        return self._call(Counts, "GET", "/v1/counts")

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

    def _lines(self, model: type[_Answer], path: str) -> Iterator[_Answer]:
        try:
            with self._http.stream("GET", path) as response:
                if not response.is_success:
                    response.read()
                    raise Unavailable(_detail_of(response))
                for line in response.iter_lines():
                    yield model.model_validate_json(line)
        except httpx.HTTPError as error:
            raise Unavailable(f"{self._http.base_url}{path}: the stream broke off") from error

    def labels(self, document_id: str) -> DocumentLabels:
        """Return a document's augmented labels with their provenance."""
        return self._call(DocumentLabels, "GET", f"/v1/documents/{document_id}/labels")


class InferenceClient(ServiceClient):
    """Asks for ads."""

    def ads(self, query: str, k: int = 10) -> AdsResponse:
        """Return the top `k` ads of a query, best first."""
        return self._call(AdsResponse, "GET", "/v1/ads", params={"query": query, "k": k})

    def ad(self, ad_id: str) -> AdResponse:
        """Return one ad."""
        return self._call(AdResponse, "GET", f"/v1/ads/{ad_id}")

    def info(self) -> InferenceInfo:
        """Return what it answers from."""
        return self._call(InferenceInfo, "GET", "/v1/info")

    def send_events(self, events: Sequence[Contract]) -> EventsResponse:
        """Hand in events (`Event`); sending the same again is harmless."""
        return self._call(EventsResponse, "POST", "/v1/events", lines=events)

    def reload(self) -> InferenceInfo:
        """Let the service take the bundle that is published now."""
        return self._call(InferenceInfo, "POST", "/v1/bundles:reload")


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
