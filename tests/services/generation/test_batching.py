"""The batcher, driven step by step over a fake decoder."""

from concurrent.futures import CancelledError, wait

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.generation.requests import Completion, Ticket
from shared.errors import Unavailable
from tests.support.batches import LIMIT, Clock, batcher_of, run, ticket_of
from tests.support.fake_decoder import FakeDecoder, written_alone


def _expected(ticket: Ticket) -> list[list[int]]:
    request = ticket.request
    return [written_alone(request.prompt, request.sampling.max_new_tokens)] * request.samples


def _written(ticket: Ticket) -> list[list[int]]:
    return [completion.ids for completion in ticket.result(timeout=0)]


@st.composite
def arrivals(draw: st.DrawFn) -> list[tuple[int, Ticket, int | None]]:
    """Requests with the step at which each arrives, and the one at which it is cancelled, if ever."""
    return [
        (
            draw(st.integers(0, 30)),
            ticket_of(
                draw(st.lists(st.integers(1, 9), min_size=1, max_size=40)),
                limit=draw(st.integers(1, LIMIT)),
                samples=draw(st.integers(1, 3)),
            ),
            draw(st.none() | st.integers(0, 40)),
        )
        for _ in range(draw(st.integers(1, 25)))
    ]


@settings(max_examples=200)
@given(arrivals(), st.integers(3, 6), st.integers(4, 20))
def test_whatever_arrives_and_leaves_each_gets_what_it_gets_alone(
    plan: list[tuple[int, Ticket, int | None]], slots: int, prefill_tokens: int
) -> None:
    batcher = batcher_of(FakeDecoder(slots + 1), prefill_tokens)

    step = 0
    while step < 45 or not batcher.is_idle:
        for arrival, ticket, leaves in plan:
            if arrival == step:
                batcher.add(ticket)
            if leaves == step:
                ticket.cancel()
        report = batcher.step()
        assert report.active <= slots
        step += 1
        assert step < 5_000, "somebody starves"

    for _, ticket, leaves in plan:
        assert ticket.done()
        if ticket.cancelled():
            assert leaves is not None
        else:
            assert _written(ticket) == _expected(ticket)


def test_rows_join_while_others_are_under_way() -> None:
    decoder = FakeDecoder(rows=3)
    batcher = batcher_of(decoder)
    early, late = ticket_of([3, 3]), ticket_of([5])
    batcher.add(early)
    batcher.step()
    batcher.add(late)

    batcher.step()

    assert decoder.calls[-1] == ("decode", 2)


def test_prompts_of_similar_length_are_read_together() -> None:
    decoder = FakeDecoder(rows=9)
    batcher = batcher_of(decoder, prefill_tokens=16)
    for length in (4, 12, 4, 4, 11):
        batcher.add(ticket_of([1] * length))

    batcher.step()
    batcher.step()

    read = [tokens for name, tokens in decoder.calls if name == "prefill"]
    assert read == [12, 12]  # three of 4; then 12 alone, as 2 x 12 exceeds 16


def test_a_long_prompt_is_read_in_parts_while_the_others_go_on() -> None:
    decoder = FakeDecoder(rows=4, capacity=128)
    batcher = batcher_of(decoder, prefill_tokens=8)
    short, long = ticket_of([2]), ticket_of([4] * 30)
    batcher.add(short)
    batcher.add(long)

    run(batcher)

    parts = [tokens for name, tokens in decoder.calls if name == "extend"]
    assert parts == [8, 8, 8, 6]
    assert [name for name, _ in decoder.calls[:6]].count("decode") >= 2
    assert (_written(short), _written(long)) == (_expected(short), _expected(long))


def test_short_prompts_pass_a_long_one_that_is_being_read() -> None:
    batcher = batcher_of(FakeDecoder(rows=4, capacity=128), prefill_tokens=4)
    long, short = ticket_of([4] * 60), ticket_of([2], limit=2)
    batcher.add(long)
    batcher.add(short)

    for _ in range(6):
        batcher.step()

    assert short.done()
    assert not long.done()
    run(batcher)
    assert _written(long) == _expected(long)


def test_a_beginning_that_was_read_before_is_not_read_again() -> None:
    decoder = FakeDecoder(rows=4, capacity=256)
    batcher = batcher_of(decoder, prefill_tokens=48)
    shots = [1 + n % 7 for n in range(50)]
    first, second = ticket_of([*shots, 3, 4]), ticket_of([*shots, 5, 6, 7])
    batcher.add(first)
    run(batcher)
    decoder.calls.clear()
    batcher.add(second)

    run(batcher)

    assert ("extend", 3) in decoder.calls
    assert {name for name, _ in decoder.calls} == {"extend", "decode"}
    assert _written(second) == _expected(second)


def test_several_samples_are_written_from_one_prefill() -> None:
    decoder = FakeDecoder(rows=5)
    batcher = batcher_of(decoder)
    ticket = ticket_of([3, 1], samples=4)
    batcher.add(ticket)

    run(batcher)

    assert [name for name, _ in decoder.calls].count("prefill") == 1
    assert _written(ticket) == _expected(ticket)


def test_samples_draw_apart_and_the_same_again() -> None:
    def write(beside: int) -> list[list[int]]:
        batcher = batcher_of(FakeDecoder(rows=5))
        ticket = ticket_of([3, 1], samples=2, temperature=8.0)
        for n in range(beside):
            batcher.add(ticket_of([n + 1], temperature=8.0))
        batcher.add(ticket)
        run(batcher)
        return _written(ticket)

    alone, crowded = write(0), write(5)

    assert alone == crowded
    assert alone[0] != alone[1]


def test_who_waits_longest_is_read_first() -> None:
    batcher = batcher_of(FakeDecoder(rows=2))
    order: list[int] = []
    tickets = [
        ticket_of([n], limit=1, on_token=lambda *_, n=n: order.append(n)) for n in (5, 6, 7)
    ]
    for ticket in tickets:
        batcher.add(ticket)

    run(batcher)

    assert order == [n for n, t in zip((5, 6, 7), tickets, strict=True) if _written(t)[0]]


def test_a_request_for_many_rows_is_not_passed_for_ever() -> None:
    batcher = batcher_of(FakeDecoder(rows=4))
    batcher.add(ticket_of([1], limit=3))
    many = ticket_of([2], samples=3)
    batcher.add(many)
    steps = 0

    while not many.done():
        batcher.add(ticket_of([3], limit=3))  # a new one at every step
        batcher.step()
        steps += 1
        assert steps < 60

    assert _written(many) == _expected(many)


def test_a_deadline_passes_in_the_queue_and_in_a_row() -> None:
    clock = Clock()
    batcher = batcher_of(FakeDecoder(rows=2), clock=clock)
    active = ticket_of([3, 1], deadline=5.0)
    waiting = ticket_of([1], deadline=5.0)
    assert len(_expected(active)[0]) > 3
    batcher.add(active)
    batcher.add(waiting)
    batcher.step()

    clock.now = 5.0
    batcher.step()

    for ticket in (active, waiting):
        with pytest.raises(Unavailable, match="deadline"):
            ticket.result(timeout=0)
    assert batcher.is_idle


def test_a_cancelled_request_frees_its_row_at_the_next_step() -> None:
    batcher = batcher_of(FakeDecoder(rows=2))
    active, waiting = ticket_of([3, 1]), ticket_of([5, 2])
    batcher.add(active)
    batcher.add(waiting)
    batcher.step()

    active.cancel()
    report = batcher.step()

    assert waiting.started is not None
    assert (report.active, report.waiting) == (1, 0)
    assert wait([active], timeout=0).done
    with pytest.raises(CancelledError):
        active.result(timeout=0)


@pytest.mark.parametrize("failing_call", ["prefill", "decode"])
def test_a_failed_step_fails_its_requests_and_no_later_one(failing_call: str) -> None:
    decoder = FakeDecoder(rows=3)
    batcher = batcher_of(decoder)
    victim = ticket_of([3, 1])
    batcher.add(victim)
    if failing_call == "decode":
        batcher.step()
    decoder.failures.append(RuntimeError("out of memory"))
    batcher.step()
    later = ticket_of([5])
    batcher.add(later)

    run(batcher)

    assert decoder.calls[-1][0] in ("prefill", "decode")
    with pytest.raises(Unavailable, match="out of memory"):
        victim.result(timeout=0)
    assert _written(later) == _expected(later)


def test_a_listener_that_raises_harms_only_its_own_request() -> None:
    def listen(sample: int, token: int) -> None:
        raise ValueError("no")

    batcher = batcher_of(FakeDecoder(rows=3))
    bad, good = ticket_of([3, 1], on_token=listen), ticket_of([5])
    batcher.add(bad)
    batcher.add(good)

    run(batcher)

    with pytest.raises(Unavailable):
        bad.result(timeout=0)
    assert _written(good) == _expected(good)


def test_a_stop_string_ends_a_completion_and_is_not_in_its_text() -> None:
    full = written_alone([3, 1], LIMIT)
    batcher = batcher_of(FakeDecoder(rows=2))
    ticket = ticket_of([3, 1], stop_strings=("".join(map(chr, full[2:4])),))
    batcher.add(ticket)

    run(batcher)

    (completion,) = ticket.result(timeout=0)
    assert completion == Completion(full[:4], True, [], "".join(map(chr, full[:2])))


def test_log_probabilities_come_when_asked() -> None:
    batcher = batcher_of(FakeDecoder(rows=3))
    scored, plain = ticket_of([3, 1], scored=True), ticket_of([3, 1])
    batcher.add(scored)
    batcher.add(plain)

    run(batcher)

    (completion,) = scored.result(timeout=0)
    assert len(completion.log_probabilities) == len(completion.ids)
    assert all(-1 < score < 0 for score in completion.log_probabilities)
    assert plain.result(timeout=0)[0].log_probabilities == []


def test_every_token_is_heard_in_order() -> None:
    heard: list[tuple[int, int]] = []
    batcher = batcher_of(FakeDecoder(rows=3))
    ticket = ticket_of([3, 1], on_token=lambda sample, token: heard.append((sample, token)))
    batcher.add(ticket)

    run(batcher)

    assert heard == [(0, token) for token in _expected(ticket)[0]]


def test_a_report_says_what_the_step_did() -> None:
    batcher = batcher_of(FakeDecoder(rows=2))
    batcher.add(ticket_of([3, 1]))
    batcher.add(ticket_of([5, 5, 5]))

    report = batcher.step()

    assert (report.prefill_tokens, report.decode_tokens) == (2, 1)
    assert (report.waiting, report.active) == (1, 1)
