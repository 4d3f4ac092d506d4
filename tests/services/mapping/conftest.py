"""The folder of an index of train queries."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.mapping import segmented_graph
from services.mapping.index_builder import build_index
from tests.services.mapping.kept import ENCODER, query


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the folder of an index of three segments."""
    monkeypatch.setattr(segmented_graph, "ROWS_PER_SEGMENT", 10)
    queries = [query(f"q{number}") for number in range(30)]
    build_index(queries, ENCODER, tmp_path / "mapping", lambda *_: None)
    return tmp_path / "mapping"
