"""What keeps labels current, the same in memory and in Redis."""

import threading
from collections import Counter

import orjson
import pytest
import redis

from shared.contracts.augmentation import JobKind, JobState, LabelledDocument
from shared.contracts.synthetic_queries import WrittenQueries
from shared.errors import InvalidInput, NotFound
from shared.store import MAX_AMONG, RedisStore, Remap, Store
from shared.store.protocols import Followed
from tests.support.documents import document_of, label_of, revision_of

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


# Versions


def test_a_worker_with_an_older_index_cannot_move_a_document_back(store: Store) -> None:
    store.accept([D1])
    assert store.write_labels("d1", revision_of(D1, Q1, index_version=2))

    assert not store.write_labels("d1", revision_of(D1, Q2, index_version=1))

    assert queries_of(store) == ["q1"]
    assert store.documents_of("q2") == []
    assert store.counts().labels == 1


def test_a_later_version_replaces_and_does_not_merge(store: Store) -> None:
    store.accept([D1])
    store.write_labels("d1", revision_of(D1, Q1, index_version=1, policy="p1"))

    assert store.write_labels("d1", revision_of(D1, Q2, index_version=2, policy="p1"))
    assert queries_of(store) == ["q2"]
    assert store.write_labels("d1", revision_of(D1, Q1, index_version=2, policy="p2"))

    assert queries_of(store) == ["q1"]
    assert store.documents_of("q2") == []
    assert store.counts().labels == 1


def test_a_version_written_twice_counts_once(store: Store) -> None:
    store.accept([D1])
    for _ in range(2):
        assert store.write_labels("d1", revision_of(D1, Q1, index_version=2**53 - 1))

    assert store.counts().labels == 1
    assert store.labels("d1").labels[0].provenance.index_version == 2**53 - 1


def test_new_content_is_labelled_even_by_an_older_index(store: Store) -> None:
    store.accept([D1])
    store.write_labels("d1", revision_of(D1, Q1, index_version=5))
    store.accept([D1_CHANGED])

    assert store.write_labels("d1", revision_of(D1_CHANGED, Q2, index_version=4))

    assert queries_of(store) == ["q2"]


def test_a_changed_document_replaces_its_own_labels_and_no_others(store: Store) -> None:
    store.accept([D1, D2])
    for document in (D1, D2):
        store.write_labels(document.id, revision_of(document, Q1, Q2))
    store.accept([D1_CHANGED])

    store.write_labels("d1", revision_of(D1_CHANGED, label_of("q3", 0.7)))

    assert queries_of(store, "d1") == ["q3"]
    assert queries_of(store, "d2") == ["q1", "q2"]
    assert [store.documents_of(each) for each in ("q1", "q2", "q3")] == [["d2"], ["d2"], ["d1"]]
    assert store.counts().labels == 3


def test_a_label_says_all_that_it_came_from(store: Store) -> None:
    store.accept([D1])
    label = label_of("q1", 0.9, probability=1 / 3)
    store.write_labels("d1", revision_of(D1, label, Q2, index_version=7, policy="p1"))

    first, second = (label.provenance for label in store.labels("d1").labels)

    assert (first.policy, first.index_version, first.agreement) == ("p1", 7, 2)
    assert (first.probability, second.probability) == (1 / 3, None)
    assert [each.probability for each in store.iterate_labels()] == [1 / 3, None]


def test_labels_of_earlier_versions_are_read_and_replaced(
    redis_store: RedisStore, redis_client: redis.Redis
) -> None:
    """As SKIM wrote them before there were versions, key by key."""
    redis_store.accept([D1])
    old = revision_of(D1).name
    made_by = {"synthetic_queries": ["reed"], "generator": "slm-1", "encoder": "encoder-1"}
    redis_client.hset(
        f"skim:1:provenance:d1:{old}",
        mapping={
            "@": orjson.dumps({**made_by, "min_similarity": 0.6}),
            "@at": 1,
            "q1": orjson.dumps(["text of q1", "reed", 3]),
        },
    )
    redis_client.zadd(f"skim:1:labels:d1:{old}", {"q1": 0.7})
    redis_client.sadd("skim:1:query:q1", "d1")
    redis_client.hset("skim:1:document:d1", "revision", old)
    redis_client.hincrby("skim:1:totals", "labels", 1)

    [label] = redis_store.labels("d1").labels
    why = label.provenance
    assert (why.rank, why.agreement, why.probability) == (3, 1, None)
    assert (why.policy, why.index_version) == ("", 0)
    assert [each.probability for each in redis_store.iterate_labels()] == [None]

    assert redis_store.write_labels("d1", revision_of(D1, Q2, index_version=1))
    assert queries_of(redis_store) == ["q2"]
    assert redis_store.counts().labels == 1


# Removal


def test_a_removed_document_takes_everything_with_it(store: Store) -> None:
    store.accept([D1, D2])
    store.put_synthetic_queries(D1, "slm-1", WrittenQueries(queries=["reed"]))
    for document in (D1, D2):
        store.write_labels(document.id, revision_of(document, Q1))

    assert store.remove_documents(["d1", "d9", "d1"]) == ["d1"]

    for read in (store.document, store.labels):
        with pytest.raises(NotFound):
            read("d1")
    assert store.synthetic_queries(D1, "slm-1") is None
    assert store.documents_of("q1") == ["d2"]
    assert [each.document_id for each in store.iterate_labels()] == ["d2"]
    counts = store.counts()
    assert (counts.documents, counts.labels) == (1, 1)


def test_nothing_of_a_removed_document_is_left_in_redis(
    redis_store: RedisStore, redis_client: redis.Redis
) -> None:
    redis_store.accept([D1])
    redis_store.put_synthetic_queries(D1, "slm-1", WrittenQueries(queries=["reed"]))
    follow(redis_store, 2)
    label = label_of("q1", 0.9, probability=0.5)
    redis_store.write_labels("d1", revision_of(D1, label, index_version=1))

    redis_store.remove_documents(["d1"])

    patterns = ("*:d1", "*:d1:*", "skim:1:query:*")  # a job's id may begin with d1
    assert [each for pattern in patterns for each in redis_client.keys(pattern)] == []
    assert not redis_client.exists("skim:1:documents", "skim:1:behind")


def test_a_worker_in_the_middle_of_a_removed_document_does_not_bring_it_back(store: Store) -> None:
    job = store.accept([D1])
    store.lease(job.id, ["d1"], 60)
    store.remove_documents(["d1"])

    store.put_synthetic_queries(D1, "slm-1", WrittenQueries(queries=["reed"]))
    assert not store.write_labels("d1", revision_of(D1, Q1))
    store.finish_document(job.id, "d1")

    assert store.job(job.id).state is JobState.DONE
    assert store.counts().documents == 0
    assert store.documents_of("q1") == []
    assert store.synthetic_queries(D1, "slm-1") is None


def test_a_job_ends_without_the_documents_that_were_removed(store: Store) -> None:
    job = store.accept([D1, D2])
    store.remove_documents(["d1"])
    assert store.abandoned(10) == {job.id: ["d1", "d2"]}

    assert store.lease(job.id, ["d1", "d2"], 60) == ["d2"]
    assert store.job(job.id).done == 1
    store.finish_document(job.id, "d2", labels=1)

    ended = store.job(job.id)
    assert (ended.state, ended.done, ended.labels, ended.errors) == (JobState.DONE, 2, 1, {})


def test_a_removed_train_query_takes_its_labels_with_it(store: Store) -> None:
    documents = [document_of(f"d{number:03}") for number in range(450)]
    store.accept(documents)
    for document in documents:
        store.write_labels(document.id, revision_of(document, Q1, Q2, index_version=1))

    assert store.remove_labels_of(["q1", "q9"], 2) == 450

    assert store.documents_of("q1") == []
    assert queries_of(store, "d007") == ["q2"]
    assert store.counts().labels == 450
    assert {each.query_id for each in store.iterate_labels()} == {"q2"}
    assert store.remove_labels_of(["q1"], 2) == 0


def test_labels_that_know_of_the_removal_stay(store: Store) -> None:
    """The train query is back with another text, and the document was mapped to that."""
    store.accept([D1])
    store.write_labels("d1", revision_of(D1, Q1, index_version=2))

    assert store.remove_labels_of(["q1"], 2) == 0
    assert queries_of(store) == ["q1"]


def test_a_worker_that_mapped_before_the_removal_writes_no_removed_label(store: Store) -> None:
    store.accept([D1])
    store.remove_labels_of(["q1"], 2)

    assert store.write_labels("d1", revision_of(D1, Q1, Q2, index_version=1))

    assert queries_of(store) == ["q2"]
    assert store.documents_of("q1") == []
    assert store.counts().labels == 1
    assert store.write_labels("d1", revision_of(D1, Q1, Q2, index_version=2))
    assert queries_of(store) == ["q1", "q2"]


def test_documents_that_lost_a_label_are_behind(store: Store) -> None:
    store.accept([D1, D2, D3])
    store.write_labels("d1", revision_of(D1, Q1, index_version=1, policy="p1"))
    store.write_labels("d2", revision_of(D2, Q2, index_version=1, policy="p1"))
    store.remove_labels_of(["q1"], 2)
    store.write_labels("d3", revision_of(D3, Q1, index_version=1, policy="p1"))
    follow(store, 2)

    found = store.remap_behind(10)

    assert found is not None
    assert found[1] == ["d1", "d3"]


# Remaps


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


# Following


def test_following_moves_on_and_begins_its_remap_in_one_step(store: Store) -> None:
    store.accept([D1])
    assert store.followed() is None

    assert follow(store, 1, remap=Remap(("q1",)))

    followed = store.followed()
    assert followed is not None
    assert (followed.version, followed.policy) == (1, "p1")
    assert store.opening() == [followed.job_id]
    assert store.remap_of(str(followed.job_id)) == Remap(("q1",))


def test_the_slower_of_two_followers_does_nothing(store: Store) -> None:
    store.accept([D1])
    follow(store, 1)
    seen = store.followed()
    assert store.follow(seen, 2, "p1", Remap())

    assert not store.follow(seen, 2, "p1", Remap())
    assert not store.follow(None, 2, "p1", Remap())

    assert len(store.opening()) == 1


def test_without_documents_there_is_nothing_to_remap(store: Store) -> None:
    assert follow(store, 1, remap=Remap())

    assert store.followed() == Followed(1, "p1")
    assert store.opening() == []


@pytest.mark.parametrize(
    ("version", "policy", "is_behind"),
    [(1, "p1", True), (2, "p2", True), (2, "p1", False), (3, "p1", True)],
)
def test_what_is_written_of_another_state_than_followed_is_behind(
    store: Store, version: int, policy: str, is_behind: bool
) -> None:
    store.accept([D1])
    follow(store, 2)

    assert store.write_labels("d1", revision_of(D1, Q1, index_version=version, policy=policy))

    found = store.remap_behind(10)
    assert (found is not None) == is_behind
    if found is not None:
        job = store.job(found[0])
        assert (found[1], job.kind, job.documents) == (["d1"], JobKind.REMAP, 1)
        assert store.lease(job.id, ["d1"], 60) == ["d1"]
        assert store.remap_behind(10) is None


def test_who_caught_up_meanwhile_is_not_behind(store: Store) -> None:
    store.accept([D1, D2])
    follow(store, 2)
    for document in (D1, D2):
        store.write_labels(document.id, revision_of(document, Q1, index_version=1, policy="p1"))
    store.write_labels("d1", revision_of(D1, Q1, index_version=2, policy="p1"))

    assert store.remap_behind(1) is None
    found = store.remap_behind(1)

    assert found is not None
    assert found[1] == ["d2"]


def test_an_index_put_back_is_followed_back(store: Store) -> None:
    store.accept([D1])
    follow(store, 9)
    store.remove_labels_of(["q1"], 9)
    store.write_labels("d1", revision_of(D1, Q2, index_version=9, policy="p1"))

    follow(store, 4)

    assert store.write_labels("d1", revision_of(D1, Q1, index_version=4, policy="p1"))
    assert queries_of(store) == ["q1"]
    assert store.remap_behind(10) is None
    store.write_labels("d1", revision_of(D1, Q2, index_version=9, policy="p1"))
    assert store.remap_behind(10) is not None


# Looking


def test_a_train_querys_documents_are_given_best_first(store: Store) -> None:
    store.accept([D1, D2, D3])
    for document, similarity in ((D1, 0.7), (D2, 0.9), (D3, 0.7)):
        store.write_labels(document.id, revision_of(document, label_of("q1", similarity)))

    found = store.labelled_with("q1", 2)

    assert found.total == 3
    assert found.documents == [
        LabelledDocument(document_id="d2", similarity=0.9),
        LabelledDocument(document_id="d1", similarity=0.7),
    ]
    assert store.labelled_with("q9", 2).total == 0


def test_a_reader_sees_one_revision_and_never_a_mixture(redis_store: RedisStore) -> None:
    redis_store.accept([D1])
    sets = [{f"q{version}-{number}" for number in range(20)} for version in range(2)]

    def write(version: int) -> None:
        labels = [label_of(each, 0.9) for each in sets[version % 2]]
        redis_store.write_labels("d1", revision_of(D1, *labels, index_version=version))

    write(0)
    seen: Counter[bool] = Counter()
    mixtures: list[set[str]] = []
    is_over = threading.Event()

    def read() -> None:
        while not is_over.is_set():
            for found in (
                set(queries_of(redis_store)),
                {each.query_id for each in redis_store.iterate_labels()},
            ):
                seen[found == sets[0]] += 1
                if found not in sets:
                    mixtures.append(found)

    reader = threading.Thread(target=read)
    reader.start()
    for version in range(1, 20_000):
        write(version)
        if version > 200 and min(seen[True], seen[False]) > 20:
            break
    is_over.set()
    reader.join()

    assert mixtures == []
    assert min(seen[True], seen[False]) > 20
