"""A language model that writes what a test wants, when it wants it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from services.generation.line_search import SearchPlan
from services.generation.requests import Completion
from services.generation.sampling import Sampling
from shared.contracts.generator import GeneratorCard
from shared.prompt import PromptTokenizer

_BELIEF = -0.0625
"""Log-probability of each of its tokens: it believes what it writes."""


@dataclass(frozen=True)
class Asked:
    """A prompt that the model was given, and its promise."""

    title: str
    prompt: str
    seed: int
    samples: int
    seconds: float | None
    promise: Future[list[Completion]]


class FakeLanguageModel:
    """Completes each prompt with the text that `write` has for it (its title, then the whole of it).

    Args:
        prompts: its tokenizer.
        write: gives the text, or raises.
        name: of the generator.
        is_held: answers only what is let go with `answer`.
        is_finished: False writes completions that were cut.
        found: in every completion, where it is searched.
    """

    context_tokens, slots, key_value_bytes = 512, 4, 4_096

    def __init__(
        self,
        prompts: PromptTokenizer,
        write: Callable[[str, str], str],
        *,
        name: str = "fake-1",
        is_held: bool = False,
        is_finished: bool = True,
        found: Mapping[str, list[float]] | None = None,
    ) -> None:
        self.card = GeneratorCard(
            name=name,
            source="fake",
            adapter="none",
            head_size=8,
            context_tokens=512,
            sha256="5" * 64,
        )
        self._prompts = prompts
        self._write = write
        self._is_held = is_held
        self._is_finished = is_finished
        self._found = found
        self.asked: list[Asked] = []
        self.has_been_asked = threading.Event()
        self.told = 0.0
        """When the last completion's tokens had been told, before it was given."""
        self.is_closed = False
        self._keep: dict[str, Callable[[], None]] = {}

    def submit(
        self,
        prompt: Sequence[int],
        *,
        end_id: int,
        sampling: Sampling,
        seed: int,
        samples: int,
        wants_log_probabilities: bool,
        search: SearchPlan | None,
        seconds: float | None,
        on_token: Callable[[int, int], None],
    ) -> Future[list[Completion]]:
        text = self._prompts.decode(prompt)
        title = text.splitlines()[0].removeprefix("Title: ")
        asked = Asked(title, text, seed, samples, seconds, Future())
        ids = self._prompts.encode_completion([self._write(title, text)])[:-1]
        scores = [_BELIEF] * len(ids) if wants_log_probabilities else []
        self.asked.append(asked)
        self.has_been_asked.set()

        def keep() -> None:
            if asked.promise.set_running_or_notify_cancel():
                for token in ids:
                    on_token(0, token)
                self.told = time.monotonic()
                found = self._found if search else None
                completion = Completion(ids, self._is_finished, scores, None, found)
                asked.promise.set_result([completion] * samples)

        self._keep[title] = keep
        if not self._is_held:
            keep()
        return asked.promise

    def answer(self, title: str) -> None:
        """Keep the promise of the prompt with this title."""
        self._keep[title]()

    def close(self) -> None:
        self.is_closed = True
