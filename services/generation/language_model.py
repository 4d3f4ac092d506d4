"""The SLM as it is served: its card, its decoder, and the loop that batches requests continuously."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

from pydantic import ValidationError
from tokenizers import Tokenizer

from services.generation.batching import Batcher, StepReport
from services.generation.decoder import OnnxDecoder
from services.generation.line_search import SearchPlan
from services.generation.loop import DecodingLoop
from services.generation.requests import Completion, Request, Ticket
from services.generation.sampling import Sampling
from shared.contracts.generator import GENERATOR_CARD, GeneratorCard
from shared.errors import Damaged, InvalidInput, NotFound, TooLarge


class LanguageModel:
    """Completes prompts, many at once: each joins and leaves the running batch on its own.

    Memory for keys and values is `key_value_bytes` when every row is full, `row_bytes` a row: for
    SmolLM2-135M 45 KiB a token; a row of 1,152 tokens takes 51 MiB. Pages never written take none.

    Args:
        folder: holds `model.onnx` (see services/training/distillation/export.py), `tokenizer.json` and
            `generator.json`.
        threads: cores one step may use; 0 lets ONNX Runtime decide.
        slots: completions written at the same time.
        context_tokens: longest prompt plus completion; at most what the model was trained for.
        prefill_tokens: most prompt tokens one step reads before rows under way get their next token; what
            the device reads in about the time of a decode if absent.
        on_step: called after each step of the decoder, from its thread (metrics).

    Raises:
        NotFound: no model there.
        Damaged: its card cannot be read.
    """

    def __init__(
        self,
        folder: Path,
        *,
        threads: int = 0,
        slots: int = 32,
        context_tokens: int = 1152,
        prefill_tokens: int | None = None,
        on_step: Callable[[StepReport], None] = lambda _: None,
    ) -> None:
        self.card = _card(folder)
        self.slots = slots
        self.context_tokens = min(context_tokens, self.card.context_tokens)
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        decoder = OnnxDecoder(
            folder / "model.onnx",
            rows=slots + 1,
            capacity=self.context_tokens,
            head_size=self.card.head_size,
            threads=threads,
        )
        self.row_bytes, self._candidates = decoder.row_bytes, decoder.candidates
        self._loop = DecodingLoop(
            Batcher(
                decoder, tokenizer.decode, prefill_tokens=prefill_tokens or decoder.prefill_tokens
            ),
            on_step,
        )
        self._loop.start()

    @property
    def name(self) -> str:
        """Return the model's id with the first digits of its sha256."""
        return self.card.name

    @property
    def adapter(self) -> str:
        """Return which adapter was merged into the model."""
        return self.card.adapter

    @property
    def key_value_bytes(self) -> int:
        """Return the memory that keys and values take when every row is full."""
        return self.row_bytes * (self.slots + 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop decoding; whoever still waits is told `Unavailable`."""
        self._loop.close()

    def check(self, sampling: Sampling) -> None:
        """Refuse what this model cannot do.

        Raises:
            InvalidInput: a draw among more tokens than the model gives.
        """
        if not self._candidates or not sampling.temperature:
            return
        if not 0 < sampling.top_k <= self._candidates:
            raise InvalidInput(
                f"top_k is {sampling.top_k}, expected 1 to {self._candidates} (SKIM_GENERATION_TOP_K): a model made "
                "for a GPU gives no more of its likeliest tokens"
            )

    def submit(
        self,
        prompt: Sequence[int],
        *,
        end_id: int,
        sampling: Sampling,
        seed: int = 0,
        samples: int = 1,
        stop_strings: Sequence[str] = (),
        stop_ids: Sequence[int] = (),
        wants_log_probabilities: bool = False,
        search: SearchPlan | None = None,
        seconds: float | None = None,
        on_token: Callable[[int, int], None] | None = None,
    ) -> Ticket:
        """Queue a prompt and return at once; the ticket's result is one completion a sample.

        The ticket is a `concurrent.futures.Future`: wait for it, `asyncio.wrap_future` it, or `cancel()`
        it when nobody wants it any more (its rows are free at the next step). It also has the moments
        `submitted`, `started` and `first_token` of `time.monotonic()`. The queue has no bound: keep one.

        Args:
            prompt: token ids; at least one.
            end_id: the token that ends a completion.
            sampling: how tokens are drawn.
            seed: with the sample's number, decides the draws whatever else is in the batch.
            samples: completions of this prompt, each from draws of its own; the prompt is read once.
            stop_strings: texts that end a completion too.
            stop_ids: tokens that end a completion too.
            wants_log_probabilities: give each token's log-probability as well.
            search: which train queries to look for at the starts of the completions' lines.
            seconds: after this time the ticket fails with `Unavailable`.
            on_token: called with (sample number, token id) as they come, from the decoding thread.

        Raises:
            InvalidInput: the prompt is empty, more samples than slots, or a draw among more tokens than
                the model gives.
            TooLarge: prompt and completion do not fit in `context_tokens`.
            Unavailable: the model was closed.
        """
        if not prompt or not all(stop_strings):
            raise InvalidInput("a prompt and its stop strings may not be empty")
        if not 1 <= samples <= self.slots:
            raise InvalidInput(f"samples is {samples}, expected 1 to {self.slots} (the slots)")
        self.check(sampling)
        if len(prompt) + sampling.max_new_tokens > self.context_tokens:
            raise TooLarge(
                f"a prompt of {len(prompt)} tokens and a completion of up to "
                f"{sampling.max_new_tokens} exceed the context of {self.context_tokens} tokens"
            )
        return self._loop.submit(
            Request(
                prompt=prompt,
                end_ids=frozenset((end_id, *stop_ids)),
                sampling=sampling,
                seed=seed,
                samples=samples,
                stop_strings=tuple(stop_strings),
                wants_log_probabilities=wants_log_probabilities,
                search=search,
                deadline=None if seconds is None else time.monotonic() + seconds,
                on_token=on_token,
            )
        )

    def complete(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        end_id: int,
        sampling: Sampling,
        seeds: Sequence[int],
    ) -> list[Completion]:
        """Return one completion a prompt, in the order given; other callers' requests go on beside.

        Args:
            prompts: token ids; none may be empty.
            end_id: the token that ends a completion.
            sampling: how tokens are drawn.
            seeds: one a prompt; the same prompt and seed draw the same random numbers, whatever else
                is in the batch.

        Raises:
            TooLarge: a prompt and its completion do not fit in `context_tokens`.
        """
        samples = self.sample(prompts, end_id=end_id, sampling=sampling, seeds=seeds)
        return [completion for (completion,) in samples]

    def sample(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        end_id: int,
        sampling: Sampling,
        seeds: Sequence[int],
        samples: int = 1,
        wants_log_probabilities: bool = False,
    ) -> list[list[Completion]]:
        """Return `samples` completions a prompt, as `complete` does; each prompt is read once."""
        tickets: list[Ticket] = []
        try:
            for prompt, seed in zip(prompts, seeds, strict=True):
                ticket = self.submit(
                    prompt,
                    end_id=end_id,
                    sampling=sampling,
                    seed=seed,
                    samples=samples,
                    wants_log_probabilities=wants_log_probabilities,
                )
                tickets.append(ticket)
            return [ticket.result() for ticket in tickets]
        finally:
            for ticket in tickets:
                ticket.cancel()  # only those that an error left behind


def _card(folder: Path) -> GeneratorCard:
    if not (folder / GENERATOR_CARD).exists():
        raise NotFound(f"{folder}: no language model here; run `skim models build`")
    try:
        return GeneratorCard.model_validate_json((folder / GENERATOR_CARD).read_bytes())
    except ValidationError as error:
        raise Damaged(f"{folder / GENERATOR_CARD}: {error.errors()[0]['msg']}") from error
