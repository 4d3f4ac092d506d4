"""What is asked of the decoder, and the ticket its asker holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from services.generation.line_search import SearchPlan
from services.generation.sampling import Sampling


@dataclass(frozen=True)
class Completion:
    """What the model wrote behind a prompt.

    Args:
        ids: without the end token; with a stop string, the token that completes it is the last.
        is_finished: False when they ran into the limit of new tokens.
        log_probabilities: what the model gave each of `ids` (temperature 1); empty unless asked for.
        text: what is before the stop string; None unless stop strings were asked for.
        found: train queries that its lines could have been, each with its log-probability at every line's start
            where it is likely enough; None unless it was searched.
    """

    ids: list[int]
    is_finished: bool
    log_probabilities: list[float] = field(default_factory=list)
    text: str | None = None
    found: Mapping[str, list[float]] | None = None


@dataclass(frozen=True)
class Request:
    """A prompt to complete.

    Args:
        prompt: token ids, at least one.
        end_ids: tokens that end a completion; they are not part of it.
        sampling: how tokens are drawn.
        seed: with a sample's number, decides its draws, whatever else is decoded beside it.
        samples: completions of the same prompt; it is read once for all.
        stop_strings: texts that end a completion; none may be empty.
        wants_log_probabilities: fill `Completion.log_probabilities`.
        search: which train queries to look for at the starts of the completions' lines; None for none.
        deadline: moment of the batcher's clock after which nobody waits for it any more.
        on_token: called with (sample number, token) for each token, from the decoding thread: be quick.
    """

    prompt: Sequence[int]
    end_ids: frozenset[int]
    sampling: Sampling
    seed: int = 0
    samples: int = 1
    stop_strings: tuple[str, ...] = ()
    wants_log_probabilities: bool = False
    search: SearchPlan | None = None
    deadline: float | None = None
    on_token: Callable[[int, int], None] | None = None


class Ticket(Future[list[Completion]]):
    """The promise of a request's completions, one a sample.

    `cancel()` works until they are there, also from asyncio (`asyncio.wrap_future`): the rows are free at
    the next step. The batcher never marks it as running, since a running Future cannot be cancelled.

    Args:
        request: what was asked.
        submitted: when, on the batcher's clock (seconds).
    """

    def __init__(self, request: Request, submitted: float) -> None:
        super().__init__()
        self.request = request
        self.submitted = submitted
        self.started: float | None = None
        """When the prompt began to be read."""
        self.first_token: float | None = None
        """When the first token was there."""
        self._is_settled = False

    def keep(self, completions: list[Completion]) -> None:
        """Fulfil the promise, unless it was cancelled."""
        if self._settle():
            self.set_result(completions)

    def fail(self, error: Exception) -> None:
        """Break the promise, unless it was kept or cancelled."""
        if self._settle():
            self.set_exception(error)

    def _settle(self) -> bool:
        """Tell whether somebody still waits; from here on it cannot be cancelled."""
        is_first, self._is_settled = not self._is_settled, True
        return is_first and self.set_running_or_notify_cancel()
