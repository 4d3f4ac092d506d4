from collections.abc import Sequence
from dataclasses import replace

import pytest

from services.mapping.mapper import QueryMapper
from services.mapping.rules import PresetRule
from services.mapping.train_query_index import TrainQueryIndex
from services.mapping.trust import Trust
from shared.contracts.mapping import MapDocument
from shared.contracts.synthetic_queries import Evidence
from shared.dataset import Query
from tests.support.encoders import BagOfWordsEncoder

LOG = {
    "red": "red wine",
    "white": "white wine",
    "glass": "wine glass",
    "boat": "fishing boat",
    "boat-again": "fishing boat",
}


@pytest.fixture
def encoder() -> BagOfWordsEncoder:
    return BagOfWordsEncoder()


@pytest.fixture
def mapper(encoder: BagOfWordsEncoder) -> QueryMapper:
    queries = [Query(id=name, text=text) for name, text in LOG.items()]
    vectors = encoder.encode(list(LOG.values()))
    encoder.calls.clear()
    index = TrainQueryIndex.build(queries, vectors, encoder=encoder.name)
    preset = PresetRule(
        Trust(min_support=0.5, min_log_probability=-4.0, min_queries=1),
        min_similarity=0.6,
        neighbours=3,
    )
    return QueryMapper(encoder, index, preset, preset)


def document(queries: Sequence[str], document_id: str = "d") -> MapDocument:
    return MapDocument(document_id=document_id, queries=list(queries))


def test_neighbours_that_reach_tau_become_labels_best_first(mapper: QueryMapper) -> None:
    [mapped] = mapper.map([document(["fishing boat", "old red wine"])])

    assert [label.query_id for label in mapped.labels] == ["boat", "boat-again", "red"]
    assert [label.rank for label in mapped.labels] == [1, 2, 1]
    assert mapped.labels[0].similarity == pytest.approx(1, abs=1e-6)
    assert mapped.labels[2].synthetic_query == "old red wine"
    assert mapped.labels[2].query == "red wine"
    assert all(label.similarity >= 0.6 for label in mapped.labels)


def test_what_the_slm_hardly_believed_leads_to_no_label(mapper: QueryMapper) -> None:
    unsure = MapDocument(
        document_id="d",
        queries=["fishing boat", "old red wine"],
        evidence=[Evidence(1.0, -0.5), Evidence(0.25, -0.5)],
    )

    [mapped] = mapper.map([unsure])

    assert {label.synthetic_query for label in mapped.labels} == {"fishing boat"}


def test_no_neighbour_below_tau_is_a_label(mapper: QueryMapper) -> None:
    [mapped] = mapper.map([document(["quantum physics"])])

    assert mapped.labels == []


def test_a_train_query_counts_once_with_its_best_similarity(mapper: QueryMapper) -> None:
    [mapped] = mapper.map([document(["very red wine", "red wine", "dry red wine"])])

    [red] = [label for label in mapped.labels if label.query_id == "red"]
    assert red.synthetic_query == "red wine"
    assert red.similarity == pytest.approx(1, abs=1e-6)


def test_of_equal_similarities_the_synthetic_query_written_first_is_named(
    mapper: QueryMapper,
) -> None:
    for order in (["wine red", "red wine"], ["red wine", "wine red"]):
        [mapped] = mapper.map([document(order)])

        assert mapped.labels[0].query_id == "red"
        assert mapped.labels[0].synthetic_query == order[0]


def test_all_texts_are_encoded_in_one_call_and_each_once(
    mapper: QueryMapper, encoder: BagOfWordsEncoder
) -> None:
    mapper.map([document(["red wine", "boat", "red wine"], "a"), document(["boat", "sail"], "b")])

    assert encoder.calls == [["red wine", "boat", "sail"]]


def test_a_document_gets_the_same_labels_in_any_company(mapper: QueryMapper) -> None:
    wine, boat = document(["red wine glass"], "wine"), document(["fishing boat"], "boat")

    alone = [*mapper.map([wine]), *mapper.map([boat])]

    assert mapper.map([wine, boat]) == alone


def test_documents_without_queries_get_no_labels(mapper: QueryMapper) -> None:
    mapped = mapper.map([document([], "a"), document(["red wine"], "b"), document([], "c")])

    assert [(one.document_id, bool(one.labels)) for one in mapped] == [
        ("a", False),
        ("b", True),
        ("c", False),
    ]
    assert mapper.map([document([])])[0].labels == []


def test_another_tau_and_other_neighbours_may_decide(mapper: QueryMapper) -> None:
    far = replace(mapper.preset, min_similarity=-1, neighbours=5)
    [everything] = mapper.map([document(["wine"])], rule=far)
    [nearest] = mapper.map([document(["wine"])], rule=replace(far, neighbours=1))

    assert len(everything.labels) == len(LOG)
    assert [label.rank for label in everything.labels] == [1, 2, 3, 4, 5]
    assert nearest.labels == everything.labels[:1]


def test_tau_itself_is_reached(mapper: QueryMapper) -> None:
    far = replace(mapper.preset, min_similarity=-1)
    [mapped] = mapper.map([document(["wine"])], rule=far)
    last = mapped.labels[-1]

    [again] = mapper.map([document(["wine"])], rule=replace(far, min_similarity=last.similarity))

    assert again.labels[-1] == last


def test_several_synthetic_queries_that_agree_are_counted(mapper: QueryMapper) -> None:
    [mapped] = mapper.map([document(["very red wine", "red wine", "fishing boat"])])

    agreement = {label.query_id: label.agreement for label in mapped.labels}
    assert (agreement["red"], agreement["boat"]) == (2, 1)


def test_among_some_train_queries_no_other_is_found(mapper: QueryMapper) -> None:
    [mapped] = mapper.map([document(["fishing boat", "red wine"])], among=["red", "nobody"])

    assert [(label.query_id, label.rank) for label in mapped.labels] == [("red", 1)]


def test_the_policy_differs_where_the_rule_does(mapper: QueryMapper) -> None:
    stricter = QueryMapper(
        mapper.encoder, mapper.index, replace(mapper.preset, min_similarity=0.7), mapper.preset
    )

    assert stricter.policy != mapper.policy
