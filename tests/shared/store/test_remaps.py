"""Remaps, the same in memory and in Redis: every labelled document once, page by page."""

from __future__ import annotations

import pytest

from shared.contracts.augmentation import JobKind, JobState
from shared.contracts.synthetic_queries import WrittenQueries
from shared.errors import InvalidInput
from shared.store import MAX_AMONG, Remap, Store
from tests.shared.store.labelled import D1, D1_CHANGED, D2, D3, Q1, accepted
from tests.support.documents import document_of, revision_of


def test_a_remap_accepts_labelled_documents_page_by_page_and_then_ends(store: Store) -> None:
    documents = [document_of(f"d{number}") for number in range(5)]
    store.accept(documents)
    for document in documents[1:]:
        store.write_labels(document.id, revision_of(document))
    job = store.begin_remap(Remap(("q1",)))
    assert (job.kind, job.documents, store.opening()) == (JobKind.REMAP, 0, [job.id])

    first = store.accept_page(job.id, 3)
    assert (list(first.document_ids), first.is_last) == (["d1", "d2"], False)
    for each in first.document_ids:
        store.finish_document(job.id, each)
    assert store.job(job.id).state is JobState.RUNNING
    assert store.remap_of(job.id) == Remap(("q1",))

    assert accepted(store, job.id, 3) == [["d3", "d4"]]
    assert store.opening() == []
    assert store.lease(job.id, ["d1", "d3", "d4"], 60) == ["d3", "d4"]
    for each in ("d3", "d4"):
        store.finish_document(job.id, each, labels=2)
    ended = store.job(job.id)
    assert (ended.state, ended.documents, ended.done, ended.labels) == (JobState.DONE, 4, 4, 4)
    assert store.accept_page(job.id, 3).document_ids == []
    assert store.counts().jobs == {JobState.ACCEPTED: 1, JobState.DONE: 1}


def test_a_remap_of_nothing_is_done(store: Store) -> None:
    job = store.begin_remap(Remap())

    assert accepted(store, job.id, 2) == [[]]
    assert store.job(job.id).state is JobState.DONE


def test_the_pages_of_a_remap_hold_every_labelled_document_once(store: Store) -> None:
    documents = [document_of(f"d{number:03}") for number in range(23)]
    store.accept(documents)
    for document in documents:
        store.write_labels(document.id, revision_of(document))
    job = store.begin_remap(Remap())

    pages = accepted(store, job.id, 5)

    assert [each for page in pages for each in page] == [document.id for document in documents]
    assert max(map(len, pages)) == 5
    assert store.job(job.id).documents == store.counts().waiting - 23 == 23


def test_other_jobs_are_no_remaps(store: Store) -> None:
    job = store.accept([D1])

    assert store.job(job.id).kind is JobKind.AUGMENT
    assert store.remap_of(job.id) is None
    assert store.remap_of("unknown") is None


def test_a_remap_among_too_many_is_refused() -> None:
    with pytest.raises(InvalidInput, match="among 1001 train queries, expected at most 1000"):
        Remap(tuple(f"q{number}" for number in range(MAX_AMONG + 1)))


def test_what_can_be_mapped_anew_is_what_the_labels_generator_wrote(store: Store) -> None:
    store.accept([D1, D2, D3])
    for generator in ("slm-1", "slm-2"):
        store.put_synthetic_queries(D1, generator, WrittenQueries(queries=[generator]))
    store.put_synthetic_queries(D2, "slm-1", WrittenQueries(queries=["by slm-1"]))
    store.write_labels("d1", revision_of(D1, Q1, generator="slm-2"))
    store.write_labels("d2", revision_of(D2, Q1, generator="slm-2"))

    found = store.stored(["d1", "d2", "d3", "d9"])

    assert list(found) == ["d1"]
    assert found["d1"].document == D1
    assert (found["d1"].generator, found["d1"].written.queries) == ("slm-2", ["slm-2"])
    store.accept([D1_CHANGED])
    assert store.stored(["d1"]) == {}
