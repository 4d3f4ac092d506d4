from __future__ import annotations

from datetime import UTC, datetime

import pytest

from services.dashboard.shown import (
    NOTHING,
    difference,
    duration,
    line,
    milliseconds,
    moment,
    number,
    significant,
    version_moment,
)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, NOTHING),
        (0, "0"),
        (0.01234, "0.0123"),
        (4.5, "4.5"),
        (999.9, "1,000"),
        (1234, "1,230"),
    ],
)
def test_a_number_keeps_the_digits_that_matter(value: float | None, shown: str) -> None:
    assert significant(value) == shown


def test_thousands_of_a_number_are_parted() -> None:
    assert significant(1_234.5, 5) == "1,234.5"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, NOTHING),
        (0.0421, "0.0421 ms"),
        (4.2, "4.2 ms"),
        (999.9, "1,000 ms"),
        (1_500, "1.5 s"),
        (109_800, "110 s"),
    ],
)
def test_a_latency_is_never_a_power_of_ten(value: float | None, shown: str) -> None:
    assert milliseconds(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.105, "+0.105"), (-0.105, "-0.105"), (0.0, "0"), (0.3 - 0.1 - 0.2, "0")],
)
def test_a_difference_has_a_sign_and_nothing_has_none(value: float, shown: str) -> None:
    assert difference(value) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"), [(None, NOTHING), (45, "45 s"), (720, "12 min"), (10_800, "3 h")]
)
def test_a_duration_is_in_its_largest_unit(seconds: float | None, shown: str) -> None:
    assert duration(seconds) == shown


def test_moments_are_in_utc() -> None:
    assert moment(datetime(2026, 11, 26, 9, 30, tzinfo=UTC)) == "2026-11-26 09:30:00"
    assert version_moment(1_764_000_000_000_000) == "2025-11-24 16:00:00"
    assert (moment(None), version_moment(0)) == (NOTHING, NOTHING)


def test_thousands_are_parted_and_texts_are_one_line() -> None:
    assert number(1_234_567) == "1,234,567"
    assert line("one\ntwo\x1b[2J", 8).isprintable()
    assert len(line("x" * 500, 8)) == 8
