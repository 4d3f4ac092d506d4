"""Each route of each service asks for the scope that it should: a new one is written down here, on purpose."""

from pathlib import Path
from typing import Any

from shared.keys import Scope
from tests.support.services import SERVICES

OPEN = {"GET /livez", "GET /readyz", "GET /metrics"}
CHANGES = {
    "DELETE /v1/ads": Scope.INGEST,
    "DELETE /v1/ads/{ad_id}": Scope.INGEST,
    "DELETE /v1/dead-letters": Scope.ADMIN,
    "DELETE /v1/documents": Scope.INGEST,
    "DELETE /v1/documents/{document_id}": Scope.INGEST,
    "DELETE /v1/train-queries": Scope.INGEST,
    "DELETE /v1/train-queries/{query_id}": Scope.INGEST,
    "PATCH /v1/ads": Scope.INGEST,
    "POST /v1/ads:batch": Scope.READ,
    "POST /v1/ads:compact": Scope.ADMIN,
    "POST /v1/bundles/{version}:activate": Scope.ADMIN,
    "POST /v1/bundles:reload": Scope.ADMIN,
    "POST /v1/bundles:rollback": Scope.ADMIN,
    "POST /v1/dead-letters:replay": Scope.ADMIN,
    "POST /v1/documents": Scope.INGEST,
    "POST /v1/generate": Scope.INGEST,
    "POST /v1/index:reload": Scope.ADMIN,
    "POST /v1/jobs/{job_id}:cancel": Scope.INGEST,
    "POST /v1/map": Scope.INGEST,
    "POST /v1/remaps": Scope.ADMIN,
    "POST /v1/events": Scope.INGEST,
    "PUT /v1/ads": Scope.INGEST,
    "PUT /v1/reviews": Scope.INGEST,
    "PUT /v1/train-queries": Scope.INGEST,
}


def scopes(home: Path) -> dict[str, list[str]]:
    """Return the scope of each operation as the services' documents have it."""
    found = {}
    for service in SERVICES:
        (home / service.__name__).mkdir()
        for path, operations in service(home / service.__name__).openapi()["paths"].items():
            for method, operation in operations.items():
                found[f"{method.upper()} {path}"] = _scopes_of(operation)
    return found


def _scopes_of(operation: dict[str, Any]) -> list[str]:
    """Return what a key needs, however it is sent."""
    asked = [scopes for way in operation.get("security", []) for scopes in way.values()]
    return sorted({scope for scopes in asked for scope in scopes})


def test_every_change_asks_for_the_scope_that_is_written_here(tmp_path: Path) -> None:
    asked = {
        name: scope for name, scope in scopes(tmp_path).items() if not name.startswith("GET ")
    }

    assert asked == {name: [scope.value] for name, scope in CHANGES.items()}


def test_every_look_asks_for_read_but_those_that_watch_a_process(tmp_path: Path) -> None:
    asked = {name: scope for name, scope in scopes(tmp_path).items() if name.startswith("GET ")}

    assert {name for name, scope in asked.items() if not scope} == OPEN
    assert {name for name, scope in asked.items() if scope == [Scope.READ.value]} == set(
        asked
    ) - OPEN
