"""Write Grafana's dashboards, deploy/grafana/dashboards/*.json: `python deploy/grafana/build.py`.

What Grafana reads is in git; this is its shorter form. tests/deploy/test_grafana.py holds the two together.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "dashboards"
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_COLUMNS = 24
_ADS = 'job="inference",route="/v1/ads"'

Panel = dict[str, Any]


def graph(title: str, unit: str, says: str, **queries: str) -> Panel:
    """Return lines over time; keywords are PromQL by legend, with `__` for a space."""
    return _panel("timeseries", title, unit, says, queries, width=8, height=8)


def number(title: str, unit: str, says: str, query: str, **thresholds: float) -> Panel:
    """Return one number; `red` or `orange` is where it begins to need a person."""
    panel = _panel("stat", title, unit, says, {title: query}, width=4, height=4)
    steps: list[dict[str, Any]] = [{"color": "text", "value": None}]
    steps += [{"color": color, "value": value} for color, value in thresholds.items()]
    panel["fieldConfig"]["defaults"]["thresholds"] = {"mode": "absolute", "steps": steps}
    return panel


def dashboard(uid: str, title: str, says: str, *panels: Panel) -> dict[str, Any]:
    """Return a dashboard of panels that fill row after row."""
    x = y = row = 0
    for at, panel in enumerate(panels, start=1):
        place = panel["gridPos"]
        if x + place["w"] > _COLUMNS:
            x, y, row = 0, y + row, 0
        place |= {"x": x, "y": y}
        panel["id"] = at
        x, row = x + place["w"], max(row, place["h"])
    return {
        "uid": uid,
        "title": title,
        "description": says,
        "tags": ["skim"],
        "timezone": "browser",
        "schemaVersion": 39,
        "editable": False,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {
            "list": [
                {
                    "name": "datasource",
                    "label": "Data source",
                    "type": "datasource",
                    "query": "prometheus",
                }
            ]
        },
        "panels": list(panels),
    }


def _panel(
    kind: str,
    title: str,
    unit: str,
    says: str,
    queries: dict[str, str],
    *,
    width: int,
    height: int,
) -> Panel:
    return {
        "type": kind,
        "title": title,
        "description": says,
        "datasource": _SOURCE,
        "gridPos": {"w": width, "h": height, "x": 0, "y": 0},
        "fieldConfig": {"defaults": {"unit": unit}, "overrides": []},
        "targets": [
            {
                "refId": chr(ord("A") + at),
                "datasource": _SOURCE,
                "expr": query,
                "legendFormat": legend.replace("__", " "),
            }
            for at, (legend, query) in enumerate(queries.items())
        ],
    }


def quantile(share: float, histogram: str, selector: str = "", by: str = "") -> str:
    """Return the PromQL of a quantile over the last minutes."""
    of = f"{histogram}_bucket{{{selector}}}" if selector else f"{histogram}_bucket"
    labels = f"le,{by}" if by else "le"
    return f"histogram_quantile({share}, sum by ({labels}) (rate({of}[$__rate_interval])))"


def rate(counter: str, by: str = "") -> str:
    """Return the PromQL of a counter's rate, summed."""
    return f"sum{f' by ({by})' if by else ''} (rate({counter}[$__rate_interval]))"


def share(counter: str, outcome: str, by: str = "") -> str:
    """Return the PromQL of an outcome's share of a counter."""
    chosen = f'{counter}{{outcome="{outcome}"}}'
    return f"{rate(chosen, by)} / {rate(counter, by)}"


def overview() -> dict[str, Any]:
    """Return the first page: is everything well, and if not, where."""
    seconds = "skim_http_request_seconds"
    return dashboard(
        "skim-overview",
        "SKIM: overview",
        "Is everything well, and if not, where? deploy/README.md says what to do.",
        number(
            "Parts away",
            "none",
            "Processes that give no metrics.",
            "count(up == 0) or vector(0)",
            red=1,
        ),
        number(
            "Questions per second",
            "reqps",
            "Questions for ads.",
            rate(f"skim_http_requests_total{{{_ADS}}}"),
        ),
        number(
            "Answer, 99th percentile",
            "s",
            "Of questions for ads.",
            quantile(0.99, seconds, _ADS),
            orange=0.05,
        ),
        number(
            "Documents waiting",
            "short",
            "Accepted, without labels yet.",
            "sum(skim_augmentation_waiting)",
        ),
        number(
            "Age of the queue",
            "s",
            "Of the oldest job with waiting documents.",
            "max(skim_augmentation_queue_age_seconds)",
            orange=3600,
        ),
        number(
            "Labels",
            "short",
            "Augmented labels of all documents.",
            "sum(skim_augmentation_labels)",
        ),
        graph(
            "Budget used, times what it gives",
            "none",
            "Error ratio over the objective's: 1 uses the budget up in 30 days, 14.4 in two.",
            **{
                "{{slo}}, 1 h": "slo:error_ratio:rate1h / (1 - slo:objective:ratio)",
                "{{slo}}, 3 d": "slo:error_ratio:rate3d / (1 - slo:objective:ratio)",
            },
        ),
        graph(
            "Requests",
            "reqps",
            "Of every service, probes and metrics left out.",
            **{"{{job}}": rate('skim_http_requests_total{route=~"/v1/.*"}', "job")},
        ),
        graph(
            "Refusals and errors",
            "reqps",
            "5xx: 503 is a full queue or a part that is away.",
            **{
                "{{job}} {{status}}": rate('skim_http_requests_total{status=~"5.."}', "job,status")
            },
        ),
        graph(
            "Resident memory",
            "bytes",
            "Of every process.",
            **{"{{job}}": "sum by (job) (process_resident_memory_bytes)"},
        ),
        graph(
            "Processor",
            "none",
            "Cores in use, of every process.",
            **{"{{job}}": rate("process_cpu_seconds_total", "job")},
        ),
        graph(
            "Ads served",
            "short",
            "By bundle; a step is a switch.",
            **{
                "{{generation}}": "skim_inference_bundle * on (job, instance) group_left skim_inference_ads"
            },
        ),
    )


def documents() -> dict[str, Any]:
    """Return the way of documents to labels."""
    tokens = "skim_generation_{0}_tokens_total"
    return dashboard(
        "skim-documents",
        "SKIM: documents to labels",
        "From POST /v1/documents through the workers, generation and mapping to labels in Redis.",
        graph(
            "Documents",
            "short",
            "Waiting in all, and of these on the queue or in a worker's hands.",
            waiting="sum(skim_augmentation_waiting)",
            leased="sum(skim_augmentation_leased)",
        ),
        graph(
            "Age",
            "s",
            "Of the oldest waiting job; and for how long something has been in nobody's hands.",
            queue="max(skim_augmentation_queue_age_seconds)",
            overdue="max(skim_augmentation_lease_overdue_seconds)",
        ),
        graph(
            "Jobs",
            "short",
            "By state.",
            **{"{{state}}": "sum by (state) (skim_augmentation_jobs)"},
        ),
        graph(
            "Workers' tasks",
            "ops",
            "By what became of them.",
            **{"{{outcome}}": rate("skim_worker_tasks_total", "outcome")},
        ),
        graph(
            "Time of a task",
            "s",
            "From its start to its end.",
            p50=quantile(0.5, "skim_worker_task_seconds"),
            p99=quantile(0.99, "skim_worker_task_seconds"),
        ),
        graph(
            "Workers",
            "short",
            "Tasks that run, and that could.",
            run="sum(skim_worker_tasks_running)",
            could="sum(skim_worker_processes)",
        ),
        graph(
            "Tokens per second of work",
            "none",
            "The SLM's speed while it works.",
            read=f"{rate(tokens.format('prefill'))} / {rate('skim_generation_prefill_seconds_sum')}",
            written=f"{rate(tokens.format('decode'))} / {rate('skim_generation_decode_seconds_sum')}",
        ),
        graph(
            "Slots",
            "short",
            "Completions being written, and documents that wait for one.",
            used="sum(skim_generation_slots_used)",
            slots="sum(skim_generation_slots)",
            waiting="sum(skim_generation_documents_waiting)",
        ),
        graph(
            "Documents written",
            "ops",
            "By outcome.",
            **{"{{outcome}}": rate("skim_generation_documents_total", "outcome")},
        ),
        graph(
            "Neighbours that reach tau",
            "percentunit",
            "Of the neighbours of synthetic queries.",
            reach=share("skim_mapping_neighbours_total", "reached"),
        ),
        graph(
            "Candidates that become labels",
            "percentunit",
            "By the rule that decides; the preset takes all that reach tau.",
            **{"{{rule}}": share("skim_mapping_candidates_total", "accepted", "rule")},
        ),
        graph(
            "Documents that gain a label",
            "percentunit",
            "A fall is a drift of documents, queries or generator.",
            share=share("skim_mapping_documents_total", "labelled"),
        ),
        graph(
            "Recall of the index",
            "percentunit",
            "Of train queries, measured against exact search.",
            **{"{{instance}}": "skim_mapping_index_recall"},
        ),
        graph(
            "Probability of labels",
            "percentunit",
            "By the calibration: median and tenth percentile.",
            p50=quantile(0.5, "skim_mapping_label_probability"),
            p10=quantile(0.1, "skim_mapping_label_probability"),
        ),
        graph(
            "Labels that people find right",
            "percentunit",
            "Of the labels of now that somebody reviewed, beside the mean probability that the calibration promised.",
            reviewed="max(skim_augmentation_label_precision)",
            promised="sum(rate(skim_mapping_label_probability_sum[$__rate_interval]))"
            " / sum(rate(skim_mapping_label_probability_count[$__rate_interval]))",
        ),
        graph(
            "Reviewed labels",
            "short",
            "Labels of now that somebody looked at, by verdict.",
            **{"{{verdict}}": "max by (verdict) (skim_augmentation_reviewed_labels)"},
        ),
        graph(
            "Time of a mapping request",
            "s",
            "99th percentile, waiting for a thread and mapping.",
            **{"{{stage}}": quantile(0.99, "skim_mapping_stage_seconds", by="stage")},
        ),
    )


def ads() -> dict[str, Any]:
    """Return the way of a query to its ads."""
    seconds = "skim_http_request_seconds"
    return dashboard(
        "skim-ads",
        "SKIM: queries to ads",
        "GET /v1/ads: how fast, and where the time goes.",
        graph(
            "Time of an answer",
            "s",
            "Percentiles; the promise is 50 ms for 99 of 100.",
            p50=quantile(0.5, seconds, _ADS),
            p90=quantile(0.9, seconds, _ADS),
            p99=quantile(0.99, seconds, _ADS),
        ),
        graph(
            "Where the time goes",
            "s",
            "Median of each stage.",
            **{"{{stage}}": quantile(0.5, "skim_inference_stage_seconds", by="stage")},
        ),
        graph(
            "Where the time goes at worst",
            "s",
            "99th percentile of each stage; a long queue wants more threads or machines.",
            **{"{{stage}}": quantile(0.99, "skim_inference_stage_seconds", by="stage")},
        ),
        graph(
            "Answers",
            "reqps",
            "By status.",
            **{"{{status}}": rate(f"skim_http_requests_total{{{_ADS}}}", "status")},
        ),
        graph(
            "Answered within 50 ms",
            "percentunit",
            "The promise is 99 of 100.",
            share='1 - slo:error_ratio:rate5m{slo="ads-fast"}',
        ),
        graph(
            "Recall of the index",
            "percentunit",
            "Of the bundle's canary queries, measured against a scan of all ads.",
            **{"{{instance}}": "skim_inference_index_recall"},
        ),
        graph(
            "Open files",
            "short",
            "Of inference; connections are most of them.",
            open='sum(process_open_fds{job="inference"})',
            most='sum(process_max_fds{job="inference"})',
        ),
    )


def build() -> dict[str, str]:
    """Return what each file holds."""
    pages = {"overview.json": overview(), "documents.json": documents(), "ads.json": ads()}
    return {name: json.dumps(page, indent=1) + "\n" for name, page in pages.items()}


if __name__ == "__main__":
    for name, text in build().items():
        (FOLDER / name).write_text(text)
