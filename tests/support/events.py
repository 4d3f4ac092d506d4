"""Events for tests."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from shared.events.files import file_name
from shared.events.record import StoredEvent, to_line

NOON = "2026-11-25T12:00:00.000Z"


def event_of(number: int = 0, **given: Any) -> StoredEvent:  # noqa: ANN401
    """Return an event; each number is another one."""
    fields = {
        "time": NOON,
        "kind": "click",
        "id": f"e{number}",
        "query": "fishing boat",
        "ad": "boat",
        "position": 1,
        "generation": "v1",
        "request": f"r{number}",
        "client": f"c{number}",
    }
    return StoredEvent(**{**fields, **given})


def write_events(
    folder: Path, events: Iterable[StoredEvent], *, number: int = 0, ends: str = ""
) -> None:
    """Write events into closed files, one a day."""
    folder.mkdir(parents=True, exist_ok=True)
    lines: dict[str, list[bytes]] = {}
    for event in events:
        lines.setdefault(event.day, []).append(to_line(event))
    for day, of_day in lines.items():
        path = folder / file_name(day, "0" * 12, number, ends=ends)
        path.write_bytes(b"".join(of_day))
