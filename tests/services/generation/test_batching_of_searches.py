"""Rows of the batcher that are searched, over a fake decoder."""

from dataclasses import replace

from services.generation.batching import Batcher
from services.generation.line_search import SearchPlan
from services.generation.query_trie import QueryTrie
from services.generation.requests import Ticket
from shared.errors import Expired, Unanswered
from tests.support.batches import LIMIT, Clock, batcher_of, run, ticket_of
from tests.support.fake_decoder import END, VOCABULARY, FakeDecoder, written_alone


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
    batcher, ticket = batcher_of(FakeDecoder(2)), ticket_of([5], search=_endless_search())
    _searching(batcher, ticket)

    ticket.cancel()

    assert batcher.step().active == 0


def test_a_search_ends_at_its_deadline() -> None:
    clock = Clock()
    batcher = batcher_of(FakeDecoder(2), clock=clock)
    ticket = ticket_of([5], deadline=10.0, search=_endless_search())
    _searching(batcher, ticket)

    clock.now = 10.0

    assert batcher.step().active == 0
    assert isinstance(ticket.exception(), Expired)


def test_a_step_that_fails_in_a_search_ends_that_request_and_no_later_one() -> None:
    decoder = FakeDecoder(2)
    batcher, ticket = batcher_of(decoder), ticket_of([5], search=_endless_search())
    _searching(batcher, ticket)

    decoder.failures = [RuntimeError("out of memory")]
    batcher.step()
    later = ticket_of([6])
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
        ticket = ticket_of(prompt, search=plan)
        _run_all(batcher_of(FakeDecoder(2)), [ticket])
        alone.append(ticket.result())

    together = [ticket_of(prompt, search=plan) for prompt in prompts]
    others = [ticket_of([number], limit=3 + number) for number in range(9)]
    _run_all(
        batcher_of(FakeDecoder(6)),
        [t for pair in zip(together, others, strict=False) for t in pair],
    )

    assert [ticket.result() for ticket in together] == alone
    assert all(completion.found for (completion,) in alone)


def _run_all(batcher: Batcher, tickets: list[Ticket]) -> None:
    for ticket in tickets:
        batcher.add(ticket)
        batcher.step()
    run(batcher)
