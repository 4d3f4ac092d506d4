"""The evaluation's JSON as tables and plots: arms of each split and tower, exposure, tau, facts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from shared.errors import InvalidInput
from shared.report_page.plots import Plot, Series
from shared.report_page.stamp import Stamp
from shared.report_page.tables import (
    NOTHING,
    Section,
    Table,
    percent,
    whole,
    words,
)

TOWERS = {
    "title_only": "documents as titles",
    "full": "documents as titles + metadata",
    "peers": "peers on the same data",
}
ARMS = {
    "zero_shot_title": "zero-shot, title",
    "zero_shot_metadata": "zero-shot, title + metadata",
    "bm25": "BM25",
    "bm25_expanded": "BM25 + synthetic queries",
    "clicks_stochastic": "clicks (stochastic log)",
    "ips": "clicks + IPS, estimated",
    "ips_golden": "clicks + IPS, golden",
    "lever": "clicks + LEVER-like",
    "gandalf": "clicks + Gandalf-like",
    "lever_ips": "clicks + LEVER-like + IPS",
    "unmapped_no_metadata": "clicks + unmapped, no metadata",
    "unmapped": "clicks + unmapped",
    "skim": "clicks + SKIM",
    "skim_and_unmapped": "clicks + SKIM + unmapped",
    "skim_stochastic": "clicks + SKIM (stochastic log)",
    "skim_no_metadata": "clicks + SKIM, no metadata",
    "mar": "missing at random",
    "full_truth": "full truth",
    "full_truth_and_unmapped": "full truth + unmapped",
}
"""An arm that is not here goes by its own name."""
METRICS = {
    "precision_at_1": "P@1",
    "ndcg_at_10": "nDCG@10",
    "recall_at_10": "R@10",
    "recall_at_25": "R@25",
    "recall_at_100": "R@100",
    "psp_at_5": "PSP@5",
}
GAINS = {
    "gain_recall_at_10": "R@10 over clicks",
    "gain_recall_at_25": "R@25 over clicks",
    "gain_recall_at_100": "R@100 over clicks",
}
GROUPS = {
    "head_recall_at_100": "head R@100",
    "torso_recall_at_100": "torso R@100",
    "tail_recall_at_100": "tail R@100",
    "biased_precision_at_1": "biased P@1",
    "biased_recall_at_100": "biased R@100",
}
"""Where an arm finds what it finds, and what the log's own clicks would have said of it."""
EXPOSURE_METRIC = "recall_at_100"
FACTS = {
    "labels_added": "augmented labels added",
    "label_precision": "precision of the labels, %",
    "label_recall": "missing relevant pairs the labels found, %",
    "seconds": "seconds",
    "peak_rss_mb": "peak memory, MB",
}
_SHARES = {"label_precision", "label_recall"}
Row = Mapping[str, Any]


def evaluation_sections(evaluation: Mapping[str, Any]) -> list[Section]:
    """Return the parts of the report that an evaluation fills; what it lacks is left out.

    Raises:
        InvalidInput: it holds no arms of any split.
    """
    stamp = _stamp(evaluation)
    splits = {name: value for name, value in evaluation.items() if _towers(value)}
    if not splits:
        raise InvalidInput("no arms here: expected what `skim evaluate --json` prints")
    sections = [
        Section(
            heading=f"Arms: {_plain(split)}",
            notes=[
                (
                    "Complete truth of held-out queries, in percent; brackets are 95 % bootstrap intervals over "
                    "queries, those of gains paired."
                )
            ],
            tables=[
                table
                for name, arms in _towers(towers).items()
                for table in (_arms(split, name, arms), _groups(split, name, arms))
                if table is not None
            ],
            stamp=stamp,
        )
        for split, towers in splits.items()
    ]
    plots = _exposure_plots(evaluation.get("exposure"))
    if plots:
        sections.append(
            Section(
                heading="Recall against exposure",
                notes=[
                    "The logging policy showed its top K documents a query; bands are 95 % intervals."
                ],
                tables=[_plot_table(plot, "K") for plot in plots],
                plots=plots,
                stamp=stamp,
            )
        )
    tau = _tau_rows(evaluation.get("tau"))
    if tau:
        sections.append(_tau_section(tau, stamp))
    if facts := _facts(evaluation):
        sections.append(Section("Data and cost", tables=[facts], stamp=stamp))
    return sections


def _arms(split: str, tower: str, arms: Mapping[str, Row]) -> Table:
    shown = [
        name for name in METRICS if any(_number(row, name) is not None for row in arms.values())
    ]
    gains = [
        name
        for name in GAINS
        if any(_number(row, f"{name}_low") is not None for row in arms.values())
    ]
    return Table(
        caption=f"{_tower(tower).capitalize()}, {_plain(split)}",
        columns=["arm", *(METRICS[name] for name in shown), *(GAINS[name] for name in gains)],
        rows=[
            [
                ARMS.get(arm, _plain(arm)),
                *(_with_interval(row, name) for name in shown),
                *(_with_interval(row, name, sign=True) for name in gains),
            ]
            for arm, row in arms.items()
        ],
    )


def _groups(split: str, tower: str, arms: Mapping[str, Row]) -> Table | None:
    shown = [
        name for name in GROUPS if any(_number(row, name) is not None for row in arms.values())
    ]
    if not shown:
        return None
    return Table(
        caption=(
            f"{_tower(tower).capitalize()}, {_plain(split)}: documents with half of the clicks (head), "
            "with the others (torso), with none (tail); and the biased test"
        ),
        columns=["arm", *(GROUPS[name] for name in shown)],
        rows=[
            [ARMS.get(arm, _plain(arm)), *(_with_interval(row, name) for name in shown)]
            for arm, row in arms.items()
        ],
    )


def _exposure_plots(exposure: object) -> list[Plot]:
    """Return a plot a split and tower, from K -> split -> tower -> arm -> metrics."""
    if not isinstance(exposure, Mapping):
        return []
    lines: dict[tuple[str, str], dict[str, list[tuple[int, Row]]]] = {}
    for shown in sorted((key for key in exposure if str(key).isdigit()), key=int):
        for split, towers in exposure[shown].items():
            for tower, arms in _towers(towers).items():
                for arm, row in arms.items():
                    if _number(row, EXPOSURE_METRIC) is not None:
                        of_arm = lines.setdefault((split, tower), {}).setdefault(arm, [])
                        of_arm.append((int(shown), row))
    return [
        Plot(
            title=f"{METRICS[EXPOSURE_METRIC]} against exposure, {_tower(tower)}, {_plain(split)}",
            description=_exposure_words(arms),
            x_label="K: documents the log's policy showed a query",
            y_label=f"{METRICS[EXPOSURE_METRIC]}, %",
            series=[_exposure_series(arm, points) for arm, points in arms.items()],
            is_log=True,
        )
        for (split, tower), arms in lines.items()
    ]


def _exposure_series(arm: str, points: Sequence[tuple[int, Row]]) -> Series:
    columns = [
        [_number(row, f"{EXPOSURE_METRIC}{suffix}") for _, row in points]
        for suffix in ("", "_low", "_high")
    ]
    y, low, high = ([100 * value for value in column if value is not None] for column in columns)
    has_band = len(low) == len(high) == len(points)
    return Series(
        ARMS.get(arm, _plain(arm)),
        [shown for shown, _ in points],
        y,
        low if has_band else (),
        high if has_band else (),
    )


def _exposure_words(arms: Mapping[str, Sequence[tuple[int, Row]]]) -> str:
    ends = [
        f"{ARMS.get(arm, _plain(arm))} from {percent(_number(points[0][1], EXPOSURE_METRIC))} at "
        f"K = {points[0][0]} to {percent(_number(points[-1][1], EXPOSURE_METRIC))} at K = {points[-1][0]}"
        for arm, points in arms.items()
    ]
    return f"{'; '.join(ends)}."


def _plot_table(plot: Plot, x_name: str) -> Table:
    """Return the points of a plot, for those who read and do not look."""
    at = sorted({x for series in plot.series for x in series.x})
    return Table(
        caption=f"{plot.title}, in percent",
        columns=["arm", *(f"{x_name} = {x:g}" for x in at)],
        rows=[[series.name, *(_point(series, x) for x in at)] for series in plot.series],
    )


def _point(series: Series, x: float) -> str:
    if x not in series.x:
        return NOTHING
    place = list(series.x).index(x)
    text = f"{series.y[place]:.1f}"
    return f"{text} [{series.low[place]:.1f}, {series.high[place]:.1f}]" if series.low else text


def _tau_rows(tau: object) -> list[Row]:
    rows = tau if isinstance(tau, Sequence) and not isinstance(tau, str) else []
    known = [row for row in rows if isinstance(row, Mapping) and _number(row, "tau") is not None]
    return sorted(known, key=lambda row: float(row["tau"]))


def _tau_section(rows: Sequence[Row], stamp: Stamp) -> Section:
    series = []
    for name in ("precision", "recall"):
        points = [(row["tau"], _number(row, name)) for row in rows]
        known = [(tau, 100 * value) for tau, value in points if value is not None]
        if known:
            series.append(Series(name, [tau for tau, _ in known], [value for _, value in known]))
    first, last = rows[0], rows[-1]
    plot = Plot(
        title="Precision and recall of labels against tau",
        description=(
            f"From tau {first['tau']:g} to {last['tau']:g} precision goes from "
            f"{percent(_number(first, 'precision'))} to {percent(_number(last, 'precision'))} %, recall from "
            f"{percent(_number(first, 'recall'))} to {percent(_number(last, 'recall'))} %."
        ),
        x_label="tau (cosine)",
        y_label="%",
        series=series,
    )
    table = Table(
        "Augmented labels at each tau",
        ["tau", "labels", "precision, %", "recall, %"],
        [
            [
                f"{row['tau']:g}",
                whole(_number(row, "labels")),
                percent(_number(row, "precision")),
                percent(_number(row, "recall")),
            ]
            for row in rows
        ],
    )
    notes = [
        (
            "Precision: share of the labels that is relevant. Recall: share of the relevant pairs without a click "
            "that they found. Both on train queries."
        )
    ]
    return Section("Labels against tau", notes, [table], [plot] if series else [], stamp)


def _facts(evaluation: Mapping[str, Any]) -> Table | None:
    facts = evaluation.get("facts")
    rows = [
        [_plain(name), _fact(value)]
        for name, value in (facts.items() if isinstance(facts, Mapping) else ())
        if isinstance(value, str | int | float)
    ]
    for name, words_for in FACTS.items():
        value = _number(evaluation, name)
        if value is not None:
            rows.append([words_for, percent(value) if name in _SHARES else whole(value)])
    return Table("Facts of the evaluation", ["fact", "value"], rows) if rows else None


def _fact(value: str | float) -> str:
    if isinstance(value, str):
        return words(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"


def _towers(value: object) -> dict[str, Mapping[str, Row]]:
    """Return tower -> arm -> metrics, of a split; nothing if it is something else."""
    if not isinstance(value, Mapping):
        return {}
    towers = {
        tower: {arm: row for arm, row in arms.items() if _is_row(row)}
        for tower, arms in value.items()
        if isinstance(arms, Mapping)
    }
    return {tower: arms for tower, arms in towers.items() if arms}


def _is_row(value: object) -> bool:
    return isinstance(value, Mapping) and any(_number(value, name) is not None for name in METRICS)


def _with_interval(row: Row, name: str, *, sign: bool = False) -> str:
    value, low, high = (_number(row, name + suffix) for suffix in ("", "_low", "_high"))
    if value is None and low is None:
        return NOTHING
    text = "" if value is None else percent(value, sign=sign)
    if low is None and high is None:
        return text
    return f"{text} [{percent(low, sign=sign)}, {percent(high, sign=sign)}]".strip()


def _number(row: Row, name: str) -> float | None:
    """Return a finite number; None for anything else: JSON written by hand is shown, not trusted."""
    value = row.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return value


def _tower(name: str) -> str:
    return TOWERS.get(name, _plain(name))


def _plain(name: str) -> str:
    return words(str(name).replace("_", " "))


def _stamp(evaluation: Mapping[str, Any]) -> Stamp:
    """Return the stamp, under `stamp` or beside the splits."""
    source = evaluation.get("stamp", evaluation)
    if not isinstance(source, Mapping):
        return Stamp()
    return Stamp(
        **{name: words(str(source[name])) for name in Stamp.model_fields if name in source}
    )
