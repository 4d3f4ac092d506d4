from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from services.training.embeddings import CachedEncoder
from services.training.serving_facts import calibrate, lessons_of, platt, serving_facts
from services.training.train import embed_documents
from shared.bundle_facts import TaughtQuery
from shared.contracts.document import Document
from shared.contracts.synthetic_queries import SyntheticQueries
from shared.dataset import Dataset, Query
from tests.support.encoders import BagOfWordsEncoder


def test_platts_curve_gives_back_the_curve_that_clicks_were_drawn_from() -> None:
    random = np.random.default_rng(0)
    scores = random.uniform(-1, 1, 40_000)
    clicked = random.random(40_000) < 1 / (1 + np.exp(-(5 * scores - 2)))

    slope, intercept = platt(scores, clicked)

    assert slope == pytest.approx(5, abs=0.2)
    assert intercept == pytest.approx(-2, abs=0.1)


def test_probabilities_grow_with_the_score_and_are_right_on_average() -> None:
    documents = [Document(id=f"d{n}", title=f"word{n}") for n in range(60)]
    queries = [Query(id=f"q{n}", text=f"word{n} x", split="validation") for n in range(60)]
    clicks = {f"q{n}": {f"d{n}": 1.0} for n in range(60)}
    encoder = CachedEncoder(BagOfWordsEncoder())
    dataset = Dataset(documents, queries, clicks, {})
    vectors = embed_documents(documents, encoder, "title")

    calibration = calibrate(vectors, dataset, encoder)

    assert calibration is not None
    assert (calibration.queries, calibration.clicks) == (60, 60)
    scores = np.linspace(-3, 3, 500)
    probabilities = [calibration.probability(float(score)) for score in scores]
    assert all(0 < low < high <= 1 or low > 1 - 1e-12 for low, high in pairwise(probabilities))
    products = encoder.encode([each.text for each in queries], max_tokens=32) @ vectors.T
    mean = np.mean([calibration.probability(float(score)) for score in products.ravel()])
    assert mean == pytest.approx(1 / 60, rel=0.15)


def test_too_few_validation_clicks_leave_scores_as_they_are(
    dataset: Dataset, encoder: CachedEncoder
) -> None:
    vectors = embed_documents(dataset.documents, encoder, "title")
    train_only = replace(dataset, queries=[replace_split(query) for query in dataset.queries])

    assert calibrate(vectors, dataset, encoder) is None
    assert calibrate(vectors, train_only, encoder) is None


def replace_split(query: Query) -> Query:
    return query.model_copy(update={"split": "train"})


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
