"""The dashboard in front of a suite, and its forms sent as a browser would."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fastapi.testclient import TestClient

from services.dashboard.app import build_app
from services.dashboard.settings import DashboardSettings
from tests.support.operated_suite import OperatedSuite

ORIGIN = "http://testserver"


@contextmanager
def operated(suite: OperatedSuite, home: Path, **settings: str | float) -> Iterator[TestClient]:
    app = build_app(
        suite.common(home=home),
        DashboardSettings(**settings),  # type: ignore[arg-type]
        suite.transport(),
    )
    with TestClient(app, base_url=ORIGIN) as client:
        yield client


def token_of(client: TestClient, path: str = "/reviews") -> str:
    found = re.search(r'name="csrf_token" value="([0-9a-f]{64})"', client.get(path).text)
    assert found
    return found[1]


def post(client: TestClient, path: str, **fields: str) -> str:
    """Send a form as a browser would; return the page it leads to."""
    data = {"csrf_token": token_of(client), **fields}
    answer = client.post(path, data=data, headers={"origin": ORIGIN})
    assert answer.status_code == 200, answer.text
    return answer.text
