"""The online loop: users click what ranked last, the events train the next bundle, and it ranks first."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from services.cli.__main__ import app
from services.inference.app import build_app
from services.inference.catalogue import Catalogue
from services.inference.event_desk import EventDesk
from services.inference.generation import open_generation
from services.inference.generations import Generations
from services.inference.live_ads import LiveAds
from services.inference.retriever import top
from services.inference.settings import InferenceSettings
from shared.bundle import current, open_bundle, trained_until
from shared.clients import InferenceClient
from shared.contracts.document import Document
from shared.contracts.events import Event
from shared.contracts.inference import AdsResponse
from shared.dataset import Dataset, Query, write_dataset
from shared.settings import CommonSettings
from tests.support.in_process import InProcess

ADS = ("hautbois", "naginata", "zwieback", "tarboosh", "oboe", "saw")
QUERY = "sharp cutting tool"


@pytest.fixture
def common(tmp_path: Path, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch) -> CommonSettings:
    monkeypatch.setenv("SKIM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SKIM_INFERENCE_URL", "http://127.0.0.1:9")
    common = CommonSettings()
    common.models.mkdir(parents=True)
    (common.models / "encoder").symlink_to(tiny_encoder)
    return common


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    documents = [Document(id=each, title=each) for each in ADS]
    queries = [Query(id="q", text="double reed woodwind")]
    write_dataset(tmp_path / "data", Dataset(documents, queries, {"q": {"oboe": 1.0}}, {}))
    return tmp_path / "data"


@pytest.fixture
def inference(common: CommonSettings, folder: Path) -> Iterator[InferenceClient]:
    train(folder, "v1")
    settings = InferenceSettings(explore_share=0.3, explore_seed=1)
    application = build_app(
        settings,
        Generations(common.bundles, partial(LiveAds, common.ads)),
        open_desk=partial(
            EventDesk, common.events, settings, partial(trained_until, common.bundles)
        ),
    )
    with TestClient(application) as client:
        yield InferenceClient("http://inference", attempts=1, transport=InProcess(client))


def run(*command: str) -> dict[str, Any]:
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, (result.output, result.exception)
    return dict(json.loads(result.stdout.splitlines()[-1]))


def train(folder: Path, version: str) -> dict[str, Any]:
    told = run("train", str(folder), "--clicks-only", "--tower", "title", "--version", version)
    run("publish", version)
    return told


def watch(answer: AdsResponse, client: str, clicked: str) -> list[Event]:
    """Return what a user's page tells: all that was shown, and one click."""
    return [
        Event(
            id=f"{answer.request}-{place}-{kind}",
            kind=kind,  # type: ignore[arg-type]
            time=datetime.now(UTC),
            query=answer.query,
            ad=ad.id,
            position=place,
            generation=answer.generation,
            request=answer.request,
            client=client,
            slot=ad.slot,
        )
        for place, ad in enumerate(answer.ads, start=1)
        for kind in ("impression", *(["click"] if ad.id == clicked else []))
    ]


def ranking_of(common: CommonSettings) -> list[str]:
    """Return the ads as the published bundle ranks them, none drawn at random."""
    view = Catalogue(open_generation(current(common.bundles))).view
    return [str(ad["id"]) for ad in top(view, QUERY, len(ADS)).ads]


@pytest.mark.usefixtures("common")
def test_with_too_little_exploration_nothing_is_chosen_and_training_says_so(folder: Path) -> None:
    told = run("train", str(folder), "--clicks-only", "--tower", "title", "--choose")

    assert told["choice"] == "as given"
    assert "choice" not in train(folder, "v2")


def test_what_users_click_ranks_first_once_it_is_trained(
    common: CommonSettings, folder: Path, inference: InferenceClient
) -> None:
    before = ranking_of(common)
    last = before[-1]
    sent = 0
    for user in range(8):
        events = watch(inference.ads(QUERY), f"user {user}", last)
        sent += inference.send_events(events).accepted
        assert inference.send_events(events).accepted == len(events)  # its answer was lost

    told = train(folder, "v2")
    generation = inference.reload().generation

    events = told["events"]
    assert (events["events"], events["new_queries"]) == (sent, 1)
    assert events["duplicates"] == sent
    assert events["exploration"] > 0
    assert generation == "v2"
    assert ranking_of(common)[0] == last


def test_an_exported_folder_trains_the_same_model_as_the_event_files(
    common: CommonSettings, folder: Path, inference: InferenceClient, tmp_path: Path
) -> None:
    for user in range(3):
        answer = inference.ads(QUERY)
        inference.send_events(watch(answer, f"user {user}", "saw"))
    run("events", "export", str(tmp_path / "new"), "--base", str(folder))

    train(folder, "from-files")
    told = train(tmp_path / "new", "from-folder")

    bundles = [open_bundle(common.bundles / name) for name in ("from-files", "from-folder")]
    assert bundles[0].manifest.data_sha256 == bundles[1].manifest.data_sha256
    assert bundles[1].manifest.settings["events_until"] == told["events"]["until"]
    assert bundles[0].manifest.counts.train_queries == 2


def test_a_bundle_that_knows_the_log_has_nothing_new_to_learn(
    common: CommonSettings, folder: Path, inference: InferenceClient
) -> None:
    inference.send_events(watch(inference.ads(QUERY), "ann", "saw"))
    before = run("status", "--json")["since_bundle"]
    train(folder, "v2")
    after = run("status", "--json")["since_bundle"]

    assert (before["clicks"], before["bundle"]) == (1, "v1")
    assert (after["clicks"], after["bundle"]) == (0, "v2")


def test_clicks_on_an_ad_that_was_put_wait_until_the_folder_has_it(
    common: CommonSettings, folder: Path, inference: InferenceClient
) -> None:
    put = Document(id="bucksaw", title="bucksaw")
    inference.put_ads([put])
    for user in range(3):
        events = watch(inference.ads(QUERY), f"user {user}", put.id)
        assert inference.send_events(events).rejected == 0
    without = train(folder, "v2")

    with (folder / "documents.jsonl").open("a", encoding="utf-8") as file:
        file.write(put.model_dump_json() + "\n")
    with_it = train(folder, "v3")
    inference.reload()

    assert without["events"]["unknown_documents"] == 2  # shown, and clicked
    assert with_it["events"]["unknown_documents"] == 0
    assert ranking_of(common)[0] == put.id
