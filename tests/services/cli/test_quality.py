"""`skim distill evaluate` on a data folder and on what rows wrote before."""

import hashlib
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from services.cli.__main__ import app
from services.training.distillation.teacher_data import is_held_out
from shared.contracts.document import Document
from shared.dataset import Dataset, Query, write_dataset, write_lines
from shared.errors import InvalidInput
from tests.support.files import jsonl, write

DOCUMENTS = [
    Document(id=f"d{n}", title=f"saw {n}", text="a cutting tool for wood") for n in range(150)
]
HELD = [document.id for document in DOCUMENTS if is_held_out(document.id)]


@pytest.fixture
def folder(tmp_path: Path, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SKIM_HOME", str(tmp_path / "home"))
    (tmp_path / "home" / "models").mkdir(parents=True)
    (tmp_path / "home" / "models" / "encoder").symlink_to(tiny_encoder)
    queries = [Query(id="q1", text="cutting tool"), Query(id="q2", text="sweet fruit")]
    truth = {"q1": dict.fromkeys(HELD, 1.0)}
    write_dataset(tmp_path / "data", Dataset(DOCUMENTS, queries, {}, truth))
    write(
        tmp_path / "answers.jsonl",
        jsonl(*({"id": name, "queries": ["cutting tool", "wood tool"]} for name in HELD)),
    )
    return tmp_path / "data"


def _evaluate(folder: Path, *options: str) -> Result:
    answers = str(folder.parent / "answers.jsonl")
    command = ["distill", "evaluate", str(folder), "--answers", answers, *options]
    return CliRunner().invoke(app, command)


def _kept(folder: Path) -> Path:
    answers = (folder.parent / "answers.jsonl").read_bytes()
    return folder / "written" / hashlib.sha256(answers).hexdigest()[:8]


def _keep(folder: Path, row: str, query: str) -> None:
    lines = [json.dumps({"document_id": name, "queries": [query]}) for name in HELD]
    _kept(folder).mkdir(parents=True, exist_ok=True)
    write_lines(_kept(folder) / f"{row}.jsonl.gz", lines)


def test_rows_written_before_are_judged_and_compared_with_the_shipped_one(folder: Path) -> None:
    _keep(folder, "shipped", "cutting tool")
    _keep(folder, "clicks", "sweet fruit")

    result = _evaluate(folder, "--rows", "clicks,shipped", "--json")

    figures = json.loads(result.stdout)
    assert figures["rows"]["shipped"]["label_recall"] == 1
    assert figures["rows"]["clicks"]["label_recall"] == 0
    assert figures["shipped_gains"]["clicks"]["label_recall"] == [1, 1, 1]
    assert figures["documents"] == len(HELD)


def test_a_row_that_was_not_written_yet_is_written_and_kept(folder: Path) -> None:
    first = _evaluate(folder, "--rows", "key_phrases", "--json")
    kept = (_kept(folder) / "key_phrases.jsonl.gz").read_bytes()
    second = _evaluate(folder, "--rows", "key_phrases", "--json")

    card = json.loads((_kept(folder) / "written.json").read_text())["key_phrases"]
    assert json.loads(first.stdout) == json.loads(second.stdout)
    assert (_kept(folder) / "key_phrases.jsonl.gz").read_bytes() == kept
    assert card["generator"].startswith("yake-")
    assert card["documents"] == len(HELD)


def test_the_table_names_every_row(folder: Path) -> None:
    _keep(folder, "shipped", "cutting tool")

    result = _evaluate(folder, "--rows", "shipped,key_phrases")

    assert {"shipped", "key_phrases"} <= {
        line.split("|")[1].strip() for line in result.stdout.splitlines() if "|" in line
    }


def test_an_unknown_row_and_missing_answers_are_told(folder: Path) -> None:
    unknown = _evaluate(folder, "--rows", "shipped,best")
    missing = CliRunner().invoke(app, ["distill", "evaluate", str(folder)])

    assert isinstance(unknown.exception, InvalidInput)
    assert "best" in str(unknown.exception)
    assert isinstance(missing.exception, InvalidInput)
    assert "--answers" in str(missing.exception)


def test_what_rows_wrote_after_other_answers_is_not_taken_for_theirs(folder: Path) -> None:
    _keep(folder, "key_phrases", "sweet fruit")
    before = json.loads(_evaluate(folder, "--rows", "key_phrases", "--json").stdout)
    write(
        folder.parent / "answers.jsonl",
        jsonl(*({"id": name, "queries": ["wood tool"]} for name in HELD)),
    )

    after = json.loads(_evaluate(folder, "--rows", "key_phrases", "--json").stdout)

    assert before["rows"]["key_phrases"]["queries_per_document"] == 1
    assert after["rows"]["key_phrases"]["queries_per_document"] > 1
