import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from services.cli import logged
from services.cli.__main__ import app
from services.cli.since_bundle import SinceBundle, since_bundle
from services.mapping.app import build_app
from services.mapping.index_builder import build_index
from services.mapping.serving import serve_index
from services.mapping.settings import MappingSettings
from services.training.event_data import log_query_id
from shared.bundle import activate
from shared.clients import MappingClient
from shared.contracts.document import Document
from shared.dataset import Dataset, Query, read_dataset, write_dataset, write_lines
from shared.errors import Conflict, InvalidInput, NotFound, SkimError, Unavailable
from shared.events.files import event_files
from shared.events.privacy import make_key
from shared.events.record import stamp
from tests.support.encoders import BagOfWordsEncoder
from tests.support.events import event_of, write_events
from tests.support.in_process import InProcess

DOCUMENTS = [Document(id=name, title=name) for name in ("boat", "oar")]
QUERIES = [
    Query(id="q", text="fishing boat"),
    Query(id="held", text="wooden paddle", split="test"),
    Query(id="other", text="sea kayak"),
]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SKIM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SKIM_MAPPING_URL", "http://127.0.0.1:9")
    events = tmp_path / "home" / "events"
    write_events(
        events,
        [
            event_of(0),
            *(event_of(10 + each, query="Canoe", ad="oar") for each in range(3)),
            *(event_of(20 + each, query="kayaks for the sea") for each in range(3)),
            *(event_of(30 + each, query="sea kayaks") for each in range(3)),
        ],
    )
    make_key(events)
    return tmp_path / "home"


@pytest.fixture
def base(tmp_path: Path) -> Path:
    folder = tmp_path / "base"
    write_dataset(folder, Dataset(DOCUMENTS, QUERIES, {"q": {"boat": 2.0}}, {}))
    write_lines(folder / "splits" / "kayaks.tsv", ["q\ttrain", "held\ttrain", "other\ttest"])
    return folder


def run(*command: str | Path) -> dict[str, Any]:
    result = CliRunner().invoke(app, [str(part) for part in command])
    if isinstance(result.exception, SkimError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return dict(json.loads(result.stdout.splitlines()[-1]))


def test_the_log_extends_a_data_folder_and_leaves_the_base_as_it_is(
    home: Path, base: Path, tmp_path: Path
) -> None:
    before = {path: path.read_bytes() for path in base.rglob("*") if path.is_file()}

    told = run("events", "export", tmp_path / "new", "--base", base)

    found = read_dataset(tmp_path / "new")
    canoe = log_query_id("canoe")
    assert found.clicks["q"] == {"boat": 3.0}
    assert found.clicks[canoe] == {"oar": 3.0}
    assert (told["new_queries"], told["events"]) == (2, 10)
    assert before == {path: path.read_bytes() for path in base.rglob("*") if path.is_file()}


def test_no_new_query_is_near_one_that_any_split_holds_out_and_each_has_a_place_in_all(
    home: Path, base: Path, tmp_path: Path
) -> None:
    told = run("events", "export", tmp_path / "new", "--base", base)

    found = read_dataset(tmp_path / "new", split="kayaks")
    texts = {query.text for query in found.queries_of("train")}
    assert texts == {"fishing boat", "wooden paddle", "canoe", "kayaks for the sea"}
    assert told["left_out"] == {"held_out": 1}


def test_the_same_again_gives_the_same(home: Path, base: Path, tmp_path: Path) -> None:
    contents = []
    for _ in range(2):
        run("events", "export", tmp_path / "new", "--base", base)
        contents.append(
            {
                path.name: path.read_bytes()
                for path in (tmp_path / "new").rglob("*")
                if path.is_file() and path.name != "events.json"
            }
        )

    assert contents[0] == contents[1]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_folder_that_is_not_its_own_is_not_replaced(home: Path, base: Path) -> None:
    with pytest.raises(Conflict, match="is no folder that"):
        run("events", "export", base, "--base", base)


def test_the_log_is_never_added_twice(home: Path, base: Path, tmp_path: Path) -> None:
    run("events", "export", tmp_path / "new", "--base", base)

    with pytest.raises(InvalidInput, match="has the log in it already"):
        run("events", "export", tmp_path / "newer", "--base", tmp_path / "new")


def test_what_is_erased_is_gone_from_the_next_export(
    home: Path, base: Path, tmp_path: Path
) -> None:
    told = run("events", "erase", "--query", "CANOE")
    run("events", "export", tmp_path / "new", "--base", base)

    assert (told["erased"], told["train_query"]) == (3, log_query_id("canoe"))
    assert log_query_id("canoe") not in read_dataset(tmp_path / "new").clicks
    assert all(b"canoe" not in path.read_bytes().lower() for path in event_files(home / "events"))


def test_one_thing_is_erased_at_a_time(home: Path) -> None:
    with pytest.raises(InvalidInput, match="one of --query, --ad and --client"):
        run("events", "erase", "--query", "canoe", "--ad", "boat")
    with pytest.raises(InvalidInput, match="one of --query, --ad and --client"):
        run("events", "erase")


def test_thresholds_are_settings(
    home: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SKIM_EVENTS_MIN_CLIENTS", "4")

    told = run("events", "export", tmp_path / "new", "--base", base)

    assert told["new_queries"] == 0
    assert told["left_out"] == {"rare": 3}


def test_files_are_counted_and_compacted(home: Path) -> None:
    assert run("events", "info")["days"] == ["2026-11-25"]
    assert run("events", "compact")["events"] == 10
    assert run("events", "compact")["days"] == 0
    assert run("events", "info")["files"] == 1


@pytest.fixture
def mapping(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    folder = tmp_path / "mapping"
    build_index([Query(id="q", text="fishing boat")], BagOfWordsEncoder(), folder, lambda *_: None)
    settings = MappingSettings()
    application = build_app(settings, lambda: serve_index(folder, BagOfWordsEncoder(), settings))
    with TestClient(application) as client:
        monkeypatch.setattr(
            logged,
            "MappingClient",
            lambda url, attempts: MappingClient(
                url, attempts=attempts, transport=InProcess(client)
            ),
        )
        yield client


def test_new_queries_become_train_queries_of_the_mapping_service(
    home: Path, base: Path, mapping: TestClient
) -> None:
    assert run("events", "put", base)["added"] == 2
    assert run("events", "put", base)["added"] == 0

    found = mapping.get(f"/v1/train-queries/{log_query_id('canoe')}").json()
    assert found["text"] == "canoe"
    assert mapping.get(f"/v1/train-queries/{log_query_id('sea kayaks')}").status_code == 404


def test_a_mapping_service_that_is_away_is_told(home: Path, base: Path) -> None:
    with pytest.raises(Unavailable, match="did not take the queries"):
        run("events", "put", base)


def test_without_events_and_base_it_says_what_is_missing(home: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="skim publish"):
        run("events", "export", tmp_path / "new")


def bundle_of(bundles: Path, settings: dict[str, Any], created: datetime) -> None:
    manifest = {
        "version": "v1",
        "created_at": created.isoformat(),
        "git_revision": None,
        "encoder": "x",
        "dimensions": 1,
        "counts": {"ads": 0, "train_queries": 0, "clicks": 0, "labels": 0},
        "settings": settings,
        "files": {},
    }
    (bundles / "v1").mkdir(parents=True)
    (bundles / "v1" / "manifest.json").write_text(json.dumps(manifest))
    activate(bundles, "v1")


def test_what_changed_since_the_bundle_is_counted_from_when_it_read_the_log(
    home: Path, tmp_path: Path
) -> None:
    until = "2026-11-25T11:00:00.000Z"
    settings = {"events_until": until, "suite_labels": 100}
    bundle_of(tmp_path / "bundles", settings, created=datetime.now(UTC))

    found = since_bundle(tmp_path / "bundles", home / "events", labels_now=130, cold_start_ads=2)

    assert found is not None
    assert (found.bundle, found.trained_until, found.clicks) == ("v1", until, 10)
    assert (found.labels, found.cold_start_ads) == (30, 2)
    assert "10 clicks" in found.line
    assert "+30 labels, 2 ads that no training has seen" in found.line


def test_a_bundle_that_read_no_log_is_as_old_as_it_is(home: Path, tmp_path: Path) -> None:
    created = datetime(2026, 11, 26, tzinfo=UTC)
    bundle_of(tmp_path / "bundles", {}, created)

    found = since_bundle(tmp_path / "bundles", home / "events", labels_now=130)

    assert isinstance(found, SinceBundle)
    assert (found.trained_until, found.clicks, found.labels) == (stamp(created), 0, None)


def test_without_a_bundle_nothing_changed_since(home: Path, tmp_path: Path) -> None:
    assert since_bundle(tmp_path / "bundles", home / "events") is None
