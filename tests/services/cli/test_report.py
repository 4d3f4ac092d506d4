import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from services.cli.__main__ import app
from shared.errors import InvalidInput, NotFound
from tests.support.evaluations import evaluation, knowledge_gaps


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "evaluation.json").write_text(json.dumps(evaluation()))
    (tmp_path / "gaps.json").write_text(knowledge_gaps().model_dump_json())
    return tmp_path


def report(folder: Path, *options: str) -> None:
    CliRunner().invoke(
        app,
        [
            *("report", str(folder / "evaluation.json"), "--target", str(folder / "page.html")),
            *options,
        ],
        catch_exceptions=False,
    )


def test_an_evaluation_and_gaps_become_a_page_and_markdown(folder: Path) -> None:
    report(folder, "--gaps", str(folder / "gaps.json"), "--markdown", str(folder / "report.md"))

    page, markdown = (folder / "page.html").read_text(), (folder / "report.md").read_text()
    assert page.startswith("<!doctype html>")
    for text in (page, markdown):
        assert "Arms: new wordings" in text
        assert "Knowledge gaps" in text


def test_without_gaps_and_markdown_there_is_the_page_alone(folder: Path) -> None:
    report(folder)

    assert "Knowledge gaps" not in (folder / "page.html").read_text()
    assert not (folder / "report.md").exists()


def test_a_file_that_is_not_there_or_no_json_is_named(folder: Path) -> None:
    with pytest.raises(NotFound, match=r"none\.json: no such file"):
        report(folder, "--gaps", str(folder / "none.json"))
    (folder / "gaps.json").write_text("{cut")
    with pytest.raises(InvalidInput, match=r"gaps\.json: not JSON"):
        report(folder, "--gaps", str(folder / "gaps.json"))


def test_a_file_of_another_kind_is_named_and_nothing_is_written(folder: Path) -> None:
    (folder / "gaps.json").write_text("{}")
    with pytest.raises(InvalidInput, match=r"gaps\.json: documents"):
        report(folder, "--gaps", str(folder / "gaps.json"))
    (folder / "evaluation.json").write_text("{}")
    with pytest.raises(InvalidInput, match=r"evaluation\.json: no arms"):
        report(folder)

    assert not (folder / "page.html").exists()
