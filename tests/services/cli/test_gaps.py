import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from services.cli.__main__ import app
from services.cli.gaps import gaps_of
from services.cli.offline_mapping import map_offline
from services.training.labels import added_pairs, count
from shared.contracts.document import Document
from shared.contracts.synthetic_queries import SyntheticQueries
from shared.dataset import Dataset, Query, write_dataset, write_rows
from shared.encoder import SentenceEncoder

DATASET = Dataset(
    documents=[Document(id=f"d{number}", title=f"thing {number}") for number in range(3)],
    queries=[
        Query(id="q0", text="reed"),
        Query(id="q1", text="woodwind reed"),
        Query(id="q2", text="brass"),
        Query(id="t0", text="oboe", split="test"),
    ],
    clicks={"q0": {"d0": 1.0}},
    truth={},
)
WRITTEN = [
    SyntheticQueries(document_id="d0", queries=["reed", "oboe"]),
    SyntheticQueries(document_id="d1", queries=["brass", "reed", "brass horn"]),
    SyntheticQueries(document_id="gone", queries=["brass"]),
]


@pytest.fixture
def encoder(tiny_encoder: Path) -> SentenceEncoder:
    return SentenceEncoder(tiny_encoder)


@pytest.fixture
def home(tmp_path: Path, tiny_encoder: Path) -> Path:
    (tmp_path / "home" / "models").mkdir(parents=True)
    (tmp_path / "home" / "models" / "encoder").symlink_to(tiny_encoder)
    write_dataset(tmp_path / "data", DATASET)
    write_rows(tmp_path / "written.jsonl", WRITTEN)
    return tmp_path


def gaps(home: Path, *options: str) -> str:
    command = ["gaps", str(home / "data"), "--queries", str(home / "written.jsonl"), *options]
    environment = {"SKIM_HOME": str(home / "home"), "COLUMNS": "200"}
    return CliRunner().invoke(app, command, env=environment, catch_exceptions=False).stdout


def test_labels_are_those_that_mapping_gives(tmp_path: Path, encoder: SentenceEncoder) -> None:
    train, known = DATASET.queries_of("train"), WRITTEN[:2]
    mapped = map_offline(known, train, encoder, tmp_path, lambda done, total: None)

    found = gaps_of(DATASET, WRITTEN, encoder, 0.6, lambda done, total: None)

    assert found.labels_added == count(added_pairs(mapped, DATASET.clicks)) > 0


def test_tau_moves_what_maps_to_nothing(home: Path) -> None:
    strict = json.loads(gaps(home, "--min-similarity", "1", "--json"))
    loose = json.loads(gaps(home, "--min-similarity", "-1", "--json"))

    assert loose["unmapped"]["unmapped"] == 0
    assert strict["unmapped"]["unmapped"] > 0
    assert strict["labels_added"] < loose["labels_added"]


def test_json_says_when_and_where_it_was_made(home: Path) -> None:
    stamp = json.loads(gaps(home, "--json"))["stamp"]

    assert all(stamp[name] != "not recorded" for name in ("date", "machine", "command"))


def test_the_terminal_shows_the_figures_and_the_examples(home: Path) -> None:
    shown = gaps(home)

    assert "documents without a click" in shown
    assert "Train queries that absorb most documents" in shown
