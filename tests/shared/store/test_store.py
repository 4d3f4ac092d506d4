import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.contracts.augmentation import Counts, JobState
from shared.contracts.document import Document, MetadataValue
from shared.contracts.synthetic_queries import Evidence, SyntheticQueries, WrittenQueries
from shared.errors import InvalidInput, NotFound
from shared.store import Store
from tests.support.documents import document_of, label_of, revision_of

D1, D2, D3 = (document_of(document_id) for document_id in ("d1", "d2", "d3"))
D1_CHANGED = document_of("d1", "played with two reeds")

metadata_value = st.one_of(
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=9),
    st.lists(st.text(max_size=9), max_size=3),
)


def similarities_of(store: Store, document_id: str) -> dict[str, float]:
    return {label.query_id: label.similarity for label in store.labels(document_id).labels}


# Documents and jobs


def test_what_is_accepted_can_be_read_back(store: Store) -> None:
    job = store.accept([D1, D2])

    assert store.document("d1") == D1
    assert job.state is JobState.ACCEPTED
    assert (job.documents, job.done, job.failed, job.labels) == (2, 0, 0, 0)
    assert store.job(job.id) == job


@given(metadata=st.dictionaries(st.text(max_size=9), metadata_value), text=st.text(max_size=9))
def test_a_document_keeps_its_content_hash_when_it_is_stored_as_json(
    metadata: dict[str, MetadataValue], text: str
) -> None:
    document = Document(id="d1", title="oboe", text=text, metadata=metadata)

    read_back = Document.model_validate_json(document.model_dump_json())

    assert read_back.content_hash == document.content_hash


@pytest.mark.parametrize("name", ["d9", "", "a/b", "d1:x", "ü"])
def test_an_unknown_name_is_not_found(store: Store, name: str) -> None:
    store.accept([D1])

    for read in (store.document, store.job, store.labels):
        with pytest.raises(NotFound, match=f"'{name}'"):
            read(name)


def test_a_job_runs_from_its_first_document_to_its_last(store: Store) -> None:
    job = store.accept([D1, D2])

    store.finish_document(job.id, "d1", labels=3)
    assert store.job(job.id).state is JobState.RUNNING
    assert store.job(job.id).finished_at is None
    store.finish_document(job.id, "d2", labels=2)

    job = store.job(job.id)
    assert (job.state, job.done, job.failed, job.labels) == (JobState.DONE, 2, 0, 5)
    assert job.finished_at is not None
    assert job.finished_at >= job.accepted_at


def test_a_job_with_failures_is_partial_or_failed_and_says_why(store: Store) -> None:
    partial, failed = store.accept([D1, D2]), store.accept([D1])
    store.finish_document(partial.id, "d1")
    store.finish_document(partial.id, "d2", error="too strange")
    store.finish_document(failed.id, "d1", error="")

    assert store.job(partial.id).state is JobState.PARTIAL
    assert store.job(partial.id).errors == {"d2": "too strange"}
    assert store.job(failed.id).state is JobState.FAILED
    assert store.job(failed.id).errors == {"d1": ""}


def test_a_document_is_finished_once(store: Store) -> None:
    job = store.accept([D1, D2])
    store.finish_document(job.id, "d1", labels=3)
    before = store.job(job.id)

    store.finish_document(job.id, "d1", labels=3)
    store.finish_document(job.id, "d1", error="late")
    store.finish_document(job.id, "d9", labels=1)
    store.finish_document("another", "d2", labels=1)

    assert store.job(job.id) == before
    assert store.counts().done == 1


def test_jobs_are_listed_newest_first(store: Store) -> None:
    jobs = [store.accept([D1]) for _ in range(3)]

    assert [job.id for job in store.jobs(2)[0]] == [jobs[2].id, jobs[1].id]


# Leases


def test_a_document_is_abandoned_until_it_is_leased_or_finished(store: Store) -> None:
    job = store.accept([D1, D2, D3])
    assert store.abandoned(10) == {job.id: ["d1", "d2", "d3"]}

    assert store.lease(job.id, ["d1"], 60) == ["d1"]
    store.finish_document(job.id, "d2")

    assert store.abandoned(10) == {job.id: ["d3"]}


def test_a_lease_that_ran_out_leaves_its_documents_abandoned(store: Store) -> None:
    job = store.accept([D1])
    store.lease(job.id, ["d1"], 60)

    store.lease(job.id, ["d1"], 0)

    assert store.abandoned(10) == {job.id: ["d1"]}


def test_only_documents_that_wait_can_be_leased(store: Store) -> None:
    job = store.accept([D1, D2])
    store.finish_document(job.id, "d1")

    assert store.lease(job.id, ["d2", "d1", "d9"], 60) == ["d2"]
    assert store.lease("another", ["d2"], 60) == []
    assert store.abandoned(10) == {}


def test_no_more_are_abandoned_than_asked_for(store: Store) -> None:
    for _ in range(2):
        store.accept([D1, D2])

    assert sum(len(documents) for documents in store.abandoned(3).values()) == 3


# Synthetic queries


def _written(texts: list[str]) -> WrittenQueries:
    return WrittenQueries(queries=texts, evidence=[Evidence(0.5, -1.25) for _ in texts])


def test_synthetic_queries_are_kept_for_their_content_and_generator(store: Store) -> None:
    store.accept([D1])
    store.put_synthetic_queries(D1, "slm-1", _written(["a", "b"]))

    assert store.synthetic_queries(D1, "slm-1") == _written(["a", "b"])
    assert store.synthetic_queries(D1, "slm-2") is None
    assert store.synthetic_queries(D1_CHANGED, "slm-1") is None


def test_the_first_synthetic_queries_stay(store: Store) -> None:
    store.accept([D1])
    store.put_synthetic_queries(D1, "slm-1", _written([]))
    store.put_synthetic_queries(D1, "slm-1", _written(["another draw"]))

    assert store.synthetic_queries(D1, "slm-1") == _written([])


def test_accepting_the_same_content_again_keeps_its_synthetic_queries(store: Store) -> None:
    store.accept([D1])
    store.put_synthetic_queries(D1, "slm-1", _written(["a"]))

    store.accept([D1])

    assert store.synthetic_queries(D1, "slm-1") == _written(["a"])


def test_synthetic_queries_of_outdated_content_are_not_kept(store: Store) -> None:
    store.accept([D1])
    store.put_synthetic_queries(D1, "slm-1", _written(["old"]))
    store.accept([D1_CHANGED])
    store.put_synthetic_queries(D1, "slm-1", _written(["old"]))
    store.accept([D1])

    assert store.synthetic_queries(D1, "slm-1") is None


# Labels


def test_a_document_without_labels_waits_for_its_first_revision(store: Store) -> None:
    store.accept([D1])

    labels = store.labels("d1")

    assert labels.revision is None
    assert labels.labels == []
    assert list(store.iterate_labels()) == []


def test_labels_are_given_best_first_with_why_they_exist(store: Store) -> None:
    store.accept([D1])
    revision = revision_of(D1, label_of("q1", 0.7), label_of("q2", 0.9, "orchestra"))

    assert store.write_labels("d1", revision)

    labels = store.labels("d1")
    assert labels.revision == revision.name
    assert labels.synthetic_queries == ["reed wind", "orchestra"]
    assert [label.query_id for label in labels.labels] == ["q2", "q1"]
    best = labels.labels[0]
    assert (best.query, best.similarity) == ("text of q2", 0.9)
    why = best.provenance
    assert (why.synthetic_query, why.rank) == ("orchestra", 1)
    assert (why.generator, why.encoder, why.min_similarity) == ("slm-1", "encoder-1", 0.6)
    assert why.created_at >= store.jobs(1)[0][0].accepted_at


def test_a_similarity_is_kept_to_the_last_digit(store: Store) -> None:
    store.accept([D1])
    store.write_labels("d1", revision_of(D1, label_of("q1", 0.1 + 0.2)))

    assert similarities_of(store, "d1") == {"q1": 0.1 + 0.2}


def test_a_retry_never_lowers_a_score(store: Store) -> None:
    store.accept([D1])
    store.write_labels("d1", revision_of(D1, label_of("q1", 0.9, "first"), label_of("q2", 0.7)))
    store.write_labels("d1", revision_of(D1, label_of("q1", 0.8, "second"), label_of("q2", 0.75)))

    assert similarities_of(store, "d1") == {"q1": 0.9, "q2": 0.75}
    assert store.labels("d1").labels[0].provenance.synthetic_query == "first"
    assert store.counts().labels == 2


def test_a_new_revision_replaces_the_one_before(store: Store) -> None:
    store.accept([D1])
    store.write_labels("d1", revision_of(D1, label_of("q1", 0.9), label_of("q2", 0.8)))
    later = revision_of(D1, label_of("q2", 0.7), label_of("q3", 0.6), encoder="encoder-2")

    assert store.write_labels("d1", later)

    assert similarities_of(store, "d1") == {"q2": 0.7, "q3": 0.6}
    assert store.documents_of("q1") == []
    assert store.documents_of("q2") == ["d1"]
    assert store.counts().labels == 2


def test_a_revision_without_labels_replaces_too(store: Store) -> None:
    store.accept([D1])
    store.write_labels("d1", revision_of(D1, label_of("q1", 0.9)))
    empty = revision_of(D1, generator="slm-2")

    assert store.write_labels("d1", empty)

    assert store.labels("d1").revision == empty.name
    assert store.labels("d1").labels == []
    assert store.counts().labels == 0


def test_a_worker_with_outdated_content_cannot_move_a_document_back(store: Store) -> None:
    store.accept([D1])
    store.accept([D1_CHANGED])
    current = revision_of(D1_CHANGED, label_of("q2", 0.9))
    store.write_labels("d1", current)

    assert not store.write_labels("d1", revision_of(D1, label_of("q1", 1.0)))

    assert store.labels("d1").revision == current.name
    assert store.documents_of("q1") == []


def test_labels_of_a_document_never_accepted_are_refused(store: Store) -> None:
    assert not store.write_labels("d1", revision_of(D1, label_of("q1", 1.0)))
    assert store.counts().labels == 0


def test_old_labels_stay_until_the_changed_document_has_new_ones(store: Store) -> None:
    store.accept([D1])
    store.write_labels("d1", revision_of(D1, label_of("q1", 0.9)))

    store.accept([D1_CHANGED])

    assert similarities_of(store, "d1") == {"q1": 0.9}


def test_all_current_labels_are_listed_by_document_best_first(store: Store) -> None:
    documents = [document_of(f"d{number:03}") for number in range(450)]
    store.accept(documents)
    for document in documents[::2]:
        store.write_labels(document.id, revision_of(document, label_of("q2", 0.6), label_of("q1", 0.6), label_of("q3", 0.8)))  # fmt: skip

    exported = [(each.document_id, each.query_id) for each in store.iterate_labels()]

    assert exported == [
        (document.id, query_id) for document in documents[::2] for query_id in ("q3", "q1", "q2")
    ]


def test_what_current_labels_were_made_from_is_listed_by_document(store: Store) -> None:
    documents = [document_of(f"d{number:03}") for number in range(450)]
    store.accept(documents)
    for document in documents[::2]:
        store.write_labels(document.id, revision_of(document))

    rows = list(store.iterate_synthetic_queries())

    assert [row.document_id for row in rows] == [document.id for document in documents[::2]]
    assert rows[0] == SyntheticQueries(
        document_id="d000",
        queries=["reed wind", "orchestra"],
        evidence=[Evidence(1.0, -0.5), Evidence(0.25)],
    )


def test_a_train_query_leads_to_its_documents(store: Store) -> None:
    store.accept([D1, D2])
    for document in (D2, D1):
        store.write_labels(document.id, revision_of(document, label_of("q1", 0.7)))

    assert store.documents_of("q1") == ["d1", "d2"]
    assert store.documents_of("q9") == []


def test_counts_add_up(store: Store) -> None:
    assert store.counts() == Counts(labels=0, accepted=0, waiting=0, done=0, failed=0)
    first, _ = store.accept([D1, D2]), store.accept([D1])
    store.write_labels("d1", revision_of(D1, label_of("q1", 0.7)))
    store.finish_document(first.id, "d1", labels=1)
    store.finish_document(first.id, "d2", error="no")

    assert store.counts() == Counts(
        documents=2,
        labels=1,
        accepted=3,
        waiting=1,
        done=1,
        failed=1,
        dead_letters=1,
        jobs={JobState.PARTIAL: 1, JobState.ACCEPTED: 1},
    )


def test_a_similarity_that_is_no_number_is_refused() -> None:
    with pytest.raises(InvalidInput, match="'q1' has similarity nan"):
        revision_of(D1, label_of("q1", float("nan")))


def test_what_made_a_revision_is_in_its_name() -> None:
    revisions = [
        revision_of(D1),
        revision_of(D1_CHANGED),
        revision_of(D1, generator="slm-2"),
        revision_of(D1, encoder="encoder-2"),
        revision_of(D1, min_similarity=0.5),
    ]

    assert len({revision.name for revision in revisions}) == len(revisions)
    assert revision_of(D1).name == revision_of(D1, label_of("q1", 0.9)).name
