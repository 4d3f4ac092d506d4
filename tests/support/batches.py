"""A batcher over a fake decoder, and tickets for it."""

from __future__ import annotations

from collections.abc import Callable

from services.generation.batching import Batcher
from services.generation.line_search import SearchPlan
from services.generation.requests import Request, Ticket
from services.generation.sampling import Sampling
from tests.support.fake_decoder import END, FakeDecoder

LIMIT = 12


class Clock:
    """Tells the time it was set to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def batcher_of(
    decoder: FakeDecoder, prefill_tokens: int = 16, clock: Callable[[], float] | None = None
) -> Batcher:
    return Batcher(
        decoder, lambda ids: "".join(map(chr, ids)), prefill_tokens=prefill_tokens,
        clock=clock or Clock(),
    )  # fmt: skip


def ticket_of(
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


def run(batcher: Batcher, steps: int = 10_000) -> None:
    """Step until nothing is left to do."""
    while not batcher.is_idle and steps:
        batcher.step()
        steps -= 1
    assert batcher.is_idle
