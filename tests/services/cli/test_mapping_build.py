import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from services.cli import mapping as module
from services.cli.__main__ import app
from services.mapping.index_files import read_manifest
from shared.contracts.document import Document
from shared.contracts.synthetic_queries import SyntheticQueries
from shared.dataset import Query, write_rows
from shared.errors import InvalidInput
from tests.support.encoders import BagOfWordsEncoder


@pytest.fixture
def encoder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> BagOfWordsEncoder:
    encoder = BagOfWordsEncoder()
    monkeypatch.setenv("SKIM_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(module, "open_encoder", lambda *_: encoder)
    monkeypatch.setattr(module, "reload", lambda _: False)
    return encoder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    write_rows(folder / "documents.jsonl", [Document(id="d", title="a boat")])
    write_rows(folder / "queries.jsonl", [Query(id="q", text="boat"), Query(id="r", text="kite")])
    (folder / "clicks.tsv").write_text("q\td\t1\n")
    return folder


def written(path: Path, *texts: str) -> Path:
    write_rows(path, [SyntheticQueries(document_id="d", queries=list(texts))])
    return path


def build(*arguments: object) -> dict[str, Any]:
    result = CliRunner().invoke(app, ["mapping", "build", *map(str, arguments)])
    if isinstance(result.exception, InvalidInput):
        raise result.exception
    assert result.exit_code == 0, result.output
    told: dict[str, Any] = json.loads(result.stdout)
    return told


def test_recall_is_measured_by_the_named_synthetic_queries(
    encoder: BagOfWordsEncoder, data: Path, tmp_path: Path
) -> None:
    file = written(tmp_path / "some.jsonl", "fishing boat", "red kite")

    told = build(data, "--queries", file)

    assert told["measured_by"] == str(file)
    assert (
        told["recall_above_tau"] == read_manifest(tmp_path / "home" / "mapping").recall_above_tau
    )
    assert {"fishing boat", "red kite"} <= {text for call in encoder.calls for text in call}


def test_the_folders_own_measure_if_none_are_named(encoder: BagOfWordsEncoder, data: Path) -> None:
    file = written(data / "synthetic_queries.jsonl", "fishing boat")

    assert build(data)["measured_by"] == str(file)
    assert ["fishing boat"] in [list(call) for call in encoder.calls]


def test_without_any_vectors_between_the_train_queries_do(
    encoder: BagOfWordsEncoder, data: Path
) -> None:
    told = build(data)

    assert told["measured_by"] is None
    assert told["recall_above_tau"] == 1.0
    assert {text for call in encoder.calls for text in call} == {"boat", "kite"}


def test_a_file_without_a_synthetic_query_is_refused(
    encoder: BagOfWordsEncoder, data: Path, tmp_path: Path
) -> None:
    with pytest.raises(InvalidInput, match=r"none\.jsonl"):
        build(data, "--queries", written(tmp_path / "none.jsonl"))
    assert encoder.calls == []
