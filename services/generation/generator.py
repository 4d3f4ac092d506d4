"""Documents in, distinct synthetic queries out (paper section 4, step 1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from services.generation.requests import Completion
from services.generation.sampling import Sampling
from shared.completion import parse_completion
from shared.contracts.document import Document
from shared.prompt import PromptTokenizer


class CompletesPrompts(Protocol):
    """What the generator needs of a language model."""

    @property
    def name(self) -> str:
        """Return the model's id with the first digits of its sha256."""
        ...

    @property
    def adapter(self) -> str:
        """Return which adapter was merged into it."""
        ...

    def complete(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        end_id: int,
        sampling: Sampling,
        seeds: Sequence[int],
    ) -> list[Completion]:
        """Return one completion a prompt, in the order given."""
        ...


class QueryGenerator:
    """Lets the SLM write queries for documents.

    The seed of a document is its content: the same document gets the same queries again, so that a
    retry changes nothing.

    Args:
        model: the SLM.
        prompts: its tokenizer.
        sampling: how tokens are drawn.
        max_queries: most queries kept for one document.
    """

    def __init__(
        self,
        model: CompletesPrompts,
        prompts: PromptTokenizer,
        sampling: Sampling,
        *,
        max_queries: int = 16,
    ) -> None:
        self._model = model
        self._prompts = prompts
        self._sampling = sampling
        self._max_queries = max_queries

    @property
    def name(self) -> str:
        """Return the SLM's id with the first digits of its sha256."""
        return self._model.name

    @property
    def adapter(self) -> str:
        """Return which adapter the SLM was tuned with."""
        return self._model.adapter

    def generate(self, documents: Sequence[Document]) -> list[list[str]]:
        """Return the distinct queries of each document, in the order given; some may be empty."""
        completions = self._model.complete(
            [self._prompts.encode_prompt(document) for document in documents],
            end_id=self._prompts.end_id,
            sampling=self._sampling,
            seeds=[int(document.content_hash, 16) for document in documents],
        )
        return [
            parse_completion(
                self._prompts.decode(completion.ids),
                document,
                is_finished=completion.is_finished,
                max_queries=self._max_queries,
            )
            for document, completion in zip(documents, completions, strict=True)
        ]
