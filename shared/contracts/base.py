"""The base of every contract, and the identifiers they share."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints
from pydantic_core import PydanticCustomError

ID_PATTERN = r"^[A-Za-z0-9._~-]{1,200}$"

BUNDLE_PATTERN = r"^[A-Za-z0-9_~-][A-Za-z0-9._~-]{0,199}$"
"""A leading dot is for what is being written, and would reach the folder above."""

Identifier = Annotated[str, StringConstraints(pattern=ID_PATTERN)]
BundleVersion = Annotated[str, StringConstraints(pattern=BUNDLE_PATTERN)]
_WHITE_SPACE = r"\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
"""What stripping takes away, as Unicode has it; `\\s` means another set in each language."""
NonBlank = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=1_000),
    Field(json_schema_extra={"pattern": f"[^{_WHITE_SPACE}]"}),
]
QueryText = NonBlank


def _is_number(value: object) -> object:
    if isinstance(value, bool | str):
        raise PydanticCustomError("number_type", "Input should be a number")
    return value


A_NUMBER = BeforeValidator(_is_number)
"""As JSON Schema has it: `true` and `"1"` are no numbers, `1.0` is an integer. Stands last, after the limits."""


class Contract(BaseModel):
    """Immutable and closed: an unknown field is a mistake of the caller, and is told so."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)
