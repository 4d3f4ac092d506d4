"""The base of every contract, and the identifiers they share."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints

ID_PATTERN = r"^[A-Za-z0-9._~-]{1,200}$"

Identifier = Annotated[str, StringConstraints(pattern=ID_PATTERN)]
QueryText = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=1_000)
]
NonBlank = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=1_000)]


class Contract(BaseModel):
    """Immutable and closed: an unknown field is a mistake of the caller, and is told so."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)
