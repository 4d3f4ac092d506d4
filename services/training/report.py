"""The evaluation as a table: for the terminal, for Markdown, as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table

from services.training.evaluation import EvaluationResult
from services.training.measurement import Row

SHOWN = {
    "precision_at_1": "P@1",
    "ndcg_at_10": "nDCG@10",
    "recall_at_10": "R@10",
    "recall_at_25": "R@25",
}
IN_TERMINAL = {
    "precision_at_1": "P@1",
    "recall_at_10": "R@10",
    "recall_at_25": "R@25",
    "recall_at_100": "R@100",
}
"""As many as fit in 80 columns beside the longest arm and a gain with its interval."""
_MAIN, _GAIN = "recall_at_100", "gain_recall_at_100"
_TITLES = {"title_only": "titles only", "full": "titles + metadata"}


def as_table(result: EvaluationResult) -> Table:
    """Return the arms of one split, in percent, and the gain over clicks with its interval; 80 columns."""
    table = Table(title=_title(result), caption=_caption(result), box=box.SIMPLE_HEAD)
    table.add_column("trained on", no_wrap=True)
    for name in (*IN_TERMINAL.values(), "R@100 over clicks"):
        table.add_column(name, justify="right", no_wrap=True)
    for section, rows in result.rows.items():
        table.add_row(f"[bold]{_TITLES[section]}[/bold]")
        for arm, row in rows.items():
            table.add_row(arm, *(_percent(row[metric]) for metric in IN_TERMINAL), _gain(row))
        table.add_section()
    return table


def as_markdown(result: EvaluationResult) -> str:
    """Return the same as a Markdown table between its title and its caption."""
    lines = [
        f"**{_title(result)}**",
        "",
        _line(["documents as", "trained on", *_columns()]),
        _line(["---", "---", *["---:"] * len(_columns())]),
        *(
            _line([_TITLES[section], arm, *_cells(row)])
            for section, rows in result.rows.items()
            for arm, row in rows.items()
        ),
        "",
        _caption(result),
    ]
    return "\n".join(lines) + "\n"


def as_json(
    results: Sequence[EvaluationResult],
    exposure: Mapping[str, Sequence[EvaluationResult]] | None = None,
) -> dict[str, Any]:
    """Return split -> sections, gains and facts; exposure and labels of the first split beside them.

    Args:
        results: one a split.
        exposure: K -> the splits' results at it.
    """
    first = results[0]
    return {
        **{result.split: _split(result) for result in results},
        "exposure": {
            shown: {result.split: result.rows for result in of_shown}
            for shown, of_shown in (exposure or {}).items()
        },
        "tau": [
            {
                "tau": quality.tau,
                "labels": quality.added,
                "precision": quality.precision,
                "recall": quality.recall,
            }
            for quality in first.taus
        ],
        "labels_added": first.labels.added,
        "label_precision": first.labels.precision,
        "label_recall": first.labels.recall,
        "facts": _facts(first),
    }


def _split(result: EvaluationResult) -> dict[str, Any]:
    return {
        **result.rows,
        "gains": result.gains,
        "left_out": result.left_out,
        "labels": result.labels.model_dump(mode="json"),
        "facts": _facts(result),
    }


def _facts(result: EvaluationResult) -> dict[str, Any]:
    facts = result.model_dump(mode="json")
    for name in ("split", "rows", "gains", "left_out", "labels", "taus"):
        del facts[name]
    return facts


def _title(result: EvaluationResult) -> str:
    return (
        f"{result.split}: {result.documents:,} documents, {result.train_queries:,} train queries, "
        f"{result.clicks:,} clicks; complete truth of {result.test_queries:,} test queries"
    )


def _caption(result: EvaluationResult) -> str:
    labels = result.labels
    parts = [f"{labels.added:,} labels added"]
    if labels.precision is not None:
        parts.append(f"precision {labels.precision:.1%}")
    if labels.recall is not None:
        parts.append(f"{labels.recall:.1%} of the missing relevant pairs found")
    if result.test_queries_without_truth:
        parts.append(f"{result.test_queries_without_truth:,} test queries without truth left out")
    return f"{', '.join(parts)}. In percent; brackets are 95 % bootstrap intervals over queries."


def _columns() -> list[str]:
    return [*SHOWN.values(), "R@100", "R@100 over clicks"]


def _cells(row: Row) -> list[str]:
    cells = [_percent(row[metric]) for metric in SHOWN]
    return [*cells, _with_interval(row, _MAIN, ".1f"), _gain(row)]


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def _gain(row: Row) -> str:
    gain = {row.get(f"{_GAIN}{bound}") for bound in ("", "_low", "_high")}
    is_none = len(gain) == 1  # without a rival, or its own
    return "-" if is_none else _with_interval(row, _GAIN, "+.1f")


def _with_interval(row: Row, metric: str, shape: str) -> str:
    value, low, high = (
        format(100 * row[f"{metric}{bound}"], shape) for bound in ("", "_low", "_high")
    )
    return f"{value} [{low}, {high}]"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
