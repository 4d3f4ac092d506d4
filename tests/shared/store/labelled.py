"""Documents, their labels, and a store that follows the mapping, for tests of any store."""

from __future__ import annotations

from shared.store import Remap, Store
from tests.support.documents import document_of, label_of

D1, D2, D3 = (document_of(document_id) for document_id in ("d1", "d2", "d3"))
D1_CHANGED = document_of("d1", "played with two reeds")
Q1, Q2 = label_of("q1", 0.9), label_of("q2", 0.8)


def queries_of(store: Store, document_id: str = "d1") -> list[str]:
    return [label.query_id for label in store.labels(document_id).labels]


def follow(store: Store, version: int, policy: str = "p1", remap: Remap | None = None) -> bool:
    return store.follow(store.followed(), version, policy, remap)


def accepted(store: Store, job_id: str, limit: int) -> list[list[str]]:
    """Return the pages of a remap, to its end."""
    pages = []
    while True:
        page = store.accept_page(job_id, limit)
        pages.append(list(page.document_ids))
        if page.is_last:
            return pages
