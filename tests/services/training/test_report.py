import io
import json

import pytest
from rich.console import Console

from services.training.evaluation import EvaluationResult
from services.training.label_quality import LabelQuality
from services.training.report import as_json, as_markdown, as_table


def interval(name: str, value: float, low: float, high: float) -> dict[str, float]:
    return {name: value, f"{name}_low": low, f"{name}_high": high}


@pytest.fixture
def result() -> EvaluationResult:
    row: dict[str, float] = {}
    for metric in ("precision_at_1", "ndcg_at_10", "recall_at_10", "recall_at_25"):
        row |= interval(metric, 0.5, 0.4, 0.6)
    row |= interval("recall_at_100", 0.381, 0.35, 0.41)
    clicks = row | interval("gain_recall_at_100", 0.0, 0.0, 0.0)
    skim = row | interval("gain_recall_at_100", 0.08, 0.05, 0.11)
    return EvaluationResult(
        split="new_wordings",
        encoder="tiny-1",
        documents=3_000,
        train_queries=900,
        clicks=1_200,
        test_queries=180,
        test_queries_without_truth=4,
        exposed_pairs=7,
        rows={"title_only": {"clicks": clicks, "skim": skim}},
        gains={"title_only": {"skim - clicks": interval("recall_at_100", 0.08, 0.05, 0.11)}},
        left_out={"unmapped": "needs synthetic queries"},
        labels=LabelQuality(added=2_500, precision=0.41, recall=0.2),
        taus=[LabelQuality(tau=0.6, added=2_500, precision=0.41, recall=0.2)],
    )


def test_markdown_has_a_row_an_arm_with_its_gain(result: EvaluationResult) -> None:
    lines = as_markdown(result).splitlines()

    same = "50.0 | 50.0 | 50.0 | 50.0 | 38.1 [35.0, 41.0]"
    assert f"| titles only | clicks | {same} | - |" in lines
    assert f"| titles only | skim | {same} | +8.0 [+5.0, +11.0] |" in lines


def test_the_caption_says_what_the_labels_were_and_what_was_left_out(
    result: EvaluationResult,
) -> None:
    caption = as_markdown(result).splitlines()[-1]

    assert "2,500 labels added, precision 41.0%, 20.0% of the missing" in caption
    assert "4 test queries without truth left out" in caption


def test_what_is_unknown_is_not_shown(result: EvaluationResult) -> None:
    unknown = result.model_copy(
        update={"labels": LabelQuality(added=1, precision=None, recall=None)}
    )

    assert "precision 4" not in as_markdown(unknown)


def test_an_arm_without_a_rival_has_no_gain(result: EvaluationResult) -> None:
    row = {
        name: value
        for name, value in result.rows["title_only"]["skim"].items()
        if not name.startswith("gain")
    }
    alone = result.model_copy(update={"rows": {"full": {"skim": row}}})

    assert as_markdown(alone).splitlines()[4].endswith("| - |")


def test_the_terminal_shows_the_same_figures_whole_in_80_columns(result: EvaluationResult) -> None:
    console = Console(file=io.StringIO(), width=80)
    row = result.rows["title_only"]["skim"]
    longest = row | {
        "gain_recall_at_100": 0.225, "gain_recall_at_100_low": 0.198, "gain_recall_at_100_high": 0.255
    }  # fmt: skip

    console.print(
        as_table(result.model_copy(update={"rows": {"full": {"unmapped_no_metadata": longest}}}))
    )

    printed = console.file.getvalue()
    assert "unmapped_no_metadata" in printed
    assert "38.1" in printed
    assert "+22.5 [+19.8, +25.5]" in printed
    assert "titles + metadata" in printed
    assert "…" not in printed


def test_json_is_split_section_arm_metric_with_labels_and_exposure_beside_it(
    result: EvaluationResult,
) -> None:
    written = json.loads(json.dumps(as_json([result], {"20": [result]})))

    assert written["new_wordings"]["title_only"]["skim"]["gain_recall_at_100_low"] == 0.05
    assert written["exposure"]["20"]["new_wordings"]["title_only"]["clicks"]["recall_at_10"] == 0.5
    assert (written["labels_added"], written["label_precision"]) == (2_500, 0.41)
    assert written["tau"] == [{"tau": 0.6, "labels": 2_500, "precision": 0.41, "recall": 0.2}]
    assert written["new_wordings"]["facts"]["exposed_pairs"] == 7
    assert written["new_wordings"]["left_out"] == {"unmapped": "needs synthetic queries"}
