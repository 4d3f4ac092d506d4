"""The generation service: `POST /v1/generate` turns documents into synthetic queries."""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from fastapi import FastAPI, Request
from prometheus_client import CollectorRegistry, Counter, Histogram

from services.generation.generator import QueryGenerator
from services.generation.language_model import LanguageModel
from services.generation.sampling import Sampling
from services.generation.settings import GenerationSettings
from shared.contracts.generation import (
    GeneratedQueries,
    GenerateRequest,
    GenerateResponse,
    GenerationInfo,
)
from shared.errors import NotFound, Unavailable
from shared.prompt import PromptTokenizer
from shared.settings import CommonSettings
from shared.web import create_app


class GenerationMetrics:
    """How much is written, and how fast."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.documents = Counter("skim_generation_documents", "Documents read.", registry=registry)
        self.queries = Counter("skim_generation_queries", "Queries written.", registry=registry)
        self.seconds = Histogram(
            "skim_generation_seconds",
            "Time the SLM worked on a request.",
            buckets=(0.1, 0.25, 0.5, 1, 2, 4, 8, 16, 32, 64),
            registry=registry,
        )


class Admission:
    """Lets a bounded number of requests wait for the model."""

    def __init__(self, places: int) -> None:
        self._free = threading.BoundedSemaphore(places)

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold a place; `Unavailable` when all are taken."""
        if not self._free.acquire(blocking=False):
            raise Unavailable(
                "all places in the generation queue are taken", retry_after_seconds=2
            )
        try:
            yield
        finally:
            self._free.release()


def build_app(
    common: CommonSettings,
    settings: GenerationSettings,
    generator: QueryGenerator | None = None,
) -> FastAPI:
    """Return the application; without a `generator` the SLM is loaded from `<home>/models/slm`."""
    registry = CollectorRegistry()
    metrics = GenerationMetrics(registry)
    admission = Admission(settings.max_waiting)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.generator, app.state.reason = generator, "the SLM is loading"
        if generator is None:
            try:
                app.state.generator = load_generator(common, settings)
            except NotFound as error:
                app.state.reason = str(error)
        yield

    async def check_ready(app: FastAPI) -> None:
        if app.state.generator is None:
            raise Unavailable(app.state.reason)

    app = create_app(
        "generation",
        "Writes diverse synthetic queries for documents.",
        lifespan,
        check_ready=check_ready,
        max_body_bytes=settings.max_body_bytes,
        registry=registry,
    )

    @app.post("/v1/generate")
    def generate(body: GenerateRequest, request: Request) -> GenerateResponse:
        """Write the synthetic queries of up to 64 documents; the same document gets the same again."""
        model = _generator_of(request)
        with admission.place():
            started = time.perf_counter()
            results = model.generate(body.documents)
            metrics.seconds.observe(time.perf_counter() - started)
        metrics.documents.inc(len(results))
        metrics.queries.inc(sum(map(len, results)))
        return GenerateResponse(
            generator=model.name,
            results=[
                GeneratedQueries(document_id=document.id, queries=queries)
                for document, queries in zip(body.documents, results, strict=True)
            ],
        )

    @app.get("/v1/info")
    def info(request: Request) -> GenerationInfo:
        """Say which model runs here and how it draws tokens."""
        model = _generator_of(request)
        return GenerationInfo(
            generator=model.name,
            adapter=model.adapter,
            temperature=settings.temperature,
            top_k=settings.top_k,
            max_new_tokens=settings.max_new_tokens,
        )

    return app


def load_generator(common: CommonSettings, settings: GenerationSettings) -> QueryGenerator:
    """Return the SLM of `<home>/models/slm` as it is served (the `skim` command uses it too)."""
    folder = common.models / "slm"
    return QueryGenerator(
        LanguageModel(
            folder,
            threads=settings.threads,
            slots=settings.slots,
            context_tokens=settings.context_tokens,
        ),
        PromptTokenizer(
            folder / "tokenizer.json", max_metadata_tokens=settings.max_metadata_tokens
        ),
        Sampling(settings.temperature, settings.top_k, settings.max_new_tokens),
        max_queries=settings.max_queries,
    )


def _generator_of(request: Request) -> QueryGenerator:
    generator: QueryGenerator | None = request.app.state.generator
    if generator is None:
        raise Unavailable(request.app.state.reason)
    return generator
