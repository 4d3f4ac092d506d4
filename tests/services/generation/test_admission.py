import pytest

from services.generation.admission import Admission
from shared.errors import TooLarge, Unavailable


class Clock:
    """Shows what a test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def _retry_after(admission: Admission, documents: int) -> int:
    with pytest.raises(Unavailable) as refusal:
        admission.enter(documents)
    return refusal.value.retry_after_seconds


def test_a_request_is_taken_in_whole_or_not_at_all(clock: Clock) -> None:
    admission = Admission(3, clock)
    admission.enter(2)

    with pytest.raises(Unavailable):
        admission.enter(2)

    assert admission.held == 2
    admission.enter(1)
    assert admission.held == 3


def test_what_could_never_be_taken_in_is_too_large(clock: Clock) -> None:
    with pytest.raises(TooLarge, match="at most 3"):
        Admission(3, clock).enter(4)


def test_a_place_is_free_again_whatever_became_of_its_document(clock: Clock) -> None:
    admission = Admission(1, clock)
    for is_written in (True, False):
        admission.enter(1)
        admission.leave(is_written=is_written)

    assert admission.held == 0


def test_who_is_refused_hears_when_enough_will_have_left_at_the_pace_so_far(clock: Clock) -> None:
    admission = Admission(10, clock)
    admission.enter(10)
    clock.now = 8.0
    for _ in range(4):  # a document in two seconds
        admission.leave(is_written=True)

    assert _retry_after(admission, 7) == 6  # three must leave
    assert _retry_after(admission, 10) == 12


def test_idle_time_does_not_count(clock: Clock) -> None:
    admission = Admission(2, clock)
    admission.enter(1)
    clock.now = 3.0
    admission.leave(is_written=True)
    clock.now = 1_000.0
    admission.enter(2)

    assert _retry_after(admission, 1) == 3


def test_the_pause_is_bounded_and_there_is_one_before_anything_was_measured(clock: Clock) -> None:
    admission = Admission(1, clock)
    admission.enter(1)

    assert _retry_after(admission, 1) >= 1
    clock.now = 0.01
    admission.leave(is_written=True)
    admission.enter(1)
    assert _retry_after(admission, 1) == 1
    clock.now = 10_000.0
    assert _retry_after(admission, 1) == 60
