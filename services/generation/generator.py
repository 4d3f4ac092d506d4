"""Documents in, distinct synthetic queries out (paper section 4, step 1)."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cache
from typing import Protocol

from services.generation.line_search import SearchPlan
from services.generation.requests import Completion
from services.generation.sampling import Sampling
from services.generation.scored_lines import clean_queries, read_lines
from services.generation.selection import select_queries
from shared.completion import Dropped
from shared.contracts.document import Document
from shared.contracts.generator import GeneratorCard
from shared.contracts.synthetic_queries import WrittenQueries
from shared.prompt import PromptTokenizer


class CompletesPrompts(Protocol):
    """What the generator needs of a language model."""

    @property
    def card(self) -> GeneratorCard:
        """Return what the model is."""
        ...

    @property
    def context_tokens(self) -> int:
        """Return the longest prompt plus completion."""
        ...

    @property
    def slots(self) -> int:
        """Return how many completions it writes at the same time."""
        ...

    @property
    def key_value_bytes(self) -> int:
        """Return the memory of all slots' keys and values."""
        ...

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
        """Queue a prompt and return the promise of its completions, one a sample."""
        ...

    def close(self) -> None:
        """Stop."""
        ...


@dataclass(frozen=True)
class Generated:
    """What was written for a document.

    Args:
        written: its distinct queries, the surest first.
        dropped: the other lines of its completions, by reason.
        first_line: moment of `time.monotonic()` at which the first whole line was there.
    """

    written: WrittenQueries
    dropped: Counter[Dropped]
    first_line: float


class QueryGenerator:
    """Lets the SLM write queries for documents.

    The seed of a document is its content: the same document gets the same queries again, so that a
    retry changes nothing.

    Args:
        model: the SLM; closed with the generator.
        prompts: its tokenizer.
        sampling: how tokens are drawn.
        samples: completions a document; its prompt is read once for all.
        max_queries: most queries kept for one document.
        search: which train queries to look for, if any.
    """

    _AHEAD = 4  # documents under way for each slot

    def __init__(
        self,
        model: CompletesPrompts,
        prompts: PromptTokenizer,
        sampling: Sampling,
        *,
        samples: int = 1,
        max_queries: int = 16,
        search: SearchPlan | None = None,
    ) -> None:
        self.model = model
        self.sampling = sampling
        self.samples = samples
        self.max_queries = max_queries
        self._prompts = prompts
        self._search = search
        self._ends_line = cache(lambda token: "\n" in prompts.decode([token]))

    @property
    def searched_queries(self) -> int:
        """Return how many train queries the SLM is searched for."""
        return len(self._search.trie) if self._search else 0

    @property
    def name(self) -> str:
        """Return the SLM's id with the first digits of its sha256."""
        return self.model.card.name

    @property
    def adapter(self) -> str:
        """Return which adapter the SLM was tuned with."""
        return self.model.card.adapter

    def close(self) -> None:
        """Stop the SLM; whoever still waits is told `Unavailable`."""
        self.model.close()

    def generate(self, documents: Sequence[Document]) -> list[WrittenQueries]:
        """Return what was written for each document, in the order given; some may be empty."""
        return [generated.written for generated in self.stream(documents)]

    def stream(self, documents: Iterable[Document]) -> Iterator[Generated]:
        """Yield what was written for each document, in the order given, as soon as it is there.

        A few times as many documents as the SLM has slots are under way, so that it never idles.
        """
        writings: deque[_Writing] = deque()
        try:
            for document in documents:
                writings.append(self._submit(document, self._prompts.encode_prompt(document)))
                if len(writings) == self._AHEAD * self.model.slots:
                    yield self._read(writings[0], writings[0].promise.result())
                    writings.popleft()
            for writing in writings:
                yield self._read(writing, writing.promise.result())
        finally:
            for writing in writings:
                writing.promise.cancel()  # only those that an error left behind

    async def write(
        self,
        document: Document,
        *,
        known: Collection[str] = (),
        seed: int = 0,
        seconds: float | None = None,
    ) -> Generated:
        """Return what was written for a document, beside whatever else is being written.

        Cancelled, it leaves the model's batch at the next step.

        Args:
            document: to write for.
            known: queries that need not be written again.
            seed: another one draws other queries.
            seconds: how long it may take.

        Raises:
            Expired: it took longer.
            TooLarge: the prompt does not fit in the model's context.
            Unavailable: the model failed, or was closed.
        """
        called = time.monotonic()
        prompt = await asyncio.to_thread(self._prompts.encode_prompt, document)
        if seconds is not None:
            seconds -= time.monotonic() - called
        writing = self._submit(document, prompt, known, seed, seconds)
        completions = await asyncio.wrap_future(writing.promise)
        return self._read(writing, completions)

    def _submit(
        self,
        document: Document,
        prompt: Sequence[int],
        known: Collection[str] = (),
        seed: int = 0,
        seconds: float | None = None,
    ) -> _Writing:
        first_line = _FirstLine(self._ends_line)
        promise = self.model.submit(
            prompt,
            end_id=self._prompts.end_id,
            sampling=self.sampling,
            seed=int(document.content_hash, 16) ^ seed,
            samples=self.samples,
            wants_log_probabilities=True,
            search=self._search,
            seconds=seconds,
            on_token=first_line.take,
        )
        return _Writing(document, known, promise, first_line)

    def _read(self, writing: _Writing, completions: Sequence[Completion]) -> Generated:
        dropped: Counter[Dropped] = Counter()
        written = []
        for completion in completions:
            lines, others = read_lines(
                completion,
                writing.document,
                self._prompts.decode,
                max_queries=self.max_queries,
                known=writing.known,
            )
            written.append(lines)
            dropped += others
        found = None
        if self._search:
            found = [
                clean_queries(completion.found or {}, writing.document, known=writing.known)
                for completion in completions
            ]
        return Generated(
            select_queries(written, self.max_queries, found),
            dropped,
            writing.first_line.moment or time.monotonic(),
        )


class _FirstLine:
    """Notes when the first line of any sample was complete; a completion of one line has no line end."""

    def __init__(self, ends_line: Callable[[int], bool]) -> None:
        self._ends_line = ends_line
        self._begun: set[int] = set()
        self.moment: float | None = None

    def take(self, sample: int, token: int) -> None:
        """Take the next token of a sample."""
        if self.moment is not None:
            return
        if not self._ends_line(token):
            self._begun.add(sample)
        elif sample in self._begun:
            self.moment = time.monotonic()


@dataclass(frozen=True)
class _Writing:
    """A document on its way."""

    document: Document
    known: Collection[str]
    promise: Future[list[Completion]]
    first_line: _FirstLine
