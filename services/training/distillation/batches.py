"""Examples become rows of token ids, and rows become padded batches."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from services.training.distillation.teacher_data import Example
from shared.prompt import PromptTokenizer

IGNORED = -100
"""A target that counts for nothing."""


@dataclass(frozen=True)
class Row:
    """A prompt and its completion as token ids; the loss is on the last `completion_length`."""

    ids: list[int]
    completion_length: int


@dataclass(frozen=True)
class Batch:
    """Rows padded on the left, so that their completions end together; all int64.

    `input_ids`, `attention_mask`, `position_ids`: (rows, longest row). `targets`: (rows, longest
    completion), -100 where a row's completion is shorter.
    """

    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    position_ids: torch.Tensor
    targets: torch.Tensor


def encode(tokenizer: PromptTokenizer, example: Example, *, reads_metadata: bool = True) -> Row:
    """Return the row of an example; without metadata the prompt holds the title only."""
    document = example.document if reads_metadata else example.document.title_only()
    completion = tokenizer.encode_completion(example.queries)
    return Row([*tokenizer.encode_prompt(document), *completion], len(completion))


def shuffled_batches(rows: Sequence[Row], size: int, seed: str) -> list[list[Row]]:
    """Return batches of rows of similar length, so that little is padded, in an order of the seed."""
    shuffle = random.Random(seed)
    order = sorted(range(len(rows)), key=lambda row: (len(rows[row].ids), shuffle.random()))
    batches = [
        [rows[row] for row in order[start : start + size]] for start in range(0, len(order), size)
    ]
    shuffle.shuffle(batches)
    return batches


def parted(rows: Sequence[Row], size: int, pad_id: int) -> Iterator[Batch]:
    """Yield the rows as padded batches of at most `size`."""
    for start in range(0, len(rows), size):
        yield _pad(rows[start : start + size], pad_id)


def _pad(rows: Sequence[Row], pad_id: int) -> Batch:
    width = max(len(row.ids) for row in rows)
    completion = max(row.completion_length for row in rows)
    input_ids = torch.full((len(rows), width), pad_id)
    attention_mask = torch.zeros((len(rows), width), dtype=torch.long)
    targets = torch.full((len(rows), completion), IGNORED)
    for index, row in enumerate(rows):
        input_ids[index, width - len(row.ids) :] = torch.tensor(row.ids)
        attention_mask[index, width - len(row.ids) :] = 1
        targets[index, completion - row.completion_length :] = torch.tensor(
            row.ids[-row.completion_length :]
        )
    position_ids = (attention_mask.cumsum(dim=1) - 1).clamp(min=0)
    return Batch(input_ids, attention_mask, position_ids, targets)
