from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from services.cli.data import app
from shared.contracts.document import Document
from shared.dataset import Dataset, Query, read_dataset, write_dataset
from shared.errors import Conflict, InvalidInput
from shared.formats.detection import read_any

DATASET = Dataset(
    documents=[Document(id="us.d1", title="bed")],
    queries=[Query(id="q1", text="sofa", split="test")],
    clicks={},
    truth={"q1": {"us.d1": 1.0}},
)


@pytest.mark.parametrize(
    ("layout", "file"),
    [
        ("xc", "lbl.json.gz"),
        ("beir", "corpus.jsonl"),
        ("wands", "product.csv"),
        ("esci", "shopping_queries_dataset_products.csv"),
    ],
)
def test_a_data_folder_is_exported_in_the_layout_asked_for(
    tmp_path: Path, layout: str, file: str
) -> None:
    source, target = tmp_path / "ours", tmp_path / "theirs"
    write_dataset(source, DATASET)

    result = CliRunner().invoke(app, ["export", str(source), str(target), "--format", layout])

    assert result.exit_code == 0, result.output
    assert file in json.loads(result.stdout)["files"]
    assert read_any(target) == DATASET


def test_an_export_overwrites_nothing(tmp_path: Path) -> None:
    write_dataset(tmp_path, DATASET)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}

    result = CliRunner().invoke(app, ["export", str(tmp_path), str(tmp_path), "--format", "beir"])

    assert isinstance(result.exception, Conflict)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_judgements_by_people_become_the_truth_of_what_the_folder_holds(tmp_path: Path) -> None:
    folder, file = tmp_path / "ours", tmp_path / "qrels.txt"
    write_dataset(folder, replace(DATASET, truth={}))
    file.write_text("q1 0 us.d1 2\nq1 0 elsewhere 1\nother 0 us.d1 1\n")

    result = CliRunner().invoke(app, ["qrels", str(file), str(folder)])

    assert result.exit_code == 0, result.output
    assert read_dataset(folder).truth == {"q1": {"us.d1": 2.0}}
    told = json.loads(result.output.splitlines()[-1])
    assert (told["judgements"], told["of_others_left_out"]) == (1, 2)


def test_truth_is_replaced_only_if_told(tmp_path: Path) -> None:
    folder, file = tmp_path / "ours", tmp_path / "qrels.txt"
    write_dataset(folder, DATASET)
    file.write_text("q1 0 us.d1 3\n")

    refused = CliRunner().invoke(app, ["qrels", str(file), str(folder)])
    told = CliRunner().invoke(app, ["qrels", str(file), str(folder), "--replace"])

    assert isinstance(refused.exception, Conflict)
    assert told.exit_code == 0, told.output
    assert read_dataset(folder).truth == {"q1": {"us.d1": 3.0}}


def test_judgements_of_nothing_in_the_folder_are_refused(tmp_path: Path) -> None:
    folder, file = tmp_path / "ours", tmp_path / "qrels.txt"
    write_dataset(folder, replace(DATASET, truth={}))
    file.write_text("other 0 us.d1 3\n")

    result = CliRunner().invoke(app, ["qrels", str(file), str(folder)])

    assert isinstance(result.exception, InvalidInput)
