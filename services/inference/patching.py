"""A patch of an ad: what it names changes, the rest stays."""

from __future__ import annotations

from pydantic import ValidationError

from shared.contracts.inference import Ad, AdPatch
from shared.errors import InvalidInput


def patched(ad: Ad, patch: AdPatch) -> Ad:
    """Return the ad with the patch applied; synthetic queries of another title or text are none of its own.

    Raises:
        InvalidInput: what comes out is no ad.
    """
    fields = ad.model_dump(exclude={"synthetic_queries"})
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
        changed = Ad.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InvalidInput(f"ad {ad.id!r}: {where}: {first['msg']}") from error
    return changed.knowing(ad)
