from dataclasses import replace
from datetime import UTC, datetime

import numpy as np

from services.cli.reviews import with_reviews
from services.mapping.outcomes import Evidence, outcomes
from shared.contracts.reviews import Review, ReviewVerdict
from shared.dataset import Dataset, Pairs
from tests.support.catalogue import DATASET

REVIEWS = [
    Review(document_id=document, query_id=query, verdict=verdict, reviewed_at=datetime.now(UTC))
    for document, query, verdict in (
        ("a", "oboe", ReviewVerdict.ACCEPT),
        ("b", "oboe", ReviewVerdict.REJECT),
    )
]


def reviewed(truth: Pairs) -> Pairs:
    dataset: Dataset = replace(DATASET, truth=truth)
    return with_reviews(dataset, REVIEWS).truth


def test_a_verdict_is_a_judgement_of_its_pair_and_of_no_other() -> None:
    found = outcomes("judgements", Evidence(truth=reviewed({})), ["oboe"] * 3, ["a", "b", "c"])

    np.testing.assert_array_equal(found.is_known, [True, True, False])
    np.testing.assert_array_equal(found.is_right, [True, False, False])


def test_a_verdict_counts_before_the_folders_own_judgement() -> None:
    truth = reviewed({"oboe": {"a": 0.0, "c": 1.0}, "horn": {"b": 0.0}})

    assert truth == {"oboe": {"a": 1.0, "b": 0.0, "c": 1.0}, "horn": {"b": 0.0}}


def test_complete_truth_does_not_stand_beside_verdicts() -> None:
    assert reviewed({"oboe": {"c": 1.0}}) == {"oboe": {"a": 1.0, "b": 0.0}}
