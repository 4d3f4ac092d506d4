"""`skim simulate` and `skim evaluate` over a data folder of a dozen documents and a tiny real encoder."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from services.cli.__main__ import app
from shared.contracts.document import Document
from shared.contracts.synthetic_queries import SyntheticQueries
from shared.dataset import Dataset, Query, read_dataset, write_dataset, write_lines, write_rows
from shared.errors import Conflict, InvalidInput

KINDS = ("wind instrument", "cutting tool", "baked food")
DATASET = Dataset(
    documents=[
        Document(id=f"d{kind}-{number}", title=f"{text} {number}", text=text)
        for kind, text in enumerate(KINDS)
        for number in range(6)
    ],
    queries=[
        Query(id=f"q{kind}-{number}", text=f"{text.split()[number % 2]} {number}", split=split)
        for kind, text in enumerate(KINDS)
        for number, split in enumerate(("train", "train", "validation", "test", "test"))
    ],
    clicks={},
    truth={
        f"q{kind}-{query}": {f"d{kind}-{number}": 1.0 for number in range(6)}
        for kind in range(len(KINDS))
        for query in range(5)
    },
)
LEFT_OUT = {
    "skim_preset",
    "skim_preset_and_unmapped",
    "unmapped_no_metadata",
    "skim_no_metadata",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "folder"
    write_dataset(folder, DATASET)
    swapped = {"train": "train", "validation": "test", "test": "validation"}
    write_lines(
        folder / "splits" / "other.tsv",
        (f"{query.id}\t{swapped[query.split]}" for query in DATASET.queries),
    )
    return folder


@pytest.fixture
def home(tmp_path: Path, tiny_encoder: Path) -> Path:
    (tmp_path / "home" / "models").mkdir(parents=True)
    (tmp_path / "home" / "models" / "encoder").symlink_to(tiny_encoder)
    return tmp_path / "home"


@pytest.fixture
def queries(tmp_path: Path) -> Path:
    path = tmp_path / "written.jsonl"
    write_rows(
        path,
        (
            SyntheticQueries(document_id=document.id, queries=[document.text])
            for document in DATASET.documents
        ),
    )
    return path


def skim(home: Path, *words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words], env={"SKIM_HOME": str(home)})


def last_line(result: Result) -> Any:  # noqa: ANN401
    assert result.exit_code == 0, (result.output, result.exception)
    return json.loads(result.stdout.strip().splitlines()[-1])


def test_a_simulated_log_is_a_data_folder_with_its_golden_propensities(
    home: Path, folder: Path, tmp_path: Path
) -> None:
    target = tmp_path / "log"

    told = last_line(
        skim(home, "simulate", folder, "--target", target, "--shown", 4, "--stochastic")
    )

    simulated = read_dataset(target)
    clicked = {(q, d) for q, row in simulated.clicks.items() for d in row}
    golden = {(q, d): p for q, row in simulated.propensities.items() for d, p in row.items()}
    assert 0 < len(clicked) == told["clicks"]
    assert clicked < golden.keys()
    assert all(0 < chance < 1 for chance in golden.values())
    assert simulated.truth == DATASET.truth
    assert read_dataset(target, split="other").queries_of("test")
    assert json.loads((target / "simulation.json").read_text())["shown"] == 4


def test_a_folder_that_holds_something_is_not_written_over(home: Path, folder: Path) -> None:
    result = skim(home, "simulate", folder, "--target", folder)

    assert isinstance(result.exception, Conflict)


def test_evaluate_makes_what_the_folder_lacks_and_says_so(
    home: Path, folder: Path, queries: Path
) -> None:
    result = skim(
        home,
        "evaluate",
        folder,
        "--queries",
        queries,
        "--shown",
        3,
        "--exposures",
        "2,5",
        "--json",
    )

    table = last_line(result)
    assert "simulated a log that shows 3 documents" in result.stderr
    assert "skim_no_metadata is left out" in result.stderr
    for split in ("new_wordings", "other"):
        for section in ("title_only", "full"):
            assert {"clicks", "skim", "ips_golden", "full_truth"} <= table[split][section].keys()
        assert set(table[split]["left_out"]) == LEFT_OUT
    curve = table["exposure"]["5"]["other"]["title_only"]
    assert {"clicks", "ips_golden", "skim"} <= curve.keys()
    assert curve["clicks"]["recall_at_100"] == 1
    assert table["seconds"] > 0
    assert table["peak_rss_mb"] > 10
    assert table["stamp"]["date"] <= datetime.now(UTC).date().isoformat()
    assert table["stamp"]["command"].split()[0] == "skim"
    assert table["labels_added"] == table["tau"][0]["labels"] > 0


def test_only_the_splits_that_are_named_are_evaluated(
    home: Path, folder: Path, queries: Path
) -> None:
    words = ("--splits", "other", "--arms", "zero_shot_title", "--json")

    table = last_line(skim(home, "evaluate", folder, "--queries", queries, *words))

    assert "zero_shot_title" in table["other"]["title_only"]
    assert "new_wordings" not in table


def test_a_second_run_trains_nothing_and_a_fresh_one_all(
    home: Path, folder: Path, queries: Path
) -> None:
    words = ("evaluate", folder, "--queries", queries, "--arms", "clicks,skim", "--json")
    words = (*words, "--towers", "title")
    first = last_line(skim(home, *words))
    written = {path: path.stat().st_mtime_ns for path in (home / "evaluate").glob("*.npz")}

    again = last_line(skim(home, *words))
    kept = {path: path.stat().st_mtime_ns for path in (home / "evaluate").glob("*.npz")}
    last_line(skim(home, *words, "--fresh"))
    anew = {path: path.stat().st_mtime_ns for path in (home / "evaluate").glob("*.npz")}

    assert written == kept
    assert again["new_wordings"] == first["new_wordings"]
    assert len(kept) == 4
    assert anew.keys() == kept.keys()
    assert not anew.items() & kept.items()


def test_a_stricter_tau_adds_fewer_labels(home: Path, folder: Path, queries: Path) -> None:
    words = ("evaluate", folder, "--queries", queries, "--arms", "zero_shot_title", "--json")

    loose, strict = (
        last_line(skim(home, *words, "--min-similarity", tau))["labels_added"]
        for tau in (0.0, 0.99)
    )

    assert strict < loose


def test_without_synthetic_queries_their_arms_are_left_out(home: Path, folder: Path) -> None:
    result = skim(home, "evaluate", folder, "--arms", "clicks,skim,bm25_expanded")

    assert result.exit_code == 0
    assert "skim is left out: needs synthetic queries" in result.stderr
    assert "clicks" in result.stdout


@pytest.mark.parametrize(
    ("option", "value"),
    [("--arms", "magic"), ("--towers", "roof"), ("--exposures", "many"), ("--splits", "hairs")],
)
def test_a_name_that_is_none_is_refused(home: Path, folder: Path, option: str, value: str) -> None:
    assert isinstance(skim(home, "evaluate", folder, option, value).exception, InvalidInput)


def test_what_peers_reached_stands_beside_the_arms(
    home: Path, folder: Path, tmp_path: Path
) -> None:
    peers = tmp_path / "peers.json"
    peers.write_text(json.dumps({"other": {"peers": {"bm25": {"recall_at_100": 0.25}}}}))

    words = ("evaluate", folder, "--arms", "zero_shot_title", "--peers", peers, "--json")
    table = last_line(skim(home, *words))

    assert table["other"]["peers"] == {"bm25": {"recall_at_100": 0.25}}
    assert "peers" not in table["new_wordings"]
    assert table["other"]["title_only"]["zero_shot_title"]["recall_at_100"] > 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("not json", "not JSON"),
        ("[]", "expected split -> peers -> peer -> metrics"),
        ('{"other": {"title_only": {}}}', "expected split -> peers -> peer -> metrics"),
        ('{"elsewhere": {"peers": {}}}', "no split 'elsewhere' here"),
    ],
)
def test_peers_that_are_not_of_this_folder_are_refused(
    home: Path, folder: Path, tmp_path: Path, content: str, message: str
) -> None:
    peers = tmp_path / "peers.json"
    peers.write_text(content)

    refused = skim(home, "evaluate", folder, "--arms", "bm25", "--peers", peers).exception

    assert isinstance(refused, InvalidInput)
    assert message in str(refused)
