"""The batcher, driven step by step over a fake decoder."""

from collections.abc import Callable
from concurrent.futures import CancelledError, wait
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.generation.batching import Batcher
from services.generation.line_search import SearchPlan
from services.generation.query_trie import QueryTrie
from services.generation.requests import Completion, Request, Ticket
from services.generation.sampling import Sampling
from shared.errors import Expired, Unanswered, Unavailable
from tests.support.fake_decoder import END, VOCABULARY, FakeDecoder, written_alone

LIMIT = 12


class Clock:
    """Tells the time it was set to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def _batcher(
    decoder: FakeDecoder, prefill_tokens: int = 16, clock: Callable[[], float] | None = None
) -> Batcher:
    return Batcher(
        decoder, lambda ids: "".join(map(chr, ids)), prefill_tokens=prefill_tokens,
        clock=clock or Clock(),
    )  # fmt: skip


def _ticket(
    prompt: list[int],
    *,
    limit: int = LIMIT,
    samples: int = 1,
    temperature: float = 0.0,
    deadline: float | None = None,
    stop_strings: tuple[str, ...] = (),
    on_token: Callable[[int, int], None] | None = None,
    scored: bool = False,
    search: SearchPlan | None = None,
) -> Ticket:
    request = Request(
        prompt,
        frozenset({END}),
        Sampling(temperature=temperature, max_new_tokens=limit),
        samples=samples,
        deadline=deadline,
        stop_strings=stop_strings,
        on_token=on_token,
        wants_log_probabilities=scored,
        search=search,
    )
    return Ticket(request, submitted=0.0)


def _run(batcher: Batcher, steps: int = 10_000) -> None:
    while not batcher.is_idle and steps:
        batcher.step()
        steps -= 1
    assert batcher.is_idle


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
            _ticket(
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
    batcher = _batcher(FakeDecoder(slots + 1), prefill_tokens)

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
    batcher = _batcher(decoder)
    early, late = _ticket([3, 3]), _ticket([5])
    batcher.add(early)
    batcher.step()
    batcher.add(late)

    batcher.step()

    assert decoder.calls[-1] == ("decode", 2)


def test_prompts_of_similar_length_are_read_together() -> None:
    decoder = FakeDecoder(rows=9)
    batcher = _batcher(decoder, prefill_tokens=16)
    for length in (4, 12, 4, 4, 11):
        batcher.add(_ticket([1] * length))

    batcher.step()
    batcher.step()

    read = [tokens for name, tokens in decoder.calls if name == "prefill"]
    assert read == [12, 12]  # three of 4; then 12 alone, as 2 x 12 exceeds 16


def test_a_long_prompt_is_read_in_parts_while_the_others_go_on() -> None:
    decoder = FakeDecoder(rows=4, capacity=128)
    batcher = _batcher(decoder, prefill_tokens=8)
    short, long = _ticket([2]), _ticket([4] * 30)
    batcher.add(short)
    batcher.add(long)

    _run(batcher)

    parts = [tokens for name, tokens in decoder.calls if name == "extend"]
    assert parts == [8, 8, 8, 6]
    assert [name for name, _ in decoder.calls[:6]].count("decode") >= 2
    assert (_written(short), _written(long)) == (_expected(short), _expected(long))


def test_short_prompts_pass_a_long_one_that_is_being_read() -> None:
    batcher = _batcher(FakeDecoder(rows=4, capacity=128), prefill_tokens=4)
    long, short = _ticket([4] * 60), _ticket([2], limit=2)
    batcher.add(long)
    batcher.add(short)

    for _ in range(6):
        batcher.step()

    assert short.done()
    assert not long.done()
    _run(batcher)
    assert _written(long) == _expected(long)


def test_a_beginning_that_was_read_before_is_not_read_again() -> None:
    decoder = FakeDecoder(rows=4, capacity=256)
    batcher = _batcher(decoder, prefill_tokens=48)
    shots = [1 + n % 7 for n in range(50)]
    first, second = _ticket([*shots, 3, 4]), _ticket([*shots, 5, 6, 7])
    batcher.add(first)
    _run(batcher)
    decoder.calls.clear()
    batcher.add(second)

    _run(batcher)

    assert ("extend", 3) in decoder.calls
    assert {name for name, _ in decoder.calls} == {"extend", "decode"}
    assert _written(second) == _expected(second)


def test_several_samples_are_written_from_one_prefill() -> None:
    decoder = FakeDecoder(rows=5)
    batcher = _batcher(decoder)
    ticket = _ticket([3, 1], samples=4)
    batcher.add(ticket)

    _run(batcher)

    assert [name for name, _ in decoder.calls].count("prefill") == 1
    assert _written(ticket) == _expected(ticket)


def test_samples_draw_apart_and_the_same_again() -> None:
    def write(beside: int) -> list[list[int]]:
        batcher = _batcher(FakeDecoder(rows=5))
        ticket = _ticket([3, 1], samples=2, temperature=8.0)
        for n in range(beside):
            batcher.add(_ticket([n + 1], temperature=8.0))
        batcher.add(ticket)
        _run(batcher)
        return _written(ticket)

    alone, crowded = write(0), write(5)

    assert alone == crowded
    assert alone[0] != alone[1]


def test_who_waits_longest_is_read_first() -> None:
    batcher = _batcher(FakeDecoder(rows=2))
    order: list[int] = []
    tickets = [_ticket([n], limit=1, on_token=lambda *_, n=n: order.append(n)) for n in (5, 6, 7)]
    for ticket in tickets:
        batcher.add(ticket)

    _run(batcher)

    assert order == [n for n, t in zip((5, 6, 7), tickets, strict=True) if _written(t)[0]]


def test_a_request_for_many_rows_is_not_passed_for_ever() -> None:
    batcher = _batcher(FakeDecoder(rows=4))
    batcher.add(_ticket([1], limit=3))
    many = _ticket([2], samples=3)
    batcher.add(many)
    steps = 0

    while not many.done():
        batcher.add(_ticket([3], limit=3))  # a new one at every step
        batcher.step()
        steps += 1
        assert steps < 60

    assert _written(many) == _expected(many)


def test_a_deadline_passes_in_the_queue_and_in_a_row() -> None:
    clock = Clock()
    batcher = _batcher(FakeDecoder(rows=2), clock=clock)
    active = _ticket([3, 1], deadline=5.0)
    waiting = _ticket([1], deadline=5.0)
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
    batcher = _batcher(FakeDecoder(rows=2))
    active, waiting = _ticket([3, 1]), _ticket([5, 2])
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
    batcher = _batcher(decoder)
    victim = _ticket([3, 1])
    batcher.add(victim)
    if failing_call == "decode":
        batcher.step()
    decoder.failures.append(RuntimeError("out of memory"))
    batcher.step()
    later = _ticket([5])
    batcher.add(later)

    _run(batcher)

    assert decoder.calls[-1][0] in ("prefill", "decode")
    with pytest.raises(Unavailable, match="out of memory"):
        victim.result(timeout=0)
    assert _written(later) == _expected(later)


def test_a_listener_that_raises_harms_only_its_own_request() -> None:
    def listen(sample: int, token: int) -> None:
        raise ValueError("no")

    batcher = _batcher(FakeDecoder(rows=3))
    bad, good = _ticket([3, 1], on_token=listen), _ticket([5])
    batcher.add(bad)
    batcher.add(good)

    _run(batcher)

    with pytest.raises(Unavailable):
        bad.result(timeout=0)
    assert _written(good) == _expected(good)


def test_a_stop_string_ends_a_completion_and_is_not_in_its_text() -> None:
    full = written_alone([3, 1], LIMIT)
    batcher = _batcher(FakeDecoder(rows=2))
    ticket = _ticket([3, 1], stop_strings=("".join(map(chr, full[2:4])),))
    batcher.add(ticket)

    _run(batcher)

    (completion,) = ticket.result(timeout=0)
    assert completion == Completion(full[:4], True, [], "".join(map(chr, full[:2])))


def test_log_probabilities_come_when_asked() -> None:
    batcher = _batcher(FakeDecoder(rows=3))
    scored, plain = _ticket([3, 1], scored=True), _ticket([3, 1])
    batcher.add(scored)
    batcher.add(plain)

    _run(batcher)

    (completion,) = scored.result(timeout=0)
    assert len(completion.log_probabilities) == len(completion.ids)
    assert all(-1 < score < 0 for score in completion.log_probabilities)
    assert plain.result(timeout=0)[0].log_probabilities == []


def test_every_token_is_heard_in_order() -> None:
    heard: list[tuple[int, int]] = []
    batcher = _batcher(FakeDecoder(rows=3))
    ticket = _ticket([3, 1], on_token=lambda sample, token: heard.append((sample, token)))
    batcher.add(ticket)

    _run(batcher)

    assert heard == [(0, token) for token in _expected(ticket)[0]]


def test_a_report_says_what_the_step_did() -> None:
    batcher = _batcher(FakeDecoder(rows=2))
    batcher.add(_ticket([3, 1]))
    batcher.add(_ticket([5, 5, 5]))

    report = batcher.step()

    assert (report.prefill_tokens, report.decode_tokens) == (2, 1)
    assert (report.waiting, report.active) == (1, 1)


def _endless_search() -> SearchPlan:
    """Return a search that goes on for long: all pairs of tokens, each as likely as can be."""
    pairs = [f"{first} {second}" for first in range(VOCABULARY) for second in range(VOCABULARY)]
    trie = QueryTrie(pairs, lambda texts: [[int(token) for token in t.split()] for t in texts])
    return SearchPlan(trie, frozenset({END}), -1e9, max_visits=1_000_000)


def _searching(batcher: Batcher, ticket: Ticket) -> None:
    """Step until the completion is written and its row is searched, and a while on."""
    batcher.add(ticket)
    for _ in range(3 * LIMIT):
        assert batcher.step().active == 1
    assert not ticket.done()


def test_a_search_that_nobody_waits_for_leaves_its_row() -> None:
    batcher, ticket = _batcher(FakeDecoder(2)), _ticket([5], search=_endless_search())
    _searching(batcher, ticket)

    ticket.cancel()

    assert batcher.step().active == 0


def test_a_search_ends_at_its_deadline() -> None:
    clock = Clock()
    batcher = _batcher(FakeDecoder(2), clock=clock)
    ticket = _ticket([5], deadline=10.0, search=_endless_search())
    _searching(batcher, ticket)

    clock.now = 10.0

    assert batcher.step().active == 0
    assert isinstance(ticket.exception(), Expired)


def test_a_step_that_fails_in_a_search_ends_that_request_and_no_later_one() -> None:
    decoder = FakeDecoder(2)
    batcher, ticket = _batcher(decoder), _ticket([5], search=_endless_search())
    _searching(batcher, ticket)

    decoder.failures = [RuntimeError("out of memory")]
    batcher.step()
    later = _ticket([6])
    batcher.add(later)
    while not later.done():
        batcher.step()

    assert isinstance(ticket.exception(), Unanswered)
    assert later.result()[0].ids == written_alone([6], LIMIT)


def test_rows_that_search_move_and_find_what_they_find_alone() -> None:
    plan = replace(_endless_search(), min_log_probability=-30.0, max_visits=60)
    prompts = [[5, 9], [7], [1, 2, 3], [8, 8]]
    alone = []
    for prompt in prompts:
        ticket = _ticket(prompt, search=plan)
        _finish(_batcher(FakeDecoder(2)), [ticket])
        alone.append(ticket.result())

    together = [_ticket(prompt, search=plan) for prompt in prompts]
    others = [_ticket([number], limit=3 + number) for number in range(9)]
    _finish(
        _batcher(FakeDecoder(6)), [t for pair in zip(together, others, strict=False) for t in pair]
    )

    assert [ticket.result() for ticket in together] == alone
    assert all(completion.found for (completion,) in alone)


def _finish(batcher: Batcher, tickets: list[Ticket]) -> None:
    for ticket in tickets:
        batcher.add(ticket)
        batcher.step()
    while not batcher.is_idle:
        batcher.step()
