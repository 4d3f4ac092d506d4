"""Dead letters over HTTP: list, replay, purge."""

from __future__ import annotations

from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Query, Response

from services.augmentation.dispatcher import Dispatcher
from shared.contracts.augmentation import (
    MAX_DOCUMENTS_PER_REQUEST,
    DeadLetters,
    DeadLettersRequest,
    PurgedDeadLetters,
    ReplayedDeadLetters,
)
from shared.contracts.base import Identifier
from shared.errors import Unavailable
from shared.store import Store

_log = structlog.get_logger()
_IDS_PER_PURGE = 100
"""They stand in the URL."""
_ALL = DeadLettersRequest()
_NONE_THERE: dict[int | str, dict[str, Any]] = {
    200: {"model": ReplayedDeadLetters, "description": "There are none, so there is no job"}
}


def dead_letter_routes(store: Store, dispatcher: Dispatcher) -> APIRouter:
    """Return the routes."""
    router = APIRouter(tags=["dead letters"])

    @router.get("/v1/dead-letters")
    def dead_letters(
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        cursor: Annotated[Identifier | None, Query()] = None,
    ) -> DeadLetters:
        """List the documents that were given up, by id, with the reason; `next_cursor` asks for more."""
        return store.dead_letters(limit, cursor or "")

    @router.post("/v1/dead-letters:replay", status_code=202, responses=_NONE_THERE)
    def replay(response: Response, body: DeadLettersRequest = _ALL) -> ReplayedDeadLetters:
        """Take dead documents in again: those named, or the first 1,000 of all while `left` says more."""
        replayed = store.replay(body.document_ids or [], MAX_DOCUMENTS_PER_REQUEST)
        left = store.counts().dead_letters
        if replayed is None:
            response.status_code = 200
            return ReplayedDeadLetters(job=None, left=left)
        job, document_ids = replayed
        try:
            dispatcher.dispatch(job.id, document_ids)
        except Unavailable as error:  # accepted all the same: the sweeper queues it
            _log.warning("dispatch_failed", job=job.id, reason=str(error))
        response.headers["location"] = f"/v1/jobs/{job.id}"
        return ReplayedDeadLetters(job=job, left=left)

    @router.delete("/v1/dead-letters")
    def purge(
        document_id: Annotated[list[Identifier], Query(max_length=_IDS_PER_PURGE)] = [],  # noqa: B006  (not changed)
    ) -> PurgedDeadLetters:
        """Forget all dead letters, or those named; the documents stay, and jobs still say why they failed."""
        return PurgedDeadLetters(purged=store.purge(document_id))

    return router
