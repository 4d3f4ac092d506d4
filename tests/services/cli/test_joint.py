"""`skim train --joint`: the bundle holds the tuned encoder and vectors that fit it."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from services.cli.__main__ import app
from shared.bundle import open_bundle
from shared.contracts.document import Document
from shared.dataset import Dataset, Query, write_dataset
from shared.encoder import SentenceEncoder
from tests.support.tiny_models import write_encoder

TITLES = ["oboe woodwind", "flute woodwind", "saw tool", "bread food"]
ASKED = ["musical instrument", "musical instrument", "sharp tool", "kitchen food"]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_encoder(tmp_path / "models" / "sources" / "all-minilm-l6-v2", layers=2)
    monkeypatch.setenv("SKIM_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    documents = [Document(id=f"d{n}", title=title) for n, title in enumerate(TITLES)]
    queries = {text: Query(id=f"q{n}", text=text, split="train") for n, text in enumerate(ASKED)}
    clicks: dict[str, dict[str, float]] = {}
    for document, text in zip(documents, ASKED, strict=True):
        clicks.setdefault(queries[text].id, {})[document.id] = 1.0
    write_dataset(tmp_path / "data", Dataset(documents, [*queries.values()], clicks, {}))
    return tmp_path / "data"


def train(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["train", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_bundle_holds_the_tuned_encoder_and_vectors_that_fit_it(
    home: Path, folder: Path
) -> None:
    told = json.loads(
        train(
            str(folder), "--clicks-only", "--tower", "title", "--version", "v1",
            "--joint", "--joint-pairs", "100000", "--device", "cpu",
        ).splitlines()[-1]
    )  # fmt: skip

    bundle = open_bundle(home / "bundles" / "v1")
    encoder = SentenceEncoder(home / "bundles" / "v1" / "encoder")
    record = json.loads((home / "bundles" / "v1" / "encoder" / "training.json").read_text())
    assert told["bundle"] == "v1"
    assert record["settings"]["pairs_seen"] == 100_000
    assert len(record["data_sha256"]) == 64
    assert record["losses"][-1] < record["losses"][0]
    assert not (home / "run" / "joint").exists()
    scores = encoder.encode(ASKED) @ bundle.vectors.T
    assert set(np.argsort(-scores[0])[:2].tolist()) == {0, 1}
    assert scores[2:].argmax(axis=1).tolist() == [2, 3]


@pytest.mark.parametrize("other", [["--fine-tune-epochs", "1"], ["--choose"]])
def test_it_does_not_go_with_another_way_to_train(
    home: Path, folder: Path, other: list[str]
) -> None:
    result = CliRunner().invoke(app, ["train", str(folder), "--clicks-only", "--joint", *other])

    assert result.exit_code != 0
    assert "does not go with --joint" in str(result.exception)
