"""Nothing accepted is lost, whatever is killed. All rows: `pytest -m chaos`; by default a short version of some."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.documents import KILL, poison_of
from tests.chaos.judge import Labels
from tests.chaos.rows import ROWS, Row
from tests.chaos.run import Figures, is_green, run_row, undisturbed

SHORT = Row(
    ROWS["worker_group_kill"].fault,
    times=1,
    also=(ROWS["redis_kill"].fault, ROWS["queue_flushed"].fault, ROWS["generation_down"].fault),
    poison=[poison_of(KILL)],
    sweepers=2,
)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Labels:
    """An undisturbed run of the most documents that a row has."""
    most = 400 * max(row.share for row in ROWS.values())
    return undisturbed(most, tmp_path_factory.mktemp("reference")).labels


@pytest.mark.chaos
@pytest.mark.parametrize("name", ROWS)
def test_nothing_accepted_is_lost(name: str, reference: Labels, tmp_path: Path) -> None:
    if why_not := ROWS[name].why_not():
        pytest.skip(why_not)

    figures = run_row(name, ROWS[name], 400, reference, tmp_path / name)

    assert is_green(figures), figures


def test_nothing_accepted_is_lost_in_short(tmp_path: Path) -> None:
    """Workers and Redis are killed, the queue is flushed, generation goes away, a document kills."""
    reference = undisturbed(48, tmp_path / "reference").labels

    figures = run_row("short", SHORT, 48, reference, tmp_path / "short")

    assert is_green(figures), figures


@pytest.mark.parametrize(
    "wrong",
    [
        {"lost": 1},
        {"duplicate_effects": 1},
        {"labels_equal_reference": False},
        {"dead_letters": 1},
    ],
)
def test_a_row_that_lost_anything_is_not_green(wrong: Figures) -> None:
    right: Figures = {
        "lost": 0,
        "duplicate_effects": 0,
        "labels_equal_reference": True,
        "dead_letters": 0,
        "dead_letters_expected": 0,
    }

    assert is_green(right)
    assert not is_green({**right, **wrong})
