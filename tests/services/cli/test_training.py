"""`skim train`: what it learns from, and what it refuses before it begins."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from services.cli.__main__ import app
from services.cli.training import things_to_add
from shared.bundle import open_bundle
from shared.contracts.document import Document
from shared.contracts.synthetic_queries import SyntheticQueries
from shared.dataset import Dataset, Query, write_dataset, write_pairs, write_rows
from shared.errors import InvalidInput, NotFound
from shared.settings import CommonSettings

NOBODY = CommonSettings(augmentation_url="http://127.0.0.1:9")
WRITTEN = [SyntheticQueries(document_id="d", queries=["reed"])]
LABELS = {"q": {"d": 0.75}}


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    write_pairs(tmp_path / "labels.tsv", LABELS)
    return tmp_path / "labels.tsv"


@pytest.fixture
def queries(tmp_path: Path) -> Path:
    write_rows(tmp_path / "queries.jsonl", WRITTEN)
    return tmp_path / "queries.jsonl"


def test_files_that_are_named_are_learned_and_no_suite_is_asked(
    labels: Path, queries: Path
) -> None:
    assert things_to_add(NOBODY, labels, queries) == (LABELS, WRITTEN)
    assert things_to_add(NOBODY, labels, None) == (LABELS, [])


def test_clicks_only_adds_nothing_and_asks_nobody() -> None:
    assert things_to_add(NOBODY, None, None, clicks_only=True) == ({}, [])


def test_without_files_and_without_a_suite_it_says_what_to_do() -> None:
    with pytest.raises(NotFound, match="the suite is not up; name a file with --labels"):
        things_to_add(NOBODY, None, None)


def test_options_that_contradict_each_other_are_refused(labels: Path, queries: Path) -> None:
    with pytest.raises(InvalidInput, match="--clicks-only goes with none of"):
        things_to_add(NOBODY, labels, None, clicks_only=True)
    with pytest.raises(InvalidInput, match="--labels-only does not go with --queries"):
        things_to_add(NOBODY, labels, queries, labels_only=True)


def test_the_command_has_both_switches() -> None:
    result = CliRunner().invoke(app, ["train", "--help"], env={"COLUMNS": "200"})

    assert result.exit_code == 0
    assert "--labels-only" in result.stdout
    assert "--clicks-only" in result.stdout


def test_labels_of_another_log_are_refused_before_anything_is_trained(
    labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "data"
    write_dataset(
        folder,
        Dataset(
            documents=[Document(id="d", title="a document")],
            queries=[Query(id="other", text="other")],
            clicks={"other": {"d": 1.0}},
            truth={},
        ),
    )
    monkeypatch.setenv("SKIM_HOME", str(tmp_path))

    result = CliRunner().invoke(app, ["train", str(folder), "--labels", str(labels)])

    assert isinstance(result.exception, InvalidInput)
    assert "no label is of a train query" in str(result.exception)


@pytest.mark.parametrize(("options", "kind"), [([], "hard"), (["--label-kind", "soft"], "soft")])
def test_what_a_label_is_worth_is_asked_for_and_written_beside_the_model(
    labels: Path,
    tmp_path: Path,
    tiny_encoder: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    kind: str,
) -> None:
    folder = tmp_path / "data"
    documents = [Document(id=each, title=each) for each in ("d", "oboe")]
    queries = [Query(id="q", text="double reed woodwind")]
    write_dataset(folder, Dataset(documents, queries, {"q": {"oboe": 1.0}}, {}))
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "encoder").symlink_to(tiny_encoder)
    monkeypatch.setenv("SKIM_HOME", str(tmp_path))

    result = CliRunner().invoke(
        app,
        ["train", str(folder), "--labels", str(labels), "--version", "v1", *options],
        catch_exceptions=False,
    )

    assert result.exit_code == 0, result.output
    assert open_bundle(tmp_path / "bundles" / "v1").manifest.settings["labels.kind"] == kind
