"""`POST /v1/documents`: one document, several as JSON, or any number as a stream of lines."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.responses import StreamingResponse
from fastapi.routing import APIRoute
from pydantic import StringConstraints, WrapValidator
from starlette.requests import ClientDisconnect
from starlette.routing import Match
from starlette.types import Scope

from services.augmentation.dispatcher import Dispatcher
from services.augmentation.metrics import AugmentationMetrics
from services.augmentation.settings import AugmentationSettings
from services.augmentation.uploads import Uploads
from shared.contracts.augmentation import (
    AcceptedJob,
    DocumentsRequest,
    Job,
    UploadedDocument,
    Verdict,
)
from shared.contracts.document import Document
from shared.contracts.generation import NDJSON
from shared.errors import Unavailable
from shared.store import Store
from shared.store.intake import Acceptance, Incoming, Key
from shared.web.openapi import a_line, schema_of

_PATIENCE_SECONDS = 5.0
"""Of whoever is between us and the client, while it hears nothing."""
_CLIENT_LEFT = 499
"""Status of an answer that nobody reads, for the metrics (as nginx has it)."""
_PATH = "/v1/documents"
_UPLOADS: dict[str, Any] = {
    "requestBody": {"content": a_line({"type": "array", "contains": schema_of(UploadedDocument)})}
}
"""One line must be a document; others that are none are refused, and told of."""
_RESPONSES: dict[int | str, dict[str, Any]] = {
    409: {
        "description": "An upload with this Idempotency-Key is under way; see Retry-After",
        "content": {"application/problem+json": {}},
    }
}
_log = structlog.get_logger()


def _one_or_many(body: Any, _: object) -> Document | DocumentsRequest:  # noqa: ANN401  (any JSON)
    """Choose by `documents`, so that an error names the field and not the alternatives."""
    kind = DocumentsRequest if isinstance(body, dict) and "documents" in body else Document
    return kind.model_validate(body)


async def _digest_of(request: Request) -> str:
    return f"json:{hashlib.sha256(await request.body()).hexdigest()}"


def key_name(idempotency_key: str, caller: str = "") -> str:
    """Return the name under which a caller's key is remembered; nobody reads the key, or the caller's, from it."""
    return hashlib.sha256(f"POST {_PATH} {caller} {idempotency_key}".encode()).hexdigest()


DocumentsBody = Annotated[Document | DocumentsRequest, WrapValidator(_one_or_many)]
IdempotencyKey = Annotated[
    Annotated[str, StringConstraints(min_length=1, max_length=255, pattern="^[ -~]*$")] | None,
    Header(description="Names this request: sent again with the same body, it is answered again."),
]


async def _name_of(request: Request, idempotency_key: IdempotencyKey = None) -> str | None:
    """Keep callers with API keys of their own apart: what one sent is no business of another."""
    if idempotency_key is None:
        return None
    headers = request.headers
    caller = headers.get("x-api-key") or headers.get("authorization", "")
    return key_name(idempotency_key, caller)


KeyName = Annotated[str | None, Depends(_name_of)]
Digest = Annotated[str, Depends(_digest_of)]
GeneratorName = Annotated[
    str,
    Query(
        max_length=200,
        description="Wrote the synthetic queries that lines bring; JSON names it beside them.",
    ),
]


def is_upload(scope: Scope) -> bool:
    """Return whether a request is a stream of documents, of any length."""
    content_type = dict(scope["headers"]).get(b"content-type", b"").decode("latin-1")
    is_stream = content_type.partition(";")[0].strip().lower() == NDJSON
    return bool(is_stream and scope["method"] == "POST" and scope["path"] == _PATH)


class _UploadRoute(APIRoute):
    """Matches uploads, and leaves other requests with the same path to the next route."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, child = super().matches(scope)
        if match is Match.FULL and not is_upload(scope):
            return Match.NONE, {}
        return match, child


def intake_routes(
    settings: AugmentationSettings,
    store: Store,
    dispatcher: Dispatcher,
    metrics: AugmentationMetrics,
) -> APIRouter:
    """Return the routes that take documents in."""
    router = APIRouter(tags=["documents"])
    uploads = Uploads(store, dispatcher, settings)

    async def upload_documents(
        request: Request,
        name: KeyName,
        generator: GeneratorName = "",
    ) -> Response:
        try:
            job, is_replay = await uploads.receive(aiter(request.stream()), name, generator)
        except ClientDisconnect:
            return Response(status_code=_CLIENT_LEFT)
        if not is_replay:
            metrics.accepted.inc(job.documents)
        taking = asyncio.create_task(uploads.take_in(job.id))
        return StreamingResponse(
            once_taken_in(taking, AcceptedJob.model_validate(job.model_dump())),
            status_code=202,
            media_type="application/json",
            headers=_headers_of(job, is_replay),
        )

    router.add_api_route(
        _PATH,
        upload_documents,
        methods=["POST"],
        include_in_schema=False,  # the next one tells of both
        route_class_override=_UploadRoute,
    )

    @router.post(_PATH, status_code=202, responses=_RESPONSES, openapi_extra=_UPLOADS)
    def post_documents(
        body: DocumentsBody,
        response: Response,
        digest: Digest,
        name: KeyName,
        generator: GeneratorName = "",
    ) -> AcceptedJob:
        """Take in one document, several as `{"documents": [...]}`, or any number as NDJSON.

        JSON is accepted whole or refused whole. As `application/x-ndjson`, a document a line (with
        `synthetic_queries` beside its other members, if `?generator=` says who wrote them), the body may have any
        length: a line that is no document is refused by itself (`refusals`), and nothing runs before the
        last line has come. Such an upload that broke off goes on where it stopped if the same body comes again
        under the same `Idempotency-Key`. Documents that have labels of the current generator for the same
        content are unchanged and done at once. The job says how the others fare.
        """
        incoming = _incoming(body)
        key = Key(name, digest, settings.idempotency_seconds) if name else None
        accepted = store.accept_request(incoming, key)
        if not accepted.is_replay:
            metrics.accepted.inc(len(incoming))
            _queue(dispatcher, accepted, incoming)
        response.headers.update(_headers_of(accepted.job, accepted.is_replay))
        return AcceptedJob(
            **accepted.job.model_dump(), verdicts=_verdicts_of(incoming, accepted.unchanged)
        )

    return router


async def once_taken_in(
    taking: asyncio.Task[None], answer: AcceptedJob, patience_seconds: float = _PATIENCE_SECONDS
) -> AsyncIterator[str]:
    """Yield the answer when the documents can be read, and white space meanwhile: it may take minutes."""
    while not taking.done():
        await asyncio.wait({taking}, timeout=patience_seconds)
        if not taking.done():
            yield "\n"
    taking.result()
    yield answer.model_dump_json()


def _incoming(body: Document | DocumentsRequest) -> Sequence[Incoming]:
    if isinstance(body, Document):
        return [Incoming(body)]
    written = body.synthetic_queries
    if written is None:
        return [Incoming(each) for each in body.documents]
    return [
        Incoming(each, written.generator, written.queries.get(each.id)) for each in body.documents
    ]


def _queue(dispatcher: Dispatcher, accepted: Acceptance, incoming: Sequence[Incoming]) -> None:
    waiting = [
        each.document.id for at, each in enumerate(incoming) if at not in accepted.unchanged
    ]
    try:
        dispatcher.dispatch(accepted.job.id, waiting)
    except Unavailable as error:  # accepted all the same: the sweeper queues it
        _log.warning("dispatch_failed", job=accepted.job.id, reason=str(error))


def _verdicts_of(incoming: Sequence[Incoming], unchanged: frozenset[int]) -> dict[str, Verdict]:
    return {
        each.document.id: Verdict.UNCHANGED if at in unchanged else Verdict.ACCEPTED
        for at, each in enumerate(incoming)
    }


def _headers_of(job: Job, is_replay: bool) -> dict[str, str]:
    headers = {"location": f"/v1/jobs/{job.id}"}
    return headers | {"idempotent-replayed": "true"} if is_replay else headers
