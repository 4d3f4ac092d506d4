"""Rows of token ids and their padded batches."""

import pytest
import torch

from services.training.distillation.batches import IGNORED, Row, encode, parted, shuffled_batches
from services.training.distillation.teacher_data import Example
from shared.contracts.document import Document
from shared.prompt import PromptTokenizer
from tests.support.tiny_models import END_TOKEN, write_tokenizer

OBOE = Example(Document(id="d", title="oboe", text="a reed"), ["woodwind", "reed"])


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> PromptTokenizer:
    return PromptTokenizer(
        write_tokenizer(tmp_path_factory.mktemp("tokenizer")), end_token=END_TOKEN
    )


def test_a_row_is_the_served_prompt_and_the_answer_with_its_end(
    tokenizer: PromptTokenizer,
) -> None:
    row = encode(tokenizer, OBOE)

    assert row.ids[: -row.completion_length] == tokenizer.encode_prompt(OBOE.document)
    assert tokenizer.decode(row.ids[-row.completion_length :]) == "woodwind\nreed"
    assert row.ids[-1] == tokenizer.end_id


def test_without_metadata_only_the_title_is_read(tokenizer: PromptTokenizer) -> None:
    row = encode(tokenizer, OBOE, reads_metadata=False)

    assert "a reed" not in tokenizer.decode(row.ids)
    assert "oboe" in tokenizer.decode(row.ids)


def test_completions_end_together_and_only_they_are_targets() -> None:
    (batch,) = parted([Row([1, 2, 3, 4], 2), Row([5, 6], 1)], size=2, pad_id=0)

    assert batch.input_ids.tolist() == [[1, 2, 3, 4], [0, 0, 5, 6]]
    assert batch.attention_mask.tolist() == [[1, 1, 1, 1], [0, 0, 1, 1]]
    assert batch.position_ids.tolist() == [[0, 1, 2, 3], [0, 0, 0, 1]]
    assert batch.targets.tolist() == [[3, 4], [IGNORED, 6]]
    assert batch.targets.dtype == torch.int64


def test_every_row_is_in_one_batch_and_a_seed_decides_which() -> None:
    rows = [Row([n] * (n % 7 + 1), 1) for n in range(50)]

    batches = shuffled_batches(rows, 8, "0/1")

    assert sorted(row.ids for batch in batches for row in batch) == sorted(row.ids for row in rows)
    assert batches == shuffled_batches(rows, 8, "0/1")
    assert batches != shuffled_batches(rows, 8, "0/2")
    assert all(len(batch) <= 8 for batch in batches)
