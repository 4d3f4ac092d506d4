from datetime import UTC, datetime
from pathlib import Path

from loadtests import events
from services.inference.event_intake import EventIntake
from shared.events.privacy import make_key


def test_every_event_that_is_posted_is_accepted(tmp_path: Path) -> None:
    intake = EventIntake(make_key(tmp_path), now=lambda: datetime.now(UTC))
    heads, bodies = zip(
        *(events._post(number).split(b"\r\n\r\n") for number in range(3)), strict=True
    )

    read = [intake.read(body, is_ndjson=False) for body in bodies]

    statuses = {verdict.status for each in read for verdict in each.verdicts}
    assert statuses == {"accepted"}
    assert len({event.id for each in read for event in each.events}) == 30
    for head, body in zip(heads, bodies, strict=True):
        assert b"Content-Length: %d" % len(body) in head


def test_drawing_is_measured_without_a_service(tmp_path: Path) -> None:
    figures = events._drawing(tmp_path)

    assert set(figures) == {"no_place_drawn_p50_us", "place_drawn_p50_us"}
    assert all(isinstance(value, float) and value > 0 for value in figures.values())
