import numpy as np

from services.training.embeddings import CachedEncoder
from services.training.serving_facts import lessons_of, serving_facts
from services.training.train import embed_documents
from shared.bundle_facts import TaughtQuery
from shared.contracts.document import Document
from shared.contracts.synthetic_queries import SyntheticQueries
from shared.dataset import Dataset, Query


def test_lessons_say_what_taught_each_document_and_nothing_held_out() -> None:
    dataset = Dataset(
        [Document(id="a", title="a"), Document(id="b", title="b")],
        [
            Query(id="q1", text="one"),
            Query(id="q2", text="two"),
            Query(id="t", text="t", split="test"),
        ],
        {"q1": {"a": 2.0}, "q2": {"a": 5.0}, "t": {"a": 9.0}},
        {},
    )
    lessons = lessons_of(
        dataset,
        {"q1": {"b": 0.7}, "t": {"b": 0.9}},
        [SyntheticQueries(document_id="b", queries=["x", "y"])],
    )

    assert lessons[0].clicks == [
        TaughtQuery(query="two", count=5.0),
        TaughtQuery(query="one", count=2.0),
    ]
    assert lessons[1].labels == [TaughtQuery(query="one", similarity=0.7)]
    assert lessons[1].synthetic_queries == ["x", "y"]
    assert [each.totals for each in lessons] == [(2, 0, 0), (0, 1, 2)]


def test_canaries_are_found_by_exact_search_of_the_models_own_vectors(
    dataset: Dataset, encoder: CachedEncoder
) -> None:
    vectors = embed_documents(dataset.documents, encoder, "metadata")
    facts = serving_facts(vectors, dataset, {}, [], encoder)

    texts = {query.text: query for query in dataset.queries}
    assert len(facts.canaries) == 20
    assert len(facts.asked) == len([each for each in texts.values() if each.split != "test"])
    for canary in facts.canaries:
        assert texts[canary.query].split != "test"
        products = vectors @ encoder.encode([canary.query], max_tokens=32)[0]
        best = {dataset.documents[place].id for place in np.argsort(-products)[:1]}
        assert best <= set(canary.ads)
