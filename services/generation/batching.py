"""Continuous batching: completions join and leave the decoder's rows at every step.

Active rows stay side by side from row 0 on: when one leaves, the last takes its place. New prompts are read
in the rows right behind. The decoder's last row is the reading row: a prompt that is too long for one step
is read there part by part while the others go on, then copied; a later prompt that begins the same is read
from where it differs.

Nothing starves: whoever waits longest is always in the next prefill that there is room for; only while the
reading row is taken may short prompts pass a long one.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

import numpy as np
import structlog
from numpy.typing import NDArray

from services.generation.requests import Ticket
from services.generation.rows import Job, Row
from services.generation.sampling import Candidates, draw_columns, log_probabilities
from services.generation.stop_strings import Decode
from shared.errors import Expired, Unanswered

_LOG = structlog.get_logger()


class Decoder(Protocol):
    """What the batcher needs of the model; candidates hold until the next call."""

    @property
    def rows(self) -> int:
        """Return how many rows it has, the reading row included."""
        ...

    def prefill(self, first: int, prompts: Sequence[Sequence[int]]) -> Candidates:
        """Read whole prompts into the rows from `first` on; return what may come behind each."""
        ...

    def extend(self, row: int, held: int, ids: Sequence[int]) -> Candidates:
        """Read `ids` behind the first `held` tokens of one row; return what may come then."""
        ...

    def decode(self, tokens: NDArray[np.int64], held: NDArray[np.int64]) -> Candidates:
        """Append a token to each of the first rows, which hold `held` tokens each."""
        ...

    def copy_row(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` tokens of a row to another."""
        ...


@dataclass(frozen=True)
class StepReport:
    """What one step did, for metrics."""

    prefill_tokens: int
    """Prompt tokens read, padding not counted."""
    prefill_seconds: float
    decode_tokens: int
    """Tokens appended: one an active row."""
    decode_seconds: float
    waiting: int
    """Requests in the queue after the step."""
    active: int
    """Rows in use after the step."""


@dataclass
class _Reading:
    """A long prompt on its way into the reading row."""

    ticket: Ticket
    held: int


class Batcher:
    """Decides what each step of the decoder does. Not thread-safe; `DecodingLoop` drives it.

    Args:
        decoder: has a row more than completions can be active (the reading row).
        decode: turns token ids into text, for stop strings.
        prefill_tokens: most prompt tokens one step reads, so that active rows need not wait long.
        clock: seconds; deadlines are moments of it.
    """

    _WINDOW = 64  # waiting requests among which prompts of similar length are looked for
    _MAX_PADDING = 0.2  # of a prefill's tokens
    _MIN_SHARED = 32  # tokens of a common beginning for which leaving the batched prefill pays

    def __init__(
        self,
        decoder: Decoder,
        decode: Decode,
        *,
        prefill_tokens: int = 256,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.slots = decoder.rows - 1
        self._decoder = decoder
        self._decode_text = decode
        self._prefill_tokens = prefill_tokens
        self._clock = clock
        self._waiting: deque[Ticket] = deque()
        self._rows: list[Row] = []
        self._reading: _Reading | None = None
        self._is_turn_of_whole = False
        self._kept: Sequence[int] = ()  # what the reading row holds

    @property
    def is_idle(self) -> bool:
        """Tell whether a step would have nothing to do."""
        return not (self._waiting or self._rows or self._reading)

    def add(self, ticket: Ticket) -> None:
        """Queue a request; `samples` may not exceed the slots."""
        self._waiting.append(ticket)

    def step(self) -> StepReport:
        """Drop who has left, read some prompts, advance every active row by a token.

        A failure of the decoder breaks the promises of the requests in that run; the next step goes on.
        """
        self._drop_departed()
        started = self._clock()
        prefilled = self._prefill()
        between = self._clock()
        decoded = self._decode()
        return StepReport(
            prefilled,
            between - started,
            decoded,
            self._clock() - between,
            len(self._waiting) + (self._reading is not None),
            len(self._rows),
        )

    def fail_all(self, error: Exception) -> None:
        """Break every promise and empty the rows."""
        tickets = [*self._waiting, *(row.job.ticket for row in self._rows)]
        if self._reading:
            tickets.append(self._reading.ticket)
        self._waiting.clear()
        self._rows.clear()
        self._reading, self._kept = None, ()
        for ticket in tickets:
            ticket.fail(error)

    def _drop_departed(self) -> None:
        now = self._clock()
        queued = [*self._waiting, *([self._reading.ticket] if self._reading else [])]
        for ticket in [*queued, *(row.job.ticket for row in self._rows)]:
            if ticket.request.deadline is not None and now >= ticket.request.deadline:
                ticket.fail(Expired("the completion was not there by its deadline"))
        if any(ticket.done() for ticket in queued):
            for ticket in queued:
                _tell_if_cancelled(ticket)
            self._waiting = deque(ticket for ticket in self._waiting if not ticket.done())
            if self._reading and self._reading.ticket.done():
                self._reading = None
        self._leave([place for place, row in enumerate(self._rows) if row.job.ticket.done()])

    def _prefill(self) -> int:
        """Read some whole prompts or a part of a long one, in turns; return the tokens read."""
        if self._reading and not self._is_turn_of_whole:
            self._is_turn_of_whole = True
            return self._read_part(self._reading)
        self._is_turn_of_whole = False
        batch = self._admit()
        if batch:
            return self._read_whole(batch)
        return self._read_part(self._reading) if self._reading else 0

    def _admit(self) -> list[Ticket]:
        """Take from the queue what is read next: whole prompts, or none when a long one begins."""
        free = self.slots - len(self._rows)
        free -= self._reading.ticket.request.samples if self._reading else 0
        for ticket in self._waiting:
            request = ticket.request
            if request.samples > free:
                return []
            shared = self._shared(request.prompt)
            if not shared and len(request.prompt) <= self._prefill_tokens:
                return self._take(self._similar(ticket, free))
            if not self._reading:
                self._take([ticket])
                self._reading = _Reading(ticket, shared)
                return []
        return []

    def _take(self, tickets: list[Ticket]) -> list[Ticket]:
        taken, now = set(map(id, tickets)), self._clock()
        self._waiting = deque(ticket for ticket in self._waiting if id(ticket) not in taken)
        for ticket in tickets:
            ticket.started = now
        return tickets

    def _similar(self, oldest: Ticket, free: int) -> list[Ticket]:
        """Return the oldest request with others whose prompts are about as long, so that little is padded."""
        size = len(oldest.request.prompt)
        others = [ticket for ticket in islice(self._waiting, self._WINDOW) if ticket is not oldest]
        others.sort(key=lambda ticket: abs(len(ticket.request.prompt) - size))
        batch, width, tokens = [oldest], size, size
        free -= oldest.request.samples
        for ticket in others:
            size = len(ticket.request.prompt)
            padded = (len(batch) + 1) * max(width, size)
            if padded > self._prefill_tokens or tokens + size < padded * (1 - self._MAX_PADDING):
                break
            if ticket.request.samples <= free and not self._shared(ticket.request.prompt):
                batch.append(ticket)
                width, tokens = max(width, size), tokens + size
                free -= ticket.request.samples
        return batch

    def _shared(self, prompt: Sequence[int]) -> int:
        """Return how many tokens of the prompt the reading row holds, 0 when too few to gain by it."""
        least = max(self._MIN_SHARED, len(prompt) // 2)
        if len(self._kept) < least or list(prompt[:least]) != list(self._kept[:least]):
            return 0
        longest = min(len(prompt) - 1, len(self._kept))
        return next((n for n in range(least, longest) if prompt[n] != self._kept[n]), longest)

    def _read_whole(self, tickets: list[Ticket]) -> int:
        first, prompts = len(self._rows), [ticket.request.prompt for ticket in tickets]
        with self._failing(tickets):
            candidates = self._decoder.prefill(first, prompts)
            self._seat(tickets, range(first, first + len(tickets)), candidates)
        return sum(map(len, prompts))

    def _read_part(self, reading: _Reading) -> int:
        ticket, row = reading.ticket, self.slots
        prompt = ticket.request.prompt
        part = prompt[reading.held : reading.held + self._prefill_tokens]
        self._kept, self._reading = (), None  # until it is known to be there
        with self._failing([ticket]):
            candidates = self._decoder.extend(row, reading.held, part)
            reading.held += len(part)
            self._kept = prompt[: reading.held]
            if reading.held < len(prompt):
                self._reading = reading
            else:
                self._decoder.copy_row(row, len(self._rows), reading.held)
                self._seat([ticket], [len(self._rows)], candidates)
        return len(part)

    def _seat(self, tickets: list[Ticket], places: Sequence[int], candidates: Candidates) -> None:
        """Make rows of the prompts just read behind the active ones, and draw their first tokens."""
        jobs = [Job(ticket) for ticket in tickets]
        rows = [Row(job, 0, self._decode_text) for job in jobs]
        prompt_of = list(range(len(tickets)))
        for number, (job, place) in enumerate(zip(jobs, places, strict=True)):
            for sample in range(1, job.ticket.request.samples):
                row = Row(job, sample, self._decode_text)
                self._decoder.copy_row(place, len(self._rows) + len(rows), row.held)
                rows.append(row)
                prompt_of.append(number)
        before = len(self._rows)
        self._rows += rows
        if len(rows) > len(tickets):
            candidates = candidates.of_rows(prompt_of)
        over = self._draw(rows, candidates)
        now = self._clock()
        for ticket in tickets:
            ticket.first_token = now
        self._leave([before + n for n in over])

    def _decode(self) -> int:
        """Advance every active row by a token; return how many there were."""
        # a ticket that failed in this step's prefill, or was cancelled meanwhile, has no next token
        self._leave([place for place, row in enumerate(self._rows) if row.job.ticket.done()])
        rows = list(self._rows)
        if rows:
            with self._failing([row.job.ticket for row in rows]):
                tokens = np.array([row.next_token for row in rows], dtype=np.int64)
                candidates = self._decoder.decode(tokens, np.array([row.held for row in rows]))
                for row in rows:
                    row.held += 1
                self._leave(self._draw(rows, candidates))
        return len(rows)

    def _draw(self, rows: Sequence[Row], candidates: Candidates) -> list[int]:
        """Give each row its next token; return the places, among `rows`, of those that are over."""
        over = self._look(rows, candidates)
        drawing = [
            place for place, row in enumerate(rows) if not (row.is_searching or place in over)
        ]
        if not drawing:
            return over
        if len(drawing) < len(rows):
            candidates, rows = candidates.of_rows(drawing), [rows[place] for place in drawing]
        return over + [drawing[place] for place in self._draw_all(rows, candidates)]

    def _look(self, rows: Sequence[Row], candidates: Candidates) -> list[int]:
        """Show what is likely to the rows that search; return the places of those that are over."""
        over = []
        for place, row in enumerate(rows):
            if row.wants_a_look:
                with self._failing([row.job.ticket]):
                    if row.look(candidates, place):
                        over.append(place)
        return over

    def _draw_all(self, rows: Sequence[Row], candidates: Candidates) -> list[int]:
        """Draw each row's next token; return the places of those that are over."""
        samplings, draws = [row.request.sampling for row in rows], [row.draws for row in rows]
        columns = draw_columns(candidates.logits, samplings, draws)
        tokens = candidates.tokens_at(columns).tolist()
        scored = any(row.request.wants_log_probabilities for row in rows)
        scores = log_probabilities(candidates, columns).tolist() if scored else None
        over = []
        for place, (row, token) in enumerate(zip(rows, tokens, strict=True)):
            is_wanted = row.request.wants_log_probabilities
            with self._failing([row.job.ticket]):
                if row.take(token, scores[place] if scores and is_wanted else None):
                    over.append(place)
        return over

    def _leave(self, places: Sequence[int]) -> None:
        """Empty rows; the last active row moves into each gap."""
        for place in sorted(places, reverse=True):
            _tell_if_cancelled(self._rows[place].job.ticket)
            last = self._rows.pop()
            if place < len(self._rows):
                self._rows[place] = last
                with self._failing([last.job.ticket]):
                    self._decoder.copy_row(len(self._rows), place, last.held)

    @contextmanager
    def _failing(self, tickets: Sequence[Ticket]) -> Iterator[None]:
        """Let an error of the decoder end the requests of that run, and nothing else."""
        try:
            yield
        except Exception as error:  # noqa: BLE001  (whatever the runtime raises)
            _LOG.exception("decoding step failed", requests=len(tickets))
            for ticket in tickets:
                ticket.fail(_failure(error))


def _tell_if_cancelled(ticket: Ticket) -> None:
    """Wake those in `concurrent.futures.wait`: `cancel()` alone does not."""
    if ticket.cancelled():
        ticket.fail(CancelledError())


def _failure(error: Exception) -> Unanswered:
    failure = Unanswered(f"a step of the language model failed: {error}")
    failure.__cause__ = error
    return failure
