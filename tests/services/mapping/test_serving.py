"""What is served while another process changes the same folder."""

from pathlib import Path

import pytest

from services.mapping import serving
from services.mapping.index_builder import build_index
from services.mapping.serving import serve_index
from services.mapping.settings import MappingSettings
from services.mapping.train_queries import TrainQueries
from shared.dataset import Query
from shared.errors import Conflict
from tests.support.encoders import BagOfWordsEncoder

ENCODER = BagOfWordsEncoder()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    queries = [Query(id=f"q{number}", text=f"text {number}") for number in range(5)]
    build_index(queries, ENCODER, tmp_path, lambda *_: None)
    return tmp_path


def compacting_first(folder: Path, times: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let another owner compact the index while a calibration is looked for, the first so many times."""
    looked = list[str]()

    def _look(of: Path, name: str, dimensions: int) -> None:
        assert (of, dimensions) == (folder, ENCODER.dimensions)
        looked.append(name)
        if len(looked) <= times:
            other = TrainQueries.load(folder, ENCODER)
            other.put([Query(id=f"new{len(looked)}", text="another")])
            other.compact()

    monkeypatch.setattr(serving, "read_calibration", _look)
    return looked


def test_an_index_replaced_while_it_is_loaded_is_loaded_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = compacting_first(folder, 2, monkeypatch)

    served = serve_index(folder, ENCODER, MappingSettings())

    assert len(looked) == 3
    assert len(served.train_queries.index.queries) == 7
    served.train_queries.put([Query(id="more", text="more")])  # it owns what is on disk


def test_an_index_that_is_replaced_again_and_again_is_an_error(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compacting_first(folder, 9, monkeypatch)

    with pytest.raises(Conflict, match="replaced"):
        serve_index(folder, ENCODER, MappingSettings())
