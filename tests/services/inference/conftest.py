from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from tests.support.generations import Shelf
from tests.support.inference_app import bundle, client_of
from tests.support.live_ads import Opened


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    shelf = Shelf(tmp_path)
    shelf.put("v1", bundle("v1"), current=True)
    return shelf


@pytest.fixture
def client(shelf: Shelf) -> Iterator[TestClient]:
    with client_of(shelf) as client:
        yield client


@pytest.fixture
def opened(tmp_path: Path) -> Opened:
    return Opened(tmp_path / "ads")
