"""What our OpenAPI documents say beyond FastAPI's: the scope of each route, and how a key is sent."""

from __future__ import annotations

from typing import Any

from shared.web.scopes import scope_of

_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "Authorization: Bearer KEY"},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}
_NEED_A_KEY = ("401", "403", "429")


def described(document: dict[str, Any]) -> dict[str, Any]:
    """Return the OpenAPI document with a `security` of each operation, by the table of scopes."""
    document.setdefault("components", {})["securitySchemes"] = _SCHEMES
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            scope = scope_of(method.upper(), path)
            if scope is None:
                for status in _NEED_A_KEY:
                    operation["responses"].pop(status, None)
            else:
                operation["security"] = [{scheme: [scope.value]} for scheme in _SCHEMES]
    return document
