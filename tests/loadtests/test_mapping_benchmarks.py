import numpy as np

from loadtests.mapping_texts import like, requests, texts
from loadtests.mapping_views import rows
from loadtests.vectors import clustered
from services.cli.generate import read_synthetic_queries
from services.cli.models import SHIPPED

WRITTEN = SHIPPED / "synthetic_queries.jsonl.xz"


def test_what_a_build_tunes_by_is_neither_asked_nor_in_the_train_queries() -> None:
    chosen = texts()
    asked, base, tuning = map(set, (chosen.asked_texts, chosen.base, chosen.tuning))

    assert (len(asked), len(base), len(tuning)) == (2_000, 20_000, 2_000)
    assert not asked & base
    assert not tuning & (asked | base)


def test_documents_ask_by_their_own_queries_each_text_once_in_requests_as_a_worker_sends_them() -> (
    None
):
    chosen = texts()
    written = {row.document_id: set(row.queries) for row in read_synthetic_queries(WRITTEN)}

    sent = requests(chosen.asked)

    assert [document for each in sent for document in each] == chosen.asked
    assert {len(each) for each in sent[:-1]} == {16}
    assert all(set(document.queries) <= written[document.document_id] for document in chosen.asked)
    assert len(chosen.asked_texts) == len(set(chosen.asked_texts))


def test_made_vectors_are_of_unit_length_and_hardly_ever_those_they_are_made_of() -> None:
    base = clustered(200, 16)

    made = like(base, 1_000)

    assert np.allclose(np.linalg.norm(made, axis=1), 1, atol=1e-6)
    assert ((made @ base.T).max(axis=1) > 1 - 1e-6).mean() < 0.02
    assert np.array_equal(made, like(base, 1_000))


def test_a_row_of_the_views_is_a_mapping_by_a_view() -> None:
    figures = {
        "label_precision": 0.25,
        "label_recall": 0.5,
        "labels_per_document": 4.0,
        "empty_cell_recall": 0.4,
        "largest_hub": 7,
    }
    judged = {
        "documents": 10,
        "rows": {name: figures for name in ("preset", "calibrated", "chosen", "verified")},
    }

    table = rows({"general": judged, "fine-tuned": judged})

    assert [(row["mapping"], row["view"]) for row in table] == [
        (mapping, view)
        for mapping in ("preset", "calibrated", "chosen")
        for view in ("general", "fine-tuned")
    ]
    assert table[0] == {
        "mapping": "preset",
        "view": "general",
        "documents": 10,
        "label precision": 0.25,
        "label recall": 0.5,
        "labels per document": 4.0,
        "empty cell recall": 0.4,
    }
