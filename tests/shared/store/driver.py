"""Runs operations on any store and says what is to be seen of it."""

from __future__ import annotations

from collections.abc import Sequence

from shared.contracts.augmentation import Job, Refusal
from shared.contracts.document import Document
from shared.contracts.mapping import MappedQuery
from shared.contracts.synthetic_queries import WrittenQueries
from shared.errors import NotFound, SkimError
from shared.store import Remap, Store
from shared.store.intake import Chunk, Hold, Incoming, Key, Position, SealedUpload
from tests.shared.store.operations import (
    SCORES,
    VERSIONS,
)
from tests.support.documents import label_of, revision_of


class Driver:
    """Runs the same operations on any store, jobs named by their order."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.jobs: list[str] = []
        self.uploads: list[str] = []
        self.at: dict[str, Position] = {}

    def run(self, name: str, *values: object) -> object:
        try:
            return getattr(self, f"_{name}")(*values)
        except SkimError as error:
            return type(error), str(error).replace(self._id(values[0]), "JOB")

    def seen(self) -> object:
        """Everything a caller can read, without times and job ids."""
        return {
            "jobs": [self._job(job_id) for job_id in self.jobs],
            "pages": self._pages(),
            "accepted": [self._accepted(job_id) for job_id in self.jobs],
            "sealed": [self.jobs.index(each) for each in self.store.sealed_uploads()],
            "labels": [self._labels(id_) for id_ in ("d1", "d2")],
            "synthetic": [
                self.store.synthetic_queries(version, name)
                for version in VERSIONS
                for name in ("slm-1", "slm-2")
            ],
            "exported": list(self.store.iterate_labels()),
            "made from": list(self.store.iterate_synthetic_queries()),
            "opening": [self.jobs.index(each) for each in self.store.opening()],
            "remaps": [self.store.remap_of(job_id) for job_id in self.jobs],
            "followed": self._followed(),
            "labelled": [self.store.labelled_with(id_, 1) for id_ in ("q1", "q2", "q3")],
            "stored": self.store.stored(["d1", "d2", "d9"]),
            "documents": [self.store.documents_of(id_) for id_ in ("q1", "q2", "q3")],
            "counts": self.store.counts(),
            "dead": [
                (each.document_id, self.jobs.index(each.job_id), each.reason, each.tries)
                for each in self.store.dead_letters(9).dead_letters
            ],
            "abandoned": {
                self.jobs.index(job_id): sorted(document_ids)
                for job_id, document_ids in self.store.abandoned(99).items()
            },
        }

    def _accept(self, documents: list[Document]) -> None:
        self.jobs.append(self.store.accept(documents).id)

    def _request(
        self,
        documents: list[Document],
        generator: str | None,
        key: str | None,
        digest: str,
    ) -> object:
        written = generator and WrittenQueries(queries=["written before"])
        incoming = [Incoming(each, generator or "", written or None) for each in documents]
        known_by = Key(key, digest, 60) if key else None
        accepted = self.store.accept_request(incoming, known_by)
        self._know(accepted.job.id)
        number = self.jobs.index(accepted.job.id)
        return number, self._accepted(accepted.job.id), accepted.unchanged, accepted.is_replay

    def _label(self, document: Document) -> object:
        """Have a document labelled by the generator that serves."""
        self._request([document], None, None, "")
        self._note("slm-1")
        return self._write(document, "slm-1", [label_of("q1", 0.9)], 1, "p1")

    def _note(self, generator: str) -> None:
        self.store.note_generator(generator)

    def _cancel(self, job: int) -> object:
        return self._bare(self.store.cancel(self._id(job)))

    def _open(
        self, key: str | None, owner: str, seconds: int, keep_seconds: int
    ) -> tuple[int, Position | str]:
        found = self.store.open_upload(key, Hold(owner, seconds, keep_seconds))
        if isinstance(found, SealedUpload):
            return self.jobs.index(found.job_id), found.digest
        if found.job_id not in self.uploads:
            self.uploads.append(found.job_id)
        self.at[found.job_id] = found.at
        return self.uploads.index(found.job_id), found.at

    def _upload(
        self,
        key: str | None,
        owner: str,
        seconds: int,
        chunks: list[list[Document]],
        end: str,
    ) -> object:
        """Go through a whole upload, and end it or leave it as it is."""
        found = self._open(key, owner, seconds, seconds)
        if not isinstance(found[1], Position):
            return found
        upload = found[0]
        for documents in chunks:
            self._stage(upload, owner, seconds, documents, has_bad=len(documents) == 1)
        if end == "seal":
            return found, self._seal(upload, owner)
        if end != "nothing":
            getattr(self, f"_{end}")(upload, owner)
        return found

    def _stage(
        self, upload: int, owner: str, seconds: int, documents: list[Document], has_bad: bool
    ) -> None:
        job_id = self._upload_id(upload)
        since = self.at.get(job_id, Position())
        to = Position(since.bytes + 9, since.lines + 9, f"digest at {since.bytes + 9}")
        rows = [(since.lines + at, Incoming(each)) for at, each in enumerate(documents, start=1)]
        bad = [Refusal(line=since.lines + 9, reason="no JSON")] if has_bad else []
        self.store.stage(
            job_id, Hold(owner, seconds, 60), Chunk(since.bytes, to, rows, len(bad), bad)
        )
        self.at[job_id] = to

    def _seal(self, upload: int, owner: str) -> object:
        job_id = self._upload_id(upload)
        at = self.at.get(job_id, Position())
        is_sealed = self.store.seal(job_id, Hold(owner, 60, 60), at, remember_seconds=60)
        if is_sealed:
            self._know(job_id)
        return is_sealed

    def _take_in(self, job: int, limit: int) -> object:
        sealed = self.store.sealed_uploads()
        document_ids, is_last = self.store.take_in(
            sealed[0] if sealed and job == -1 else self._id(job), limit
        )
        return list(document_ids), is_last

    def _release(self, upload: int, owner: str) -> None:
        self.store.release_upload(self._upload_id(upload), Hold(owner, 60, 60))

    def _drop(self, upload: int, owner: str) -> None:
        self.store.drop_upload(self._upload_id(upload), Hold(owner, 60, 60))

    def _drop_expired(self, limit: int) -> object:
        return self.store.drop_expired_uploads(limit)

    def _know(self, job_id: str) -> None:
        if job_id not in self.jobs:
            self.jobs.append(job_id)

    def _pages(self) -> object:
        """All jobs, two at a time."""
        pages, cursor = [], None
        while True:
            jobs, cursor = self.store.jobs(2, cursor)
            pages.append([self.jobs.index(each.id) for each in jobs])
            if cursor is None:
                return pages

    def _accepted(self, job_id: str) -> object:
        return self._bare(self.store.accepted(job_id))

    def _upload_id(self, upload: int) -> str:
        return self.uploads[upload] if self.uploads[upload:] else "unknown"

    def _lease(self, job: int, document: Document, seconds: float) -> object:
        return list(self.store.lease(self._id(job), [document.id], seconds))

    def _take(self, job: int, ids: list[str], owner: str, seconds: float) -> object:
        taken = self.store.take(self._id(job), ids, owner, seconds)
        return list(taken.document_ids), list(taken.apart)

    def _renew(self, job: int, ids: list[str], owner: str, seconds: float) -> None:
        self.store.renew(self._id(job), ids, owner, seconds)

    def _hand_back(self, job: int, ids: list[str], owner: str, seconds: float) -> None:
        self.store.hand_back(self._id(job), ids, owner, seconds)

    def _blame(self, job: int, ids: list[str], owner: str) -> object:
        return list(self.store.blame(self._id(job), ids, owner, 60, "odd"))

    def _claim(self) -> object:
        claimed = self.store.claim(99, 60, 600)
        return {self.jobs.index(job_id): sorted(ids) for job_id, ids in claimed.items()}

    def _replay(self, ids: list[str], limit: int) -> object:
        found = self.store.replay(ids, limit)
        if found is None:
            return None
        self.jobs.append(found[0].id)
        return list(found[1])

    def _purge(self, ids: list[str]) -> object:
        return self.store.purge(ids)

    def _finish(self, job: int, document: Document, error: str | None) -> None:
        self.store.finish_document(self._id(job), document.id, labels=2, error=error)

    def _put(self, document: Document, generator: str, queries: list[str]) -> None:
        self.store.put_synthetic_queries(document, generator, WrittenQueries(queries=queries))

    def _write(
        self,
        document: Document,
        generator: str,
        labels: Sequence[MappedQuery],
        version: int,
        policy: str,
    ) -> bool:
        revision = revision_of(
            document, *labels, generator=generator, index_version=version, policy=policy
        )
        return self.store.write_labels(document.id, revision)

    def _remove(self, document_ids: list[str]) -> object:
        return self.store.remove_documents(document_ids)

    def _remove_labels(self, query_ids: list[str], version: int) -> object:
        return self.store.remove_labels_of(query_ids, version)

    def _remap(self, remap: Remap) -> None:
        self.jobs.append(self.store.begin_remap(remap).id)

    def _page(self, job: int, limit: int) -> object:
        page = self.store.accept_page(self._id(job), limit)
        return list(page.document_ids), page.is_last

    def _follow(self, is_current: bool, version: int, policy: str, remap: Remap | None) -> object:
        since = self.store.followed() if is_current else None
        is_done = self.store.follow(since, version, policy, remap)
        if is_done and (job_id := self.store.followed().job_id):
            self.jobs.append(job_id)
        return is_done

    def _behind(self, limit: int) -> object:
        found = self.store.remap_behind(limit)
        if found is None:
            return None
        self.jobs.append(found[0])
        return found[1]

    def _followed(self) -> object:
        found = self.store.followed()
        return found and (found.version, found.policy, found.job_id in self.jobs)

    def _id(self, job: object) -> str:
        return self.jobs[job] if isinstance(job, int) and self.jobs[job:] else "unknown"

    def _job(self, job_id: str) -> object:
        return self._bare(self.store.job(job_id))

    def _bare(self, found: Job) -> object:
        return (
            found.finished_at is None,
            found.model_dump(exclude={"id", "accepted_at", "finished_at"}),
        )

    def _labels(self, document_id: str) -> object:
        try:
            found = self.store.labels(document_id)
        except NotFound:
            return None
        for label in found.labels:
            assert label.similarity in SCORES
        return found.model_dump(
            exclude={"labels": {"__all__": {"provenance": {"created_at": True}}}}
        )
