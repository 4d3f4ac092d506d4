"""Lines of an upload as documents, and why some are none."""

from __future__ import annotations

import re
from contextlib import suppress

import orjson
from pydantic import ValidationError

from services.augmentation.line_reader import Lines
from shared.contracts.augmentation import Refusal, UploadedDocument
from shared.contracts.base import ID_PATTERN
from shared.errors import InvalidInput
from shared.store.intake import MAX_REFUSALS, Chunk, Incoming

_REASON_CHARACTERS = 200


def chunk_of(lines: Lines, generator: str) -> Chunk:
    """Return the documents of some lines; a line that is none is refused, an empty one passed over."""
    documents: list[tuple[int, Incoming]] = []
    refusals: list[Refusal] = []
    refused = 0
    for number, line in enumerate(lines.lines, start=lines.first):
        if line is not None and not line.strip():
            continue
        try:
            documents.append((number, _incoming(line, generator)))
        except (InvalidInput, ValidationError) as error:
            refused += 1
            if len(refusals) < MAX_REFUSALS:
                refusals.append(Refusal(line=number, id=_id_of(line), reason=_reason_of(error)))
    return Chunk(lines.since, lines.to, documents, refused, refusals)


def _incoming(line: bytes | None, generator: str) -> Incoming:
    if line is None:
        raise InvalidInput("the line is too long")
    uploaded = UploadedDocument.model_validate_json(line)
    if uploaded.synthetic_queries is not None and not generator:
        raise InvalidInput("synthetic_queries: the upload does not say which generator wrote them")
    return Incoming(uploaded.without_queries(), generator, uploaded.synthetic_queries)


def _reason_of(error: InvalidInput | ValidationError) -> str:
    if isinstance(error, InvalidInput):
        return str(error)
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}"[:_REASON_CHARACTERS] if where else first["msg"]


def _id_of(line: bytes | None) -> str | None:
    """Return the id of a refused document, if it has one that may be shown."""
    with suppress(ValueError, TypeError, KeyError):
        found = orjson.loads(line or b"")["id"]
        return found if isinstance(found, str) and re.fullmatch(ID_PATTERN, found) else None
    return None
