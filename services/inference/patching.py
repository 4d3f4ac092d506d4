"""A patch of an ad: what it names changes, the rest stays."""

from __future__ import annotations

from pydantic import ValidationError

from shared.contracts.document import Document
from shared.contracts.inference import AdPatch
from shared.errors import InvalidInput


def patched(document: Document, patch: AdPatch) -> Document:
    """Return the document with the patch applied.

    Raises:
        InvalidInput: what comes out is no document.
    """
    fields = document.model_dump()
    for name in ("title", "text"):
        value = getattr(patch, name)
        if value is not None:
            fields[name] = value
    for name, value in (patch.metadata or {}).items():
        if value is None:
            fields["metadata"].pop(name, None)
        else:
            fields["metadata"][name] = value
    try:
        return Document.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InvalidInput(f"ad {document.id!r}: {where}: {first['msg']}") from error
