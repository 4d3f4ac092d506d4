"""A client of the dashboard in front of a suite to operate on, in process."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from tests.services.dashboard.operating import operated
from tests.support.operated_suite import OperatedSuite, write_reports


@pytest.fixture
def suite() -> OperatedSuite:
    return OperatedSuite()


@pytest.fixture
def client(suite: OperatedSuite, tmp_path: Path) -> Iterator[TestClient]:
    write_reports(tmp_path)
    with operated(suite, tmp_path) as client:
        yield client


@pytest.fixture(scope="module")
def reading(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A client for tests that change nothing."""
    home = tmp_path_factory.mktemp("home")
    write_reports(home)
    with operated(OperatedSuite(), home) as client:
        yield client
