from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from services.training.embeddings import CachedEncoder
from services.training.score_calibration import calibrate, knots_of
from services.training.train import embed_documents
from shared.bundle_facts import ScoreCalibration
from shared.contracts.document import Document
from shared.dataset import Dataset, Query
from tests.support.encoders import BagOfWordsEncoder


def test_the_curve_that_clicks_were_drawn_from_is_found_though_it_is_no_logistic_one() -> None:
    random = np.random.default_rng(0)
    scores = random.uniform(0, 1, 60_000)
    truth = 0.02 + 0.3 * np.sqrt(scores)
    calibration = ScoreCalibration(knots=knots_of(scores, random.random(60_000) < truth))

    asked = np.linspace(0.1, 0.9, 9)
    found = [calibration.probability(float(score)) for score in asked]
    assert found == pytest.approx((0.02 + 0.3 * np.sqrt(asked)).tolist(), abs=0.02)


@given(
    st.lists(st.tuples(st.floats(-2, 2), st.booleans()), min_size=50, max_size=400),
    st.lists(st.floats(-3, 3), min_size=2, max_size=20),
)
def test_a_higher_score_never_has_a_lower_probability(
    shown: list[tuple[float, bool]], asked: list[float]
) -> None:
    shown[0] = (shown[0][0], True)
    knots = knots_of(
        np.array([score for score, _ in shown]), np.array([clicked for _, clicked in shown])
    )
    if len(knots) < 2:
        return
    calibration = ScoreCalibration(knots=knots)

    found = [calibration.probability(score) for score in sorted(asked)]
    assert all(0 <= low <= high <= 1 for low, high in pairwise(found))


@pytest.mark.parametrize("knots", [[(0, 0)], [(0, 0), (1, 0)], [(1, 0), (0, 1)], [(0, 0), (0, 1)]])
def test_a_curve_that_does_not_rise_is_refused(knots: list[tuple[float, float]]) -> None:
    with pytest.raises(ValidationError):
        ScoreCalibration(knots=knots)


def clicked_by_title(wordings: int) -> Dataset:
    documents = [Document(id=f"d{n}", title=f"word{n}") for n in range(60)]
    queries = [
        Query(id=f"q{n}", text=f"word{n} " + "x " * (n % wordings), split="validation")
        for n in range(60)
    ]
    return Dataset(documents, queries, {f"q{n}": {f"d{n}": 1.0} for n in range(60)}, {})


def test_probabilities_are_of_the_size_of_what_is_clicked() -> None:
    encoder, dataset = CachedEncoder(BagOfWordsEncoder()), clicked_by_title(3)
    vectors = embed_documents(dataset.documents, encoder, "title")

    calibration = calibrate(vectors, dataset, encoder)

    assert calibration is not None
    assert (calibration.queries, calibration.clicks) == (60, 60)
    texts = [query.text for query in dataset.queries]
    products = encoder.encode(texts, max_tokens=32) @ vectors.T
    mean = np.mean([calibration.probability(float(score)) for score in products.ravel()])
    assert 1 / 120 < mean < 1 / 30  # one of 60 is clicked; a line between knots is a little high
    assert calibration.probability(0.9) > 0.5 > calibration.probability(0.1)


def test_too_few_validation_clicks_leave_scores_as_they_are(
    dataset: Dataset, encoder: CachedEncoder
) -> None:
    vectors = embed_documents(dataset.documents, encoder, "title")

    assert calibrate(vectors, dataset, encoder) is None
    assert calibrate(vectors, Dataset(dataset.documents, [], {}, {}), encoder) is None
