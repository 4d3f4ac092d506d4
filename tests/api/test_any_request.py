"""Whatever is asked, each service answers as its OpenAPI document says, and never with an error of its own."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from schemathesis.python.asgi import shutdown_lifespans
from structlog.testing import capture_logs

from shared.keys import Scope, add_key, new_key
from shared.settings import CommonSettings
from shared.web.access import access_of
from tests.support.any_requests import Findings, ask_anything, ask_until
from tests.support.services import SERVICES

every_service = pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.__name__)


@pytest.fixture(scope="module", autouse=True)
def _lifespans_end() -> Iterator[None]:
    yield
    shutdown_lifespans()


def guarded(service: Callable[[Path], FastAPI], home: Path) -> tuple[FastAPI, str]:
    """Return a service that asks for keys, and one that opens everything."""
    key, kept = new_key("everything", list(Scope))
    add_key(home / "keys", kept)
    app = service(home)
    app.state.access = access_of(CommonSettings(home=home, auth="keys", requests_per_second=1e9))
    return app, key


def check(findings: Findings, cases: int) -> None:
    assert not findings.failures, "\n\n".join(findings.failures[:5])
    assert findings.cases >= cases
    assert findings.statuses[200]
    assert findings.statuses[401]


@every_service
def test_any_request_is_answered_as_the_document_says(
    service: Callable[[Path], FastAPI], tmp_path: Path
) -> None:
    app, key = guarded(service, tmp_path)

    with capture_logs() as logs:
        findings = ask_anything(app, key=key, examples=5)

    check(findings, cases=40)
    assert [entry for entry in logs if entry["log_level"] == "error"] == []


@pytest.mark.slow
@every_service
def test_two_thousand_requests_are_answered_as_the_document_says(
    service: Callable[[Path], FastAPI], tmp_path: Path
) -> None:
    app, key = guarded(service, tmp_path)

    check(ask_until(app, key=key, cases=2_000, examples=100), cases=2_000)
