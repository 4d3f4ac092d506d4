"""How figures and texts are shown: numbers, durations, moments, and one visible line of anything."""

from __future__ import annotations

from datetime import UTC, datetime

from shared.plain_text import one_line

NOTHING = "–"  # noqa: RUF001  (an en dash, as in any printed table)
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"))


def number(value: float | None, digits: int = 0) -> str:
    """Return a number with thousands parted."""
    return NOTHING if value is None else f"{value:,.{digits}f}"


def significant(value: float | None, digits: int = 3) -> str:
    """Return a number with so many digits that matter, never as a power of ten."""
    if value is None:
        return NOTHING
    short = f"{value:.{digits}g}"
    return f"{float(short):,.0f}" if "e+" in short else f"{value:,.{digits}g}"


def difference(value: float) -> str:
    """Return a difference with its sign; what is lost in rounding is none."""
    kept = round(value, 9)
    return f"{'+' if kept > 0 else ''}{significant(kept or 0, 4)}"


def milliseconds(value: float | None) -> str:
    """Return a latency; seconds from a second on."""
    if value is None:
        return NOTHING
    return f"{significant(value / 1000, 2)} s" if value >= 1000 else f"{significant(value)} ms"


def duration(seconds: float | None) -> str:
    """Return a duration in its largest unit: 45 s, 12 min, 3 h, 4 d."""
    if seconds is None:
        return NOTHING
    for size, unit in _UNITS:
        if seconds >= size:
            return f"{seconds / size:,.0f} {unit}"
    return f"{seconds:.0f} s"


def moment(value: datetime | None) -> str:
    """Return a moment in UTC, to the second."""
    return NOTHING if value is None else value.strftime("%Y-%m-%d %H:%M:%S")


def version_moment(index_version: int) -> str:
    """Return the moment of an index version (microseconds since 1970), to the second; 0 is unknown."""
    return moment(datetime.fromtimestamp(index_version / 1e6, UTC) if index_version else None)


def line(text: object, limit: int = 300) -> str:
    """Return any text as one visible line, cut at a limit."""
    shown = one_line(str(text))
    return shown if len(shown) <= limit else f"{shown[: limit - 1]}…"


def fieldvalue(value: object) -> str:
    """Return a metadata value as one visible line."""
    return line(", ".join(map(str, value)) if isinstance(value, list) else value, 500)
