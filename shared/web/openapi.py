"""What our OpenAPI documents say beyond FastAPI's: scopes, how a key is sent, and bodies of one JSON value a line."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter

from shared.contracts.generation import NDJSON
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


def schema_of(kind: Any) -> dict[str, Any]:  # noqa: ANN401  (whatever pydantic validates)
    """Return the JSON schema of a type; the contracts in it are those that routes of the same document use."""
    schema = TypeAdapter(kind).json_schema(ref_template="#/components/schemas/{model}")
    schema.pop("$defs", None)
    return schema


def list_of(kind: Any, most: int | None = None) -> dict[str, Any]:  # noqa: ANN401
    """Return the JSON schema of a list that is not empty."""
    schema = {"type": "array", "minItems": 1, "items": schema_of(kind)}
    return schema if most is None else {**schema, "maxItems": most}


def a_line(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the content of NDJSON; OpenAPI has no word for its lines but a list."""
    return {NDJSON: {"schema": schema}}


def body_of(content: dict[str, Any]) -> dict[str, Any]:
    """Return `openapi_extra` of a route that reads its body itself."""
    return {"requestBody": {"content": content, "required": True}}
