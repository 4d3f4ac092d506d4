from dataclasses import replace

import numpy as np
import pytest

from services.training import baselines
from services.training.metrics import propensities_from_clicks
from services.training.sources import Log, PropensitySettings, Sources, Written, gather
from services.training.supervision import Supervision
from shared.contracts.document import Document
from shared.contracts.synthetic_queries import SyntheticQueries
from shared.dataset import Dataset, Query
from shared.errors import NotFound

DATASET = Dataset(
    documents=[Document(id=f"d{n}", title=f"title {n}") for n in range(4)],
    queries=[
        Query(id="q1", text="one"),
        Query(id="q2", text="two"),
        Query(id="v", text="validation", split="validation"),
        Query(id="t", text="test", split="test"),
    ],
    clicks={"q1": {"d0": 3.0, "d1": 1.0}, "q2": {"d0": 1.0}, "t": {"d3": 1.0}},
    truth={
        "q1": {"d0": 1.0, "d1": 1.0, "d2": 1.0, "d3": 0.0},
        "q2": {"d0": 1.0, "d3": 1.0},
        "v": {"d2": 1.0},
        "t": {"d3": 1.0},
    },
)
DESCRIBED = np.array([[1, 0], [0, 1], [0.8, 0.6], [-1, 0]], dtype=np.float32)
STOCHASTIC = Log({"q1": {"d0": 1.0}}, {"q1": {"d0": 0.25, "d1": 0.5}})
WRITTEN = Written(
    [
        SyntheticQueries(document_id="d2", queries=["both", "own"]),
        SyntheticQueries(document_id="d3", queries=["both"]),
        SyntheticQueries(document_id="gone", queries=["lost"]),
    ],
    {"q1": {"d2": 0.7}, "t": {"d2": 0.9}},
)
SOURCES = gather(
    DATASET,
    DESCRIBED,
    stochastic=STOCHASTIC,
    written=WRITTEN,
    written_without_metadata=WRITTEN,
)


def targets(supervision: Supervision) -> dict[str, list[float]]:
    """Return query -> its targets; titles left out unless they teach more than themselves."""
    rows = supervision.labels.targets.toarray().round(4).tolist()
    return {
        query: row
        for query, row in zip(supervision.queries, rows, strict=True)
        if not query.startswith("title")
    }


def weights(supervision: Supervision) -> list[list[float]]:
    return supervision.labels.weights.toarray()[: supervision.train_queries].round(4).tolist()


def test_nothing_of_a_held_out_query_is_a_source() -> None:
    pairs = (SOURCES.log.clicks, SOURCES.truth, WRITTEN.labels and SOURCES.written.labels)

    assert [query.id for query in SOURCES.queries] == ["q1", "q2"]
    assert all(set(each) <= {"q1", "q2"} for each in pairs)


def test_every_arm_learns_titles_as_queries_of_their_own_document() -> None:
    for learns in (baselines.clicks, baselines.skim, baselines.lever, baselines.full_truth):
        supervision = learns(SOURCES)
        at = supervision.queries.index("title 0")

        assert supervision.labels.targets.toarray()[at : at + 4].tolist() == np.eye(4).tolist()


def test_clicks_are_clicks_however_often() -> None:
    assert targets(baselines.clicks(SOURCES)) == {"one": [1, 1, 0, 0], "two": [1, 0, 0, 0]}


def test_skim_adds_the_labels() -> None:
    assert targets(baselines.skim(SOURCES))["one"] == [1, 1, 1, 0]


def test_estimated_propensities_weigh_rarely_clicked_documents_up() -> None:
    supervision = baselines.ips_estimated(SOURCES)
    propensities = propensities_from_clicks(np.array([2, 1, 0, 0]), 2)

    assert targets(supervision) == targets(baselines.clicks(SOURCES))
    assert weights(supervision)[0][:2] == pytest.approx(1 / propensities[:2], abs=1e-3)


def test_golden_propensities_are_those_of_the_simulation() -> None:
    supervision = baselines.ips_golden(SOURCES.with_log("stochastic"))

    assert weights(supervision) == [[4, 0, 0, 0]]


def test_a_weight_is_bounded() -> None:
    bounded = replace(SOURCES, propensities=PropensitySettings(largest_weight=3.0))

    assert weights(baselines.ips_golden(bounded.with_log("stochastic"))) == [[3, 0, 0, 0]]


def test_lever_hands_a_click_on_to_near_documents_softly() -> None:
    teacher = 1 / (1 + np.exp(-20 * (0.8 - 0.5)))

    taught = targets(baselines.lever(SOURCES))

    assert taught["two"][0] == 1
    assert taught["two"][2] == pytest.approx(teacher, abs=1e-4)
    assert taught["two"][3] < 1e-4
    assert taught["one"][2] == pytest.approx(teacher, abs=1e-4)


def test_lever_ips_weighs_the_clicks_only() -> None:
    supervision = baselines.lever_ips(SOURCES.with_log("stochastic"))

    assert weights(supervision) == [[4, 1, 1, 1]]


def test_gandalf_labels_titles_with_documents_clicked_together() -> None:
    supervision = baselines.gandalf(SOURCES)
    at = supervision.queries.index("title 0")

    # d0 is clicked by two queries, one of which clicks d1; d1 by one, which clicks d0
    assert supervision.labels.targets.toarray()[at : at + 4].tolist() == [
        [1, 0.5, 0, 0],
        [1, 1, 0, 0],
        [0, 0, 1, 0],
        [0, 0, 0, 1],
    ]


def test_gandalf_drops_what_is_clicked_together_by_chance() -> None:
    queries = [Query(id=f"q{n}", text=f"{n}") for n in range(11)]
    clicks = {query.id: {"d0": 1.0} for query in queries} | {"q0": {"d0": 1.0, "d1": 1.0}}
    supervision = baselines.gandalf(replace(SOURCES, queries=queries, log=Log(clicks)))
    at = supervision.queries.index("title 0")

    assert supervision.labels.targets.toarray()[at].tolist() == [1, 0, 0, 0]


@pytest.mark.parametrize("learns", [baselines.unmapped, baselines.unmapped_no_metadata])
def test_unmapped_queries_are_trained_on_with_all_their_documents(learns) -> None:  # noqa: ANN001
    taught = targets(learns(SOURCES))

    assert taught["both"] == [0, 0, 1, 1]
    assert taught["own"] == [0, 0, 1, 0]
    assert taught["one"] == [1, 1, 0, 0]
    assert "lost" not in taught


def test_labels_and_unmapped_queries_teach_together() -> None:
    taught = targets(baselines.skim_and_unmapped(SOURCES))

    assert taught == targets(baselines.unmapped(SOURCES)) | targets(baselines.skim(SOURCES))


def test_mar_draws_as_many_pairs_as_there_are_clicks_from_the_truth() -> None:
    drawn = targets(baselines.missing_at_random(SOURCES))

    truth = targets(baselines.full_truth(SOURCES))
    assert sum(map(sum, drawn.values())) == 3
    assert all(
        value <= truth[query][column]
        for query, row in drawn.items()
        for column, value in enumerate(row)
    )


def test_full_truth_is_all_relevant_pairs_of_train_queries() -> None:
    assert targets(baselines.full_truth(SOURCES)) == {"one": [1, 1, 1, 0], "two": [1, 0, 0, 1]}


@pytest.mark.parametrize(
    ("learns", "absent", "named"),
    [
        (baselines.skim, "written", "--queries"),
        (baselines.unmapped_no_metadata, "written_without_metadata", "--queries-without-metadata"),
        (baselines.full_truth, "truth", "qrels.tsv"),
    ],
)
def test_an_absent_source_is_named(learns, absent: str, named: str) -> None:  # noqa: ANN001
    poorer: Sources = replace(SOURCES, **{absent: {} if absent == "truth" else None})

    with pytest.raises(NotFound, match=named):
        learns(poorer)


def test_golden_weights_need_golden_propensities() -> None:
    with pytest.raises(NotFound, match="golden"):
        baselines.ips_golden(SOURCES)


def test_a_log_that_is_absent_is_named() -> None:
    with pytest.raises(NotFound, match="stochastic"):
        replace(SOURCES, stochastic=None).with_log("stochastic")
