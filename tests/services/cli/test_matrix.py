import json
import subprocess
from pathlib import Path

import pytest
import scipy.sparse as sp
from typer.testing import CliRunner

from loadtests.peers.install import PECOS, python_of
from services.cli import matrix as module
from services.cli.__main__ import app
from services.cli.matrix import augmented_dataset
from shared.contracts.document import Document
from shared.dataset import Dataset, Query, read_dataset, write_dataset, write_pairs
from shared.errors import Conflict, InvalidInput
from shared.formats.matrix import read_matrix
from shared.settings import CommonSettings

DATASET = Dataset(
    documents=[Document(id=f"d{number}", title=f"document {number}") for number in range(4)],
    queries=[
        Query(id="oboe", text="oboe"),
        Query(id="held", text="held out", split="test"),
        Query(id="horn", text="horn"),
    ],
    clicks={"oboe": {"d0": 3.0}, "held": {"d3": 1.0}},
    truth={"held": {"d3": 1.0}},
)
LABELS = {"oboe": {"d0": 0.9, "d2": 0.75}, "horn": {"d1": 0.5}}
EXPECTED = [[3.0, 0, 1, 0], [0, 1, 0, 0]]
"""Train queries in file order x documents: a clicked label counts as the click."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_dataset(tmp_path / "data", DATASET)
    write_pairs(tmp_path / "labels.tsv", LABELS)
    return tmp_path


def write(folder: Path, *options: str) -> dict[str, int]:
    arguments = [str(folder / "data"), str(folder / "out"), "--labels", str(folder / "labels.tsv")]
    result = CliRunner().invoke(app, ["labels", "matrix", *arguments, *options])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return dict(json.loads(result.stdout))


def test_our_format_has_labels_among_the_clicks(folder: Path) -> None:
    told = write(folder)

    assert (told["clicks"], told["labels"]) == (1, 2)
    again = read_dataset(folder / "out")
    assert again.clicks == {
        "oboe": {"d0": 3.0, "d2": 1.0},
        "horn": {"d1": 1.0},
        "held": {"d3": 1.0},
    }
    assert (again.queries, again.documents, again.truth) == (
        DATASET.queries, DATASET.documents, DATASET.truth,
    )  # fmt: skip


def test_xc_has_it_as_text_and_npz(folder: Path) -> None:
    write(folder, "--format", "xc")

    text = read_matrix(folder / "out" / "trn_X_Y.txt")
    assert [dict(text.row(row)) for row in range(2)] == [{0: 3.0, 2: 1.0}, {1: 1.0}]
    assert (folder / "out" / "trn_X_Y.txt").read_text().splitlines()[0] == "2 4"
    npz = sp.load_npz(folder / "out" / "trn_X_Y.npz")
    assert npz.toarray().tolist() == EXPECTED


def test_soft_labels_keep_their_similarity(folder: Path) -> None:
    write(folder, "--soft")

    clicks = read_dataset(folder / "out").clicks
    assert clicks["oboe"] == {"d0": 1.0, "d2": 0.75}
    assert clicks["horn"] == {"d1": 0.5}


def test_libpecos_reads_the_matrix(folder: Path) -> None:
    python = python_of(PECOS, CommonSettings().home)
    if not python.exists():
        pytest.skip("no libpecos here: python -m loadtests.peers.install --only pecos")
    write(folder, "--format", "xc")
    program = (
        "import json, sys; from pecos.xmc.xlinear.model import XLinearModel\n"
        "matrix = XLinearModel.load_label_matrix(sys.argv[1], for_training=True)\n"
        "print(json.dumps([str(matrix.dtype), matrix.toarray().tolist()]))"
    )
    read = subprocess.run(  # noqa: S603
        [str(python), "-c", program, str(folder / "out" / "trn_X_Y.npz")],
        capture_output=True,
        text=True,
        check=True,
    )

    assert json.loads(read.stdout) == ["float32", EXPECTED]


@pytest.mark.parametrize(
    ("labels", "named"),
    [
        ({"held": {"d0": 0.9}}, "'held', which is of split test"),
        ({"nobody": {"d0": 0.9}}, "'nobody', which is unknown"),
        ({"oboe": {"elsewhere": 0.9}}, "document 'elsewhere', which is unknown"),
    ],
)
def test_labels_of_what_is_held_out_or_unknown_are_refused(
    labels: dict[str, dict[str, float]], named: str
) -> None:
    with pytest.raises(InvalidInput, match=named):
        augmented_dataset(DATASET, labels)


def test_nothing_is_overwritten(folder: Path) -> None:
    (folder / "out").mkdir()

    with pytest.raises(Conflict, match="exists already"):
        write(folder)


def test_a_label_that_occurs_twice_is_refused_and_nothing_is_left(folder: Path) -> None:
    labels = folder / "labels.tsv"
    labels.write_text(labels.read_text() + "oboe\td2\t0.8\n")

    with pytest.raises(InvalidInput, match="occur together twice"):
        write(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["data", "labels.tsv"]


def test_a_folder_that_could_not_be_written_whole_is_not_there(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def _fail(target: Path, dataset: Dataset) -> None:
        write_dataset(target, dataset)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "write_dataset", _fail)

    with pytest.raises(OSError, match="No space left"):
        write(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["data", "labels.tsv"]
