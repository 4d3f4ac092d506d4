import json
import re
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import Dashboard

from tests.deploy.test_alerts import RECORDED
from tests.support.promql import unknown_in
from tests.support.promtool import needs_promtool, promtool
from tests.support.registries import series

GRAFANA = Path(__file__).parents[2] / "deploy/grafana"
PAGES: dict[str, dict[str, Any]] = {
    path.name: json.loads(path.read_text()) for path in (GRAFANA / "dashboards").glob("*.json")
}
PANELS = [
    pytest.param(panel, id=f"{name}: {panel['title']}")
    for name, page in PAGES.items()
    for panel in page["panels"]
]
UNITS = {value for value in vars(units).values() if isinstance(value, str)}


def built() -> dict[str, str]:
    spec = spec_from_file_location("build", GRAFANA / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return dict(module.build())


def not_grafanas(given: object, known: object, place: str = "") -> list[str]:
    """Return where a page says what Grafana's own models of dashboard and panels do not."""
    if isinstance(given, dict) and isinstance(known, dict):
        return [
            wrong
            for key, value in given.items()
            for wrong in not_grafanas(value, known.get(key), f"{place}/{key}")
        ]
    if isinstance(given, list) and isinstance(known, list) and len(given) == len(known):
        pairs = enumerate(zip(given, known, strict=True))
        return [wrong for at, pair in pairs for wrong in not_grafanas(*pair, f"{place}/{at}")]
    return [] if given == known else [place]


def through_grafanas_models(page: dict[str, Any]) -> object:
    register_default_plugins()
    return json.loads(JSONEncoder().encode(Dashboard.from_json(page)))


def test_the_files_are_what_the_script_writes() -> None:
    written = {path.name: path.read_text() for path in (GRAFANA / "dashboards").iterdir()}

    assert written == built()  # if not: python deploy/grafana/build.py


@pytest.mark.parametrize("name", PAGES)
def test_a_dashboard_says_nothing_that_grafana_does_not_know(name: str) -> None:
    assert not_grafanas(PAGES[name], through_grafanas_models(PAGES[name])) == []


def test_a_field_that_grafana_does_not_know_is_noticed() -> None:
    page = json.loads(json.dumps(PAGES["overview.json"]))
    page["panels"][0]["fieldConfig"]["defaults"]["unitt"] = "s"

    assert not_grafanas(page, through_grafanas_models(page)) == [
        "/panels/0/fieldConfig/defaults/unitt"
    ]


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_has_title_text_and_unit(panel: dict[str, Any]) -> None:
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"] in UNITS


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_asks_for_metrics_that_there_are(panel: dict[str, Any]) -> None:
    known = series() | RECORDED

    assert panel["targets"]
    for target in panel["targets"]:
        assert list(unknown_in(target["expr"], known)) == []
        legend = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
        assert legend <= set(re.findall(r"\w+", target["expr"])) | {
            "job",
            "instance",
            "slo",
            "generation",
        }


@pytest.mark.parametrize("name", PAGES)
def test_panels_do_not_lie_over_each_other(name: str) -> None:
    cells = [
        (x, y)
        for panel in PAGES[name]["panels"]
        for place in [panel["gridPos"]]
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]

    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24


def test_dashboards_are_told_apart() -> None:
    for key in ("uid", "title"):
        assert len({page[key] for page in PAGES.values()}) == len(PAGES)


@needs_promtool
def test_prometheus_can_read_every_query(tmp_path: Path) -> None:
    queries = [
        target["expr"].replace("$__rate_interval", "5m")
        for page in PAGES.values()
        for panel in page["panels"]
        for target in panel["targets"]
    ]
    rules = [{"record": f"query:{at}", "expr": query} for at, query in enumerate(queries)]
    path = tmp_path / "rules.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))

    assert f"{len(queries)} rules found" in promtool("check", "rules", str(path))
