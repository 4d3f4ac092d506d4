"""The augmentation service as a client sees it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import httpx
import stamina

from shared.clients.service import Answer, ServiceClient, raise_unless_success
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
    RemovedDocuments,
    ReplayedDeadLetters,
    WrittenBefore,
)
from shared.contracts.document import Document
from shared.contracts.generation import NDJSON
from shared.contracts.reviews import Review, Verdict, VerdictsKept, VerdictsRequest
from shared.contracts.synthetic_queries import SyntheticQueries
from shared.errors import (
    Unavailable,
)

_BLOCK_BYTES = 65_536


class AugmentationClient(ServiceClient):
    """Posts documents and follows their jobs."""

    def post_documents(
        self, documents: Sequence[Document], written: WrittenBefore | None = None
    ) -> AcceptedJob:
        """Hand in at most 1,000 documents; posting the same again is harmless."""
        body = DocumentsRequest(documents=list(documents), synthetic_queries=written)
        return self._call(AcceptedJob, "POST", "/v1/documents", body=body)

    def delete_documents(self, document_ids: Sequence[str]) -> RemovedDocuments:
        """Remove at most 1,000 documents with their labels and ads; who is told `Unavailable` asks again."""
        return self._call(
            RemovedDocuments, "DELETE", "/v1/documents", json_body=list(document_ids)
        )

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
        raise_unless_success(response)
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

    def _lines(self, model: type[Answer], path: str) -> Iterator[Answer]:
        try:
            with self._http.stream("GET", path) as response:
                if not response.is_success:
                    response.read()
                raise_unless_success(response)
                for line in response.iter_lines():
                    yield model.model_validate_json(line)
        except httpx.HTTPError as error:
            raise Unavailable(f"{self._http.base_url}{path}: the stream broke off") from error

    def labels(self, document_id: str) -> DocumentLabels:
        """Return a document's augmented labels with their provenance."""
        return self._call(DocumentLabels, "GET", f"/v1/documents/{document_id}/labels")


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
