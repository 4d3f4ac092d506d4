import numpy as np
import pytest

from services.mapping.candidates import Candidate, Reach
from services.mapping.evidence import COLUMNS, evidence_of
from services.mapping.trust import Trust
from shared.contracts.synthetic_queries import Evidence, WrittenQueries
from shared.dataset import Query

TRUST = Trust(min_support=0.5, min_log_probability=-4.0, min_queries=0)
OBOE = Query(id="oboe", text="oboe")


def row_of(written: WrittenQueries, *reached_by: Reach) -> dict[str, float]:
    [row] = evidence_of(written, [Candidate(OBOE, reached_by)], TRUST)
    return dict(zip(COLUMNS, row.tolist(), strict=True))


def test_the_nearest_speaks_first_and_the_trusted_apart() -> None:
    written = WrittenQueries(
        queries=["sure", "unsure"], evidence=[Evidence(1.0, -1.0), Evidence(0.25, -5.0)]
    )

    row = row_of(written, Reach(0, 0.7, 3), Reach(1, 0.9, 2))

    assert row["trusted_similarity"] == pytest.approx(0.7)
    assert (row["similarity"], row["support"], row["log_probability"]) == pytest.approx(
        (0.9, 0.25, -5.0)
    )
    assert row["log_rank"] == pytest.approx(np.log(2))


def test_several_that_agree_are_more_than_one() -> None:
    written = WrittenQueries(queries=["a", "b"], evidence=[Evidence(0.5, -1.0)] * 2)

    alone, both = (
        row_of(written, Reach(0, 0.9, 1)),
        row_of(written, Reach(0, 0.9, 1), Reach(1, 0.9, 1)),
    )

    assert both["agreement"] > alone["agreement"]
    assert both["likely_agreement"] > alone["likely_agreement"]
    assert both["similarity"] == alone["similarity"]


def test_what_was_found_only_is_supported_by_how_much_is_expected() -> None:
    written = WrittenQueries(
        queries=["found", "often", "drawn"],
        evidence=[Evidence(0.0, -1.0, 0.3), Evidence(0.5, -1.0, 1.4), Evidence(0.75, -1.0, 0.1)],
    )

    support = [row_of(written, Reach(place, 0.9, 1))["support"] for place in range(3)]

    assert support == pytest.approx([0.3, 1.0, 0.75])


def test_without_evidence_what_it_says_is_unknown() -> None:
    row = row_of(WrittenQueries(queries=["a"]), Reach(0, 0.9, 1))

    unknown = {name for name, value in row.items() if np.isnan(value)}
    assert unknown == {"support", "log_probability", "likely_agreement"}
    assert row["trusted_similarity"] == pytest.approx(0.9)


def test_a_candidate_of_untrusted_queries_has_no_trusted_similarity() -> None:
    written = WrittenQueries(queries=["a"], evidence=[Evidence(0.25, -5.0)])

    assert np.isnan(row_of(written, Reach(0, 0.99, 1))["trusted_similarity"])


def test_rows_do_not_mix() -> None:
    written = WrittenQueries(
        queries=["a", "b"], evidence=[Evidence(1.0, -1.0), Evidence(0.5, -2.0)]
    )
    candidates = [
        Candidate(OBOE, [Reach(0, 0.8, 1), Reach(1, 0.6, 4)]),
        Candidate(Query(id="horn", text="horn"), [Reach(1, 0.95, 1)]),
    ]

    together = evidence_of(written, candidates, TRUST)

    for row, candidate in zip(together, candidates, strict=True):
        assert np.array_equal(row, evidence_of(written, [candidate], TRUST)[0])
    assert evidence_of(written, [], TRUST).shape == (0, len(COLUMNS))
