from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.markdown import anchors_of
from tests.support.promql import unknown_in
from tests.support.promtool import needs_promtool, promtool
from tests.support.registries import series

DEPLOY = Path(__file__).parents[2] / "deploy"
PROMETHEUS = DEPLOY / "prometheus"
RULES: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((PROMETHEUS / "rules.yml").read_text())["groups"]
    for rule in group["rules"]
]
ALERTS = {rule["alert"]: rule for rule in RULES if "alert" in rule}
RECORDED = {rule["record"]: {"slo"} for rule in RULES if "record" in rule}
TESTED = {
    each["alertname"]
    for path in PROMETHEUS.glob("*_test.yml")
    for test in yaml.safe_load(path.read_text())["tests"]
    for each in test.get("alert_rule_test", [])
    if each["exp_alerts"]
}


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_leads_to_its_paragraph_of_the_runbook(name: str) -> None:
    path, _, anchor = ALERTS[name]["annotations"]["runbook_url"].partition("#")

    assert path == "deploy/README.md"
    assert anchor == name.lower()
    assert anchor in anchors_of((DEPLOY / "README.md").read_text())


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_how_urgent_it_is_and_what_is_wrong(name: str) -> None:
    alert = ALERTS[name]

    assert alert["labels"]["severity"] in {"page", "ticket"}
    assert {"summary", "description", "runbook_url"} <= set(alert["annotations"])
    assert alert["for"]


def test_every_alert_is_seen_firing_in_a_test() -> None:
    assert set(ALERTS) == TESTED


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.get("alert") or rule["record"])
def test_a_rule_asks_for_metrics_that_there_are(rule: dict[str, Any]) -> None:
    if rule["expr"].startswith("vector("):
        assert rule["record"] == "slo:objective:ratio"
    else:
        assert list(unknown_in(rule["expr"], series() | RECORDED)) == []


def test_a_metric_or_label_that_nothing_has_is_noticed() -> None:
    expression = 'rate(skim_http_requests_total{route="/",colour="red"}[5m]) / skim_no_such_thing'

    assert set(unknown_in(expression, series())) == {
        "skim_http_requests_total{colour}",
        "skim_no_such_thing",
    }


@needs_promtool
def test_prometheus_accepts_the_configuration_and_the_rules() -> None:
    assert "SUCCESS" in promtool("check", "config", str(PROMETHEUS / "prometheus.yml"))


@needs_promtool
def test_the_alerts_fire_when_they_should_and_only_then() -> None:
    tests = sorted(map(str, PROMETHEUS.glob("*_test.yml")))

    assert promtool("test", "rules", *tests).count("SUCCESS") == len(tests)
