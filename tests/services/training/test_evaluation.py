from dataclasses import replace
from pathlib import Path

import pytest

from services.training.arm_cache import ArmCache
from services.training.arms import ARMS, Arm, arms_named
from services.training.choice import Choices
from services.training.embeddings import CachedEncoder
from services.training.evaluation import Evaluation, EvaluationResult, evaluate, exposed_slice
from services.training.guard import GuardSettings
from services.training.sources import Log, Written, gather
from services.training.train import TrainSettings, embed_documents
from shared.contracts.synthetic_queries import SyntheticQueries
from shared.dataset import Dataset

Labels = dict[str, dict[str, float]]
EXPOSED = TrainSettings(guard=GuardSettings(slice_share=0.5))
SHORT = arms_named(["zero_shot_title", "clicks", "skim"])


def run(
    dataset: Dataset,
    labels: Labels,
    encoder: CachedEncoder,
    arms: list[Arm],
    cache: ArmCache | None = None,
    told: list[str] | None = None,
    settings: TrainSettings | None = None,
    choices: Choices | None = None,
) -> EvaluationResult:
    written = Written(
        [
            SyntheticQueries(document_id=document.id, queries=[document.text])
            for document in dataset.documents
        ],
        labels,
    )
    clicks = {query_id: row for query_id, row in dataset.clicks.items()}
    propensities = {query_id: dict.fromkeys(row, 0.5) for query_id, row in clicks.items()}
    sources = gather(
        dataset,
        embed_documents(dataset.documents, encoder, "title"),
        stochastic=Log(clicks, propensities),
        written=written,
    )
    return evaluate(
        Evaluation(dataset, encoder, settings or TrainSettings(), cache, choices=choices),
        {"title": sources},
        split_name="wordings",
        arms=arms,
        progress=lambda arm, done, total: told.append(arm) if told is not None else None,
    )


def test_labels_beat_clicks_where_clicks_show_only_a_few(
    dataset: Dataset, labels: Labels, encoder: CachedEncoder
) -> None:
    rows = run(dataset, labels, encoder, SHORT).rows["title_only"]

    recall = {arm: row["recall_at_10"] for arm, row in rows.items()}
    assert recall["skim"] > recall["clicks"] > recall["zero_shot_title"]
    assert rows["skim"]["gain_recall_at_10"] == pytest.approx(recall["skim"] - recall["clicks"])
    assert rows["skim"]["gain_recall_at_10_low"] > 0
    assert rows["skim"]["gain_recall_at_10_p"] < 0.05


def test_every_arm_has_every_metric_with_its_interval_or_says_why_not(
    dataset: Dataset, labels: Labels, encoder: CachedEncoder
) -> None:
    result = run(dataset, labels, encoder, list(ARMS))

    absent = {
        "skim_preset",
        "skim_preset_and_unmapped",
        "unmapped_no_metadata",
        "skim_no_metadata",
    }
    assert set(result.left_out) == absent
    assert "another mapping" in result.left_out["skim_preset"]
    assert all(
        "--queries-without-metadata" in reason
        for arm, reason in result.left_out.items()
        if not arm.startswith("skim_preset")
    )
    assert set(result.rows["title_only"]) == {arm.name for arm in ARMS} - absent
    for row in result.rows["title_only"].values():
        for metric in ("precision_at_1", "ndcg_at_10", "recall_at_100", "psp_at_5"):
            for name in (metric, f"biased_{metric}"):
                assert 0 <= row[f"{name}_low"] <= row[name] <= row[f"{name}_high"] <= 1
        assert {"tail_recall_at_100", "gain_recall_at_100_low", "seconds"} <= row.keys()


def test_skims_gain_over_each_rival_is_over_one_with_the_same_log(
    dataset: Dataset, labels: Labels, encoder: CachedEncoder
) -> None:
    arms = arms_named(["clicks", "skim", "clicks_stochastic", "ips_golden", "skim_stochastic"])

    gains = run(dataset, labels, encoder, arms).gains["title_only"]

    assert set(gains) == {
        "skim - clicks",
        "skim_stochastic - clicks_stochastic",
        "skim_stochastic - ips_golden",
    }


def test_a_trained_arm_is_taken_from_the_cache_and_is_the_same(
    dataset: Dataset, labels: Labels, encoder: CachedEncoder, tmp_path: Path
) -> None:
    first_told: list[str] = []
    second_told: list[str] = []

    first = run(dataset, labels, encoder, SHORT, ArmCache(tmp_path), first_told)
    second = run(dataset, labels, encoder, SHORT, ArmCache(tmp_path), second_told)

    assert set(first_told) == {"clicks", "skim"}
    assert second_told == []
    first_row, second_row = (dict(r.rows["title_only"]["skim"]) for r in (first, second))
    assert first_row.pop("seconds") == pytest.approx(second_row.pop("seconds"), abs=0.01)
    assert first_row == second_row


def test_a_killed_evaluation_goes_on_with_the_arm_it_was_at(
    dataset: Dataset, labels: Labels, encoder: CachedEncoder, tmp_path: Path
) -> None:
    told: list[str] = []
    run(dataset, labels, encoder, arms_named(["clicks"]), ArmCache(tmp_path))

    run(dataset, labels, encoder, SHORT, ArmCache(tmp_path), told)

    assert set(told) == {"skim"}


def test_other_data_is_trained_anew(
    dataset: Dataset, labels: Labels, encoder: CachedEncoder, tmp_path: Path
) -> None:
    told: list[str] = []
    run(dataset, labels, encoder, SHORT, ArmCache(tmp_path))
    fewer = {query_id: row for query_id, row in labels.items() if not query_id.endswith("-0")}

    run(dataset, fewer, encoder, SHORT, ArmCache(tmp_path), told)

    assert set(told) == {"skim"}


def test_test_truth_changes_no_answer(
    dataset: Dataset, labels: Labels, encoder: CachedEncoder
) -> None:
    tests = {query.id for query in dataset.queries_of("test")}
    other = {
        query_id: {"d0-0": 1.0} if query_id in tests else row
        for query_id, row in dataset.truth.items()
    }
    skim, full = arms_named(["skim", "full_truth"])
    ranked = []
    for variant in (dataset, replace(dataset, truth=other)):
        written = Written([], labels)
        described = embed_documents(variant.documents, encoder, "title")
        sources = gather(variant, described, written=written)
        evaluation = Evaluation(variant, encoder, TrainSettings())
        ranked.append(
            [
                evaluation.rank(arm, "title", sources, lambda arm, done, total: None).documents
                for arm in (skim, full)
            ]
        )

    for one, another in zip(*ranked, strict=True):
        assert (one == another).all()


def test_the_counts_are_those_of_the_split(
    dataset: Dataset, labels: Labels, encoder: CachedEncoder
) -> None:
    result = run(dataset, labels, encoder, SHORT[:1])

    assert (result.documents, result.train_queries, result.clicks) == (96, 36, 36)
    assert (result.test_queries, result.test_queries_without_truth) == (12, 0)
    assert result.exposed_pairs == 1


def test_an_exploration_log_takes_the_place_of_the_drawn_slice(dataset: Dataset) -> None:
    validation = dataset.queries_of("validation")
    explored = replace(dataset, exploration={query.id: {"d0-0": 1.0} for query in validation})

    exposed = exposed_slice(explored, TrainSettings())

    assert exposed.queries == [query.text for query in validation]


def test_without_truth_or_exploration_nothing_is_exposed(dataset: Dataset) -> None:
    assert len(exposed_slice(replace(dataset, truth={}), TrainSettings()).documents) == 0


def test_each_arm_may_choose_on_the_slice_and_the_result_says_what(
    dataset: Dataset, labels: Labels, encoder: CachedEncoder, tmp_path: Path
) -> None:
    cache, choices = ArmCache(tmp_path), Choices((0.7,), ())
    noisy = {
        query_id: {f"d{number}-{number % 8}": 0.6 for number in range(12)} | row
        for query_id, row in labels.items()
    }

    given = run(dataset, noisy, encoder, SHORT, cache, settings=EXPOSED)
    told: list[str] = []
    for _ in range(2):
        result = run(dataset, noisy, encoder, SHORT, cache, told, EXPOSED, choices)

    assert given.choices == {"title_only": {}}
    assert result.choices == {"title_only": {"skim": "with tau 0.7"}}
    recall = "recall_at_10"
    assert result.rows["title_only"]["skim"][recall] > given.rows["title_only"]["skim"][recall]
    assert result.rows["title_only"]["clicks"] == given.rows["title_only"]["clicks"]
    assert set(told) == {"skim"}  # clicks were trained before, with the same key
