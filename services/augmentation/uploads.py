"""Documents as a stream of lines: staged chunk by chunk, sealed at its end, then taken in and queued."""

from __future__ import annotations

import asyncio
import hashlib
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import suppress

import structlog

from services.augmentation.dispatcher import Dispatcher
from services.augmentation.document_lines import chunk_of
from services.augmentation.line_reader import LineReader, Lines
from services.augmentation.seats import Seats
from services.augmentation.settings import AugmentationSettings
from shared.contracts.augmentation import Job
from shared.errors import Expired, Full, InvalidInput, Unavailable
from shared.store import Store
from shared.store.intake import (
    OTHER_BODY,
    Chunk,
    Hold,
    SealedUpload,
    Upload,
)

_PAGE = 200
"""Documents taken in in one step of the store."""
_DROPPED_AT_ONCE = 100
_log = structlog.get_logger()


class Uploads:
    """Takes uploads of any length in; what is held in memory does not grow with them.

    An upload becomes a job in one step, when its last line is staged, or never. One with a key that breaks
    off is gone on with where it stopped: the same stream, from its begin, under the same key.

    Args:
        store: takes the documents.
        dispatcher: queues the first of them.
        settings: chunks, limits and leases.
        now: seconds of a clock that is never set back.
    """

    def __init__(
        self,
        store: Store,
        dispatcher: Dispatcher,
        settings: AugmentationSettings,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._now = now
        self._store = store
        self._dispatcher = dispatcher
        self._settings = settings
        self._seats = Seats(settings.max_uploads, "uploads")

    async def receive(
        self, body: AsyncIterator[bytes], key: str | None, generator: str
    ) -> tuple[Job, bool]:
        """Return the job of a stream as it was accepted, and whether it was accepted before.

        It is to be taken in next. If that does not come to its end, the sweeper sees to it.

        Args:
            body: NDJSON, an `UploadedDocument` a line.
            key: of the caller, for this very stream.
            generator: wrote the synthetic queries that lines bring.

        Raises:
            InFlight: an upload with the key is under way.
            InvalidInput: the key came with another stream, or no line is a document.
            Conflict: the upload went into other hands, since this one was silent for too long.
            Unavailable: the store does not answer, or has no room, and then nothing is kept; or there are
                too many uploads.
            Expired: the stream brought nothing for too long.
        """
        with self._seats.taken():
            return await self._receive(body, key, generator)

    async def _receive(
        self, body: AsyncIterator[bytes], key: str | None, generator: str
    ) -> tuple[Job, bool]:
        stream = _patiently(body, self._settings.upload_idle_seconds)
        hold = Hold(
            uuid.uuid4().hex,
            2 * self._settings.upload_idle_seconds,
            self._settings.upload_keep_seconds,
        )
        opened = await asyncio.to_thread(self._store.open_upload, key, hold)
        if isinstance(opened, SealedUpload):
            if await _digest_of(stream) != opened.digest:
                raise InvalidInput(OTHER_BODY)
            return await asyncio.to_thread(self._store.accepted, opened.job_id), True
        try:
            staging = _Staging(self._store, self._settings, opened, hold, generator, self._now)
            await staging.run(stream)
        except Full:
            await _let_go(self._store.drop_upload, opened, hold)
            raise
        except BaseException:  # the client left, the service stops, Redis is away
            await _let_go(self._store.release_upload, opened, hold)
            raise
        return await asyncio.to_thread(self._store.accepted, opened.job_id), False

    async def take_in(self, job_id: str) -> None:
        """Take in and queue what is staged of a sealed upload."""
        pages = taking_in(
            self._store, self._dispatcher, job_id, queue_documents=self._settings.queue_documents
        )
        while await asyncio.to_thread(next, pages, None) is not None:
            pass  # page by page, so that one upload keeps no thread for minutes


def taking_in(
    store: Store, dispatcher: Dispatcher, job_id: str, *, queue_documents: int
) -> Iterator[int]:
    """Take in what is staged of a sealed upload page by page; yield how many documents of each wait now.

    The first are queued, the others are left to the sweeper, as is everything while the store or the queue
    is away: what is sealed is not lost.
    """
    free, is_last = queue_documents, False
    try:
        while not is_last:
            document_ids, is_last = store.take_in(job_id, _PAGE)
            is_queued = _queue(dispatcher, job_id, document_ids[:free])
            free = max(free - len(document_ids), 0) if is_queued else 0
            yield len(document_ids)
    except Unavailable as error:
        _log.warning("taking_in_broke_off", job=job_id, reason=str(error))


def _queue(dispatcher: Dispatcher, job_id: str, document_ids: Sequence[str]) -> bool:
    """Queue documents if that can be done now."""
    try:
        dispatcher.dispatch(job_id, document_ids)
    except Unavailable as error:
        _log.warning("dispatch_failed", job=job_id, reason=str(error))
        return False
    return True


def tend_once(store: Store, dispatcher: Dispatcher, *, queue_documents: int) -> None:
    """Drop uploads that nobody went on with, and take in what a process left staged when it ended."""
    try:
        if dropped := store.drop_expired_uploads(_DROPPED_AT_ONCE):
            _log.info("uploads_dropped", uploads=dropped)
        for job_id in store.sealed_uploads():
            taken = sum(taking_in(store, dispatcher, job_id, queue_documents=queue_documents))
            _log.info("upload_taken_in", job=job_id, documents=taken)
    except Unavailable as error:
        _log.warning("uploads_not_tended", reason=str(error))


class _Staging:
    """One upload under way."""

    def __init__(
        self,
        store: Store,
        settings: AugmentationSettings,
        upload: Upload,
        hold: Hold,
        generator: str,
        now: Callable[[], float],
    ) -> None:
        self._now = now
        self._store = store
        self._settings = settings
        self._job_id = upload.job_id
        self._hold = hold
        self._generator = generator
        self._reader = LineReader(
            chunk_bytes=settings.upload_chunk_bytes,
            max_line_bytes=settings.max_line_bytes,
            at=upload.at,
        )
        self._renewed_at = self._now()
        self._first_refusal = ""

    async def run(self, stream: AsyncIterator[bytes]) -> None:
        """Stage and seal all of it."""
        reader = self._reader
        async for data in stream:
            if reader.is_skipping:
                data, is_same = reader.skip(data)
                if not is_same:
                    raise InvalidInput(OTHER_BODY)
            await self._stage(reader.feed(data))
            if self._now() - self._renewed_at > self._settings.upload_idle_seconds / 2:
                await self._stage(reader.cut())
                await self._keep(Chunk(reader.position.bytes, reader.position, ()))
        if reader.is_skipping:
            raise InvalidInput(OTHER_BODY)
        await self._stage(reader.end())
        is_sealed = await asyncio.to_thread(
            self._store.seal,
            self._job_id,
            self._hold,
            reader.position,
            remember_seconds=self._settings.idempotency_seconds,
        )
        if not is_sealed:
            raise InvalidInput(
                f"no line is a document, expected one JSON object a line{self._first_refusal}"
            )

    async def _stage(self, some: Iterable[Lines]) -> None:
        for lines in some:
            chunk = await asyncio.to_thread(chunk_of, lines, self._generator)
            await self._keep(chunk)
            if chunk.refusals and not self._first_refusal:
                first = chunk.refusals[0]
                self._first_refusal = f"; line {first.line}: {first.reason}"

    async def _keep(self, chunk: Chunk) -> None:
        """Stage a chunk; an empty one holds the upload for longer."""
        await asyncio.to_thread(self._store.stage, self._job_id, self._hold, chunk)
        self._renewed_at = self._now()


async def _digest_of(stream: AsyncIterator[bytes]) -> str:
    digest = hashlib.sha256()
    async for data in stream:
        digest.update(data)
    return digest.hexdigest()


async def _let_go(let_go: Callable[[str, Hold], None], upload: Upload, hold: Hold) -> None:
    """End a hold if that can be done now; else time will."""
    with suppress(Unavailable):
        await asyncio.to_thread(let_go, upload.job_id, hold)


async def _patiently(body: AsyncIterator[bytes], idle_seconds: float) -> AsyncIterator[bytes]:
    """Yield what comes, for as long as something does."""
    while True:
        try:
            async with asyncio.timeout(idle_seconds):
                data = await anext(body)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise Expired(f"the upload brought nothing for {idle_seconds:g} seconds") from None
        yield data
