"""An upload, step by step, for tests of any store."""

from __future__ import annotations

from collections.abc import Sequence

from shared.contracts.augmentation import Refusal
from shared.contracts.document import Document
from shared.store import Store
from shared.store.intake import (
    Chunk,
    Hold,
    Incoming,
    Key,
    Position,
)
from tests.support.documents import document_of, label_of, revision_of

D1, D2, D3 = (document_of(document_id) for document_id in ("d1", "d2", "d3"))
D1_CHANGED = document_of("d1", "played with two reeds")
KEY = Key("k1", "digest of the body", 60)
MINE, YOURS = Hold("me", 60, 600), Hold("you", 60, 600)
OVER = Hold("me", 0, 0)
"""A hold that is over as soon as it is taken."""


def incoming(*documents: Document) -> list[Incoming]:
    return [Incoming(each) for each in documents]


def position(lines: int) -> Position:
    return Position(lines * 10, lines, f"digest of {lines}")


def chunk_of(
    documents: Sequence[Document], *, after: int = 0, refusals: Sequence[Refusal] = ()
) -> Chunk:
    """Return a chunk of a line of ten bytes a document, and some that are refused after them."""
    rows = [(after + at, Incoming(each)) for at, each in enumerate(documents, start=1)]
    to = position(after + len(documents) + len(refusals))
    return Chunk(after * 10, to, rows, len(refusals), refusals)


def upload(
    store: Store, *documents: Document, key: str | None = None, hold: Hold = MINE
) -> tuple[str, Position]:
    """Open an upload and stage one chunk."""
    job_id = store.open_upload(key, hold).job_id
    chunk = chunk_of(documents)
    store.stage(job_id, hold, chunk)
    return job_id, chunk.to


def sealed(store: Store, *documents: Document, key: str | None = None) -> str:
    job_id, to = upload(store, *documents, key=key)
    assert store.seal(job_id, MINE, to, remember_seconds=60)
    return job_id


def label(store: Store, document: Document, generator: str = "slm-1") -> None:
    """Have a document labelled by a generator."""
    store.accept([document])
    store.write_labels(
        document.id, revision_of(document, label_of("q1", 0.9), generator=generator)
    )
