"""How the students that `skim distill evaluate` compares are tuned and prompted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from services.training.distillation.sft import FineTuneSettings
from services.training.distillation.teacher_data import Example
from shared.contracts.document import Document
from shared.prompt import PromptTokenizer

SETTINGS = FineTuneSettings(
    rank=32,
    alpha=64,
    dropout=0.0,
    learning_rate=1e-3,
    batch_size=32,
    epochs=2,
    patience=2,
)
"""Of the shipped student and of those it is compared with: a rank and a rate that make two passes over
the answers enough (three minutes on a GPU). The paper's are the defaults of `FineTuneSettings`."""
FEW_SHOT_EXAMPLES = 4


class FewShotPrompts(PromptTokenizer):
    """Shows an untuned model a few documents with their queries first.

    Args:
        tokenizer_json: of the pinned model.
        examples: what is shown.
        end_token: ends each of them, and a completion.
        max_metadata_tokens: text and metadata of a document past this many tokens are cut.
    """

    def __init__(
        self,
        tokenizer_json: Path,
        *,
        examples: Sequence[Example],
        end_token: str,
        max_metadata_tokens: int = 750,
    ) -> None:
        super().__init__(
            tokenizer_json, end_token=end_token, max_metadata_tokens=max_metadata_tokens
        )
        self._shown = [
            token
            for example in examples
            for token in (
                *super(FewShotPrompts, self).encode_prompt(example.document),
                *self.encode_completion(example.queries),
            )
        ]

    def encode_prompt(self, document: Document) -> list[int]:
        """Return the ids of the examples and of the document's prompt."""
        return [*self._shown, *super().encode_prompt(document)]
