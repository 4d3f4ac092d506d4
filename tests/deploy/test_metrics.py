import re
from pathlib import Path

import pytest

from shared.durations import LATENCY_BUCKETS_SECONDS
from tests.support.registries import Described, registered, table

README = (Path(__file__).parents[2] / "deploy/README.md").read_text()
METRICS = [(job, metric) for job, metrics in registered().items() for metric in metrics]


def test_the_runbook_lists_every_metric_with_its_labels() -> None:
    written = re.search(r"<!-- metrics -->\n(.*?)\n<!-- /metrics -->", README, re.DOTALL)

    assert written is not None
    assert written[1] == table()  # if not: what `table()` gives belongs there


@pytest.mark.parametrize(("job", "metric"), METRICS, ids=lambda each: getattr(each, "name", each))
def test_a_metric_names_its_owner_and_its_unit(job: str, metric: Described) -> None:
    owner = metric.name.removeprefix("skim_").partition("_")[0]

    assert re.fullmatch(r"skim_[a-z0-9_]+", metric.name)
    assert owner in {job, "http"}
    assert metric.kind != "histogram" or metric.name.endswith(
        ("_seconds", "_similarity", "_probability")
    )
    assert metric.text.endswith(".")


def test_latencies_below_a_millisecond_are_told_apart() -> None:
    below = [bound for bound in LATENCY_BUCKETS_SECONDS if bound < 0.001]

    assert len(below) >= 4
    assert list(LATENCY_BUCKETS_SECONDS) == sorted(set(LATENCY_BUCKETS_SECONDS))
