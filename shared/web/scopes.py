"""Which scope each route asks for: one table, so that a route nobody thought of gets the strictest."""

from __future__ import annotations

from shared.keys import Scope

OPEN = frozenset({"/livez", "/readyz", "/metrics"})
"""Asked by what starts, watches and scrapes a process: without a key, without a limit."""
READING = frozenset({"GET", "HEAD", "OPTIONS"})
_CHANGING: dict[str, Scope] = {
    "/v1/ads:batch": Scope.READ,  # a question too long for an address
    "/v1/ads": Scope.INGEST,
    "/v1/documents": Scope.INGEST,
    "/v1/events": Scope.INGEST,
    "/v1/generate": Scope.INGEST,
    "/v1/jobs": Scope.INGEST,
    "/v1/map": Scope.INGEST,
    "/v1/reviews": Scope.INGEST,
    "/v1/train-queries": Scope.INGEST,
}
"""What is below a path (`/v1/jobs/1:cancel`) is as it is; a verb of its own (`/v1/documents:purge`) is not."""


def scope_of(method: str, path: str) -> Scope | None:
    """Return the scope a request needs, None if it needs no key."""
    if path in OPEN:
        return None
    if method in READING:
        return Scope.READ
    return _CHANGING.get("/".join(path.split("/", 3)[:3]), Scope.ADMIN)
