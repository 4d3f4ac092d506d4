"""Bodies of bulk changes: a JSON list, or one JSON object a line."""

from __future__ import annotations

from typing import Any, TypeVar

import orjson
from pydantic import ValidationError

from shared.contracts.base import Contract
from shared.contracts.generation import NDJSON
from shared.errors import InvalidInput

_Item = TypeVar("_Item", bound=Contract)


def described(
    model: type[Contract], most: int, *, bare: str | None = None, alone: bool = True
) -> dict[str, Any]:
    """Return what an OpenAPI document says of such a body; lines are shown as a list as well.

    Args:
        model: as of `items_of`; it has no other models in it, since its references would lead nowhere.
        most: items that may come at once.
        bare: see there.
        alone: whether one item without a list is a body too, as one line.
    """
    item = model.model_json_schema()
    if bare is not None:
        item = {"anyOf": [item, item["properties"][bare]]}
    schema: dict[str, Any] = {"type": "array", "items": item, "minItems": 1, "maxItems": most}
    if alone:
        schema = {"anyOf": [schema, item]}
    content = {media_type: {"schema": schema} for media_type in ("application/json", NDJSON)}
    return {"requestBody": {"content": content, "required": True}}


def items_of(
    body: bytes, model: type[_Item], most: int, *, bare: str | None = None
) -> list[_Item]:
    """Return the items of a body, all valid.

    Args:
        body: a JSON list, or one JSON object a line.
        model: of an item.
        most: items that may come at once.
        bare: a JSON string among the items stands for an object of this field alone.

    Raises:
        InvalidInput: there are none or too many, or one is not what is expected; the message names it.
    """
    raw = _raw_items(body)
    if not raw:
        raise InvalidInput("an empty body: expected a JSON list, or one JSON object a line")
    if len(raw) > most:
        raise InvalidInput(f"{len(raw)} items, at most {most} may come at once")
    items = []
    for number, item in enumerate(raw, start=1):
        if bare is not None and isinstance(item, str):
            item = {bare: item}
        try:
            items.append(model.model_validate_json(orjson.dumps(item)))
        except orjson.JSONEncodeError as error:  # it reads deeper nesting than it writes
            raise InvalidInput(f"item {number} is nested too deeply") from error
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise InvalidInput(
                f"item {number}: {where}: {first['msg']}"
                if where
                else f"item {number}: {first['msg']}"
            ) from error
    return items


def _raw_items(body: bytes) -> list[object]:
    if body.lstrip()[:1] == b"[":
        try:
            whole: list[object] = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise InvalidInput(f"the body is not JSON: {error}") from error
        return whole
    items = []
    for number, line in enumerate(body.splitlines(), start=1):
        if line.strip():
            try:
                items.append(orjson.loads(line))
            except orjson.JSONDecodeError as error:
                raise InvalidInput(f"line {number} is not JSON: {error}") from error
    return items
