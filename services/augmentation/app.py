"""The augmentation service's HTTP face: documents in; jobs and labels out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from itertools import chain, islice
from typing import Annotated

from fastapi import APIRouter, Body, FastAPI, Query, Response
from fastapi.responses import StreamingResponse
from prometheus_client import CollectorRegistry
from pydantic import Field

from services.augmentation.ads import AdPublisher
from services.augmentation.dispatcher import Dispatcher
from services.augmentation.label_precision import ReviewedLabels
from services.augmentation.metrics import AugmentationMetrics, StoreCollector
from services.augmentation.routes.dead_letters import dead_letter_routes
from services.augmentation.routes.documents import intake_routes, is_upload
from services.augmentation.routes.jobs import job_routes
from services.augmentation.settings import AugmentationSettings
from shared.contracts.augmentation import (
    MAX_DOCUMENTS_PER_REQUEST,
    Counts,
    DocumentLabels,
    Job,
    QueryDocuments,
    RemovedDocuments,
)
from shared.contracts.base import Contract, Identifier
from shared.contracts.document import Document
from shared.contracts.generation import NDJSON
from shared.contracts.reviews import VerdictsKept, VerdictsRequest
from shared.errors import NotFound
from shared.store import Remap, Store
from shared.web import create_app

_LINES_PER_CHUNK = 500


DocumentIds = Annotated[
    list[Identifier], Field(min_length=1, max_length=MAX_DOCUMENTS_PER_REQUEST), Body()
]


def build_app(
    settings: AugmentationSettings,
    store: Store,
    dispatcher: Dispatcher,
    ads: AdPublisher | None = None,
) -> FastAPI:
    """Return the application; `ads` is told of removed documents."""
    registry = CollectorRegistry()
    registry.register(StoreCollector(store))
    metrics = AugmentationMetrics(registry)
    reviewed = ReviewedLabels(store, registry)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        seconds = settings.review_seconds
        counting = asyncio.create_task(reviewed.watch(seconds=seconds)) if seconds else None
        yield
        if counting is not None:
            counting.cancel()

    async def check_ready(_: FastAPI) -> None:
        await asyncio.to_thread(store.check)

    app = create_app(
        "augmentation",
        "Takes documents in and gives them labels.",
        lifespan,
        check_ready=check_ready,
        max_body_bytes=settings.max_body_bytes,
        is_stream=is_upload,
        registry=registry,
    )

    app.include_router(intake_routes(settings, store, dispatcher, metrics))
    app.include_router(job_routes(settings, store))
    app.include_router(_changes(store, ads))
    app.include_router(_readings(store))
    app.include_router(dead_letter_routes(store, dispatcher))
    app.include_router(_reviews(store))
    return app


def _changes(store: Store, ads: AdPublisher | None) -> APIRouter:
    router = APIRouter()

    @router.delete("/v1/documents/{document_id}", status_code=204, tags=["documents"])
    def delete_document(document_id: str) -> None:
        """Remove a document with its labels. Jobs that wait for it count it as done."""
        removed = store.remove_documents([document_id])
        if ads is not None:  # also of one that is gone: who was told 503 asks again
            ads.withdraw([document_id])
        if not removed:
            raise NotFound(f"there is no document {document_id!r}")

    @router.delete("/v1/documents", tags=["documents"])
    def delete_documents(ids: DocumentIds) -> RemovedDocuments:
        """Remove the documents of a JSON list of ids, and say which were not there."""
        removed = store.remove_documents(ids)
        if ads is not None:
            ads.withdraw(ids)
        there = set(removed)
        unknown = [each for each in dict.fromkeys(ids) if each not in there]
        return RemovedDocuments(removed=len(removed), unknown=unknown)

    @router.post("/v1/remaps", status_code=202, tags=["jobs"])
    def post_remap(response: Response) -> Job:
        """Map every labelled document anew from its synthetic queries; the sweeper brings them in bit by bit."""
        job = store.begin_remap(Remap())
        response.headers["location"] = f"/v1/jobs/{job.id}"
        return job

    return router


def _readings(store: Store) -> APIRouter:
    router = APIRouter()

    @router.get("/v1/documents/{document_id}", tags=["documents"])
    def document(document_id: str) -> Document:
        """Give a document as it was taken in last."""
        return store.document(document_id)

    @router.get("/v1/documents/{document_id}/labels", tags=["labels"])
    def labels(document_id: str) -> DocumentLabels:
        """Give a document's labels, most similar first, and why each exists."""
        return store.labels(document_id)

    @router.get("/v1/train-queries/{query_id}/documents", tags=["labels"])
    def documents_of(
        query_id: Identifier, limit: Annotated[int, Query(ge=1, le=1000)] = 100
    ) -> QueryDocuments:
        """Give the documents that have a train query as a label, most similar first."""
        return store.labelled_with(query_id, limit)

    @router.get(
        "/v1/labels",
        tags=["labels"],
        response_class=StreamingResponse,
        responses={200: {"content": {NDJSON: {}}, "description": "Label a line"}},
    )
    def export() -> StreamingResponse:
        """Stream all current labels, one a line: `query_id`, `document_id`, `similarity`, `probability`."""
        return _stream(store.iterate_labels())

    @router.get(
        "/v1/synthetic-queries",
        tags=["labels"],
        response_class=StreamingResponse,
        responses={200: {"content": {NDJSON: {}}, "description": "Document a line"}},
    )
    def export_synthetic_queries() -> StreamingResponse:
        """Stream what current labels were made from: `document_id`, `queries`, `evidence`, one document a line."""
        return _stream(store.iterate_synthetic_queries())

    @router.get("/v1/counts", tags=["operations"])
    def counts() -> Counts:
        """Say how much there is of everything."""
        return store.counts()

    return router


def _reviews(store: Store) -> APIRouter:
    router = APIRouter(tags=["reviews"])

    @router.put("/v1/reviews")
    def put(body: VerdictsRequest) -> VerdictsKept:
        """Keep what a person says of labels, apart from the labels; a verdict of null is taken back."""
        return store.put_reviews(body.reviews)

    @router.get(
        "/v1/reviews",
        response_class=StreamingResponse,
        responses={200: {"content": {NDJSON: {}}, "description": "Verdict a line"}},
    )
    def export(document_id: Identifier | None = None) -> StreamingResponse:
        """Stream the verdicts, of all documents or of one: `document_id`, `query_id`, `verdict`, `reviewed_at`."""
        if document_id is None:
            return _stream(store.iterate_reviews())
        return _stream(store.reviews(document_id))

    return router


def _stream(rows: Iterable[Contract]) -> StreamingResponse:
    chunks = _chunks_of(rows)
    first = next(chunks, b"")  # a store that is away is told before the answer begins
    return StreamingResponse(chain([first], chunks), media_type=NDJSON)


def _chunks_of(rows: Iterable[Contract]) -> Iterator[bytes]:
    """Yield some hundred lines at a time: each step of a stream costs a change of thread."""
    left = iter(rows)
    while chunk := list(islice(left, _LINES_PER_CHUNK)):
        yield b"".join(row.model_dump_json().encode() + b"\n" for row in chunk)
