import pytest

from shared.contracts.reviews import ReviewVerdict, Verdict, VerdictsKept
from shared.errors import NotFound
from shared.store import Store
from tests.support.documents import document_of, label_of, revision_of

ACCEPT, REJECT = ReviewVerdict.ACCEPT, ReviewVerdict.REJECT
D1, D2 = document_of("d1"), document_of("d2")


def verdict_of(document_id: str, query_id: str, verdict: ReviewVerdict | None = ACCEPT) -> Verdict:
    return Verdict(document_id=document_id, query_id=query_id, verdict=verdict)


def kept_in(store: Store) -> list[tuple[str, str, str]]:
    return [(each.document_id, each.query_id, each.verdict) for each in store.iterate_reviews()]


def test_verdicts_are_read_back_by_document_and_train_query(store: Store) -> None:
    store.accept([D2, D1])

    kept = store.put_reviews(
        [verdict_of("d2", "q1"), verdict_of("d1", "q2", REJECT), verdict_of("d1", "q1")]
    )

    assert kept == VerdictsKept(kept=3, withdrawn=0)
    assert kept_in(store) == [
        ("d1", "q1", "accept"),
        ("d1", "q2", "reject"),
        ("d2", "q1", "accept"),
    ]
    assert store.reviews("d1") == list(store.iterate_reviews())[:2]


def test_the_last_verdict_counts(store: Store) -> None:
    store.accept([D1])
    store.put_reviews([verdict_of("d1", "q1")])
    store.put_reviews([verdict_of("d1", "q1", REJECT)])

    assert kept_in(store) == [("d1", "q1", "reject")]


def test_a_verdict_can_be_taken_back_and_once_only(store: Store) -> None:
    store.accept([D1])
    store.put_reviews([verdict_of("d1", "q1"), verdict_of("d1", "q2")])

    withdrawn = [store.put_reviews([verdict_of("d1", "q1", None)]).withdrawn for _ in "12"]

    assert withdrawn == [1, 0]
    assert kept_in(store) == [("d1", "q2", "accept")]


def test_verdicts_outlive_the_labels_they_were_given_on(store: Store) -> None:
    store.accept([D1])
    store.write_labels("d1", revision_of(D1, label_of("q1", 0.9)))
    store.put_reviews([verdict_of("d1", "q1", REJECT)])
    store.write_labels("d1", revision_of(D1, label_of("q2", 0.8), generator="slm-2"))
    store.accept([document_of("d1", "played with two reeds")])

    assert [each.query_id for each in store.labels("d1").labels] == ["q2"]
    assert kept_in(store) == [("d1", "q1", "reject")]


def test_a_verdict_changes_no_label(store: Store) -> None:
    store.accept([D1])
    store.write_labels("d1", revision_of(D1, label_of("q1", 0.9)))
    before = (store.labels("d1"), store.counts())

    store.put_reviews([verdict_of("d1", "q1", REJECT)])

    assert (store.labels("d1"), store.counts()) == before


def test_with_one_unknown_document_nothing_is_kept(store: Store) -> None:
    store.accept([D1])

    with pytest.raises(NotFound, match="'d9'"):
        store.put_reviews([verdict_of("d1", "q1"), verdict_of("d9", "q1")])

    assert kept_in(store) == []


def test_a_removed_document_takes_its_verdicts_along(store: Store) -> None:
    store.accept([D1, D2])
    store.put_reviews([verdict_of("d1", "q1"), verdict_of("d2", "q1")])

    store.remove_documents(["d1"])
    store.accept([D1])

    assert kept_in(store) == [("d2", "q1", "accept")]
    assert store.reviews("d1") == []


def test_more_documents_than_a_page_are_all_read(store: Store) -> None:
    names = [f"d{number:03}" for number in range(450)]
    store.accept([document_of(name) for name in names])
    store.put_reviews([verdict_of(name, "q1") for name in names])

    assert [document_id for document_id, _, _ in kept_in(store)] == names
