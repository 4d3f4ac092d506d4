"""The generation service: `POST /v1/generate` turns documents into synthetic queries."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse
from prometheus_client import CollectorRegistry

from services.generation.admission import Admission
from services.generation.batching import StepReport
from services.generation.generator import QueryGenerator
from services.generation.language_model import LanguageModel
from services.generation.line_search import SearchPlan
from services.generation.metrics import GenerationMetrics
from services.generation.query_trie import MAX_TOKENS, QueryTrie
from services.generation.reception import Reception, Writing, as_they_finish
from services.generation.sampling import Sampling
from services.generation.settings import GenerationSettings
from services.generation.train_queries import read_texts
from shared.contracts.document import Document
from shared.contracts.generation import (
    MAX_DOCUMENTS,
    NDJSON,
    FailedLine,
    GeneratedLine,
    GeneratedQueries,
    GenerateRequest,
    GenerateResponse,
    GenerationInfo,
)
from shared.errors import Damaged, InvalidInput, SkimError, Unavailable
from shared.prompt import PromptTokenizer
from shared.served import Served
from shared.settings import CommonSettings
from shared.web import create_app, problems

_LOG = structlog.get_logger()
_CLIENT_LEFT = 499
"""Status of an answer that nobody reads, for the metrics (as nginx has it)."""
_WARM_UP = Document(id="warm-up", title="warm-up")
_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "All documents in the order given; as NDJSON, a line each once it is finished",
        "content": {
            NDJSON: {
                "schema": {
                    "anyOf": [GeneratedLine.model_json_schema(), FailedLine.model_json_schema()]
                }
            }
        },
    },
    502: {
        "description": "A step of the language model failed over these documents",
        "content": {"application/problem+json": {}},
    },
    504: {
        "description": "A document was not written by its deadline",
        "content": {"application/problem+json": {}},
    },
}


def build_app(
    common: CommonSettings,
    settings: GenerationSettings,
    generator: QueryGenerator | None = None,
) -> FastAPI:
    """Return the application; without a `generator` the SLM is loaded from `<home>/models/slm`."""
    registry = CollectorRegistry()
    metrics = GenerationMetrics(registry)
    admission = Admission(settings.max_waiting)
    metrics.held.set_function(lambda: admission.held)
    reception = Reception(admission, metrics, timeout_seconds=settings.timeout_seconds)

    def _load() -> QueryGenerator:
        loaded = generator or _load_warm(common, settings, metrics)
        metrics.slots.set(loaded.model.slots)
        return loaded

    served = Served(_load)

    @asynccontextmanager
    async def _lifespan(_: FastAPI) -> AsyncIterator[None]:
        starting = asyncio.create_task(served.start())
        if generator:
            await starting
        yield
        await starting
        await reception.close()
        with suppress(Unavailable):
            await asyncio.to_thread(served.current().close)

    async def _check_ready(_: FastAPI) -> None:
        served.current()

    app = create_app(
        "generation",
        "Writes diverse synthetic queries for documents.",
        _lifespan,
        check_ready=_check_ready,
        max_body_bytes=settings.max_body_bytes,
        registry=registry,
    )

    @app.post(
        "/v1/generate",
        response_model=GenerateResponse,
        responses=_RESPONSES,
        tags=["generation"],
    )
    async def generate(body: GenerateRequest, request: Request) -> Response:
        """Write the synthetic queries of up to 64 documents; the same document gets the same again.

        All come in the order given, or the first error does. With `Accept: application/x-ndjson` each
        comes as soon as it is finished, a line each; one that fails is a problem of its own. Documents
        of a client that leaves are let go.
        """
        current = served.current()
        writings = reception.take_in(current, body)
        left = asyncio.create_task(_client_leaves(request))
        left.add_done_callback(partial(_let_go, writings))
        if NDJSON in request.headers.get("accept", ""):
            lines = _lines(current.name, body.documents, writings, left)
            return StreamingResponse(lines, media_type=NDJSON)
        async with aclosing(as_they_finish(writings, left)) as finished:
            async for writing in finished:
                writing.result()  # one that failed ends the request
        if any(writing.cancelled() for writing in writings):
            return Response(status_code=_CLIENT_LEFT)
        answer = GenerateResponse(
            generator=current.name,
            results=[
                GeneratedQueries.of(document.id, writing.result().written)
                for document, writing in zip(body.documents, writings, strict=True)
            ],
        )
        return Response(answer.model_dump_json(), media_type="application/json")

    @app.get("/v1/info", tags=["operations"])
    async def info() -> GenerationInfo:
        """Say which model runs here, how it draws tokens, and its limits."""
        return _info(served.current(), settings)

    return app


def load_generator(
    folder: Path,
    settings: GenerationSettings,
    make_prompts: Callable[..., PromptTokenizer] = PromptTokenizer,
    *,
    train_queries: Sequence[str] | None = None,
    on_step: Callable[[StepReport], None] = lambda _: None,
) -> QueryGenerator:
    """Return the SLM of a folder as it is served (the `skim` command uses it too).

    Args:
        folder: what the export wrote.
        settings: how it is run.
        make_prompts: makes the tokenizer of its prompts, with the arguments of `PromptTokenizer`; as served if absent.
        train_queries: texts that the SLM is searched for; none if absent.
        on_step: called after each step of the decoder, from its thread.

    Raises:
        InvalidInput: the settings ask for what this model cannot do, or it cannot be searched for these queries.
    """
    model = LanguageModel(
        folder,
        threads=settings.threads,
        slots=settings.slots,
        context_tokens=settings.context_tokens,
        on_step=on_step,
    )
    sampling = Sampling(
        settings.temperature, settings.top_k, settings.max_new_tokens, settings.top_p
    )
    try:
        model.check(sampling)
        prompts = make_prompts(
            folder / "tokenizer.json",
            end_token=model.card.end_token,
            max_metadata_tokens=settings.max_metadata_tokens,
        )
        search = None if train_queries is None else _plan(train_queries, prompts, settings)
    except BaseException:
        model.close()
        raise
    return QueryGenerator(
        model,
        prompts,
        sampling,
        samples=settings.samples,
        max_queries=settings.max_queries,
        search=search,
    )


def _plan(
    texts: Sequence[str], prompts: PromptTokenizer, settings: GenerationSettings
) -> SearchPlan:
    """Return the search for texts.

    Raises:
        InvalidInput: none of them can be searched for, or not this model.
    """
    if len(prompts.line_ends) > 2:
        raise InvalidInput("a model that ends a line with several tokens cannot be searched")
    trie = QueryTrie(texts, prompts.encode_lines)
    if not len(trie):
        raise InvalidInput(
            f"none of {len(texts):,} train queries can be searched for: expected some of 1 to {MAX_TOKENS} tokens"
        )
    if trie.left_out:
        _LOG.warning("train_queries_too_long_to_search", left_out=trie.left_out, kept=len(trie))
    return SearchPlan(trie, prompts.line_ends, math.log(settings.min_line_probability))


def _load_warm(
    common: CommonSettings, settings: GenerationSettings, metrics: GenerationMetrics
) -> QueryGenerator:
    """Load the SLM and let it answer once."""
    try:
        path = settings.train_queries
        texts = None if path is None else read_texts(path)
        generator = load_generator(
            common.models / "slm", settings, train_queries=texts, on_step=metrics.step
        )
        generator.generate([_WARM_UP])
    except SkimError:
        raise
    except Exception as error:
        raise Damaged(f"the language model does not run: {error}") from error
    return generator


async def _client_leaves(request: Request) -> None:
    """Return when the client is gone; its request was read before."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _let_go(writings: Sequence[Writing], _: asyncio.Task[None]) -> None:
    for writing in writings:
        writing.cancel()


async def _lines(
    name: str,
    documents: Sequence[Document],
    writings: Sequence[Writing],
    left: asyncio.Task[None],
) -> AsyncIterator[str]:
    document_of = dict(zip(writings, documents, strict=True))
    async with aclosing(as_they_finish(writings, left)) as finished:
        async for writing in finished:
            yield _line(name, document_of[writing].id, writing).model_dump_json() + "\n"


def _line(name: str, document_id: str, writing: Writing) -> GeneratedLine | FailedLine:
    error = writing.exception()
    if error is not None:
        return FailedLine(document_id=document_id, **problems.fields_of(error))
    written = writing.result().written
    return GeneratedLine(
        document_id=document_id,
        queries=written.queries,
        evidence=written.evidence,
        generator=name,
    )


def _info(generator: QueryGenerator, settings: GenerationSettings) -> GenerationInfo:
    model, card = generator.model, generator.model.card
    return GenerationInfo(
        generator=card.name,
        adapter=card.adapter,
        source=card.source,
        sha256=card.sha256,
        precision=card.precision,
        temperature=generator.sampling.temperature,
        top_k=generator.sampling.top_k,
        top_p=generator.sampling.top_p,
        max_new_tokens=generator.sampling.max_new_tokens,
        samples=generator.samples,
        searched_queries=generator.searched_queries,
        context_tokens=model.context_tokens,
        slots=model.slots,
        key_value_bytes=model.key_value_bytes,
        max_metadata_tokens=settings.max_metadata_tokens,
        max_queries=generator.max_queries,
        max_documents=MAX_DOCUMENTS,
        max_waiting=settings.max_waiting,
        timeout_seconds=settings.timeout_seconds,
    )
