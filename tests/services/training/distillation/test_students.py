"""The students that are compared, and on which documents."""

from pathlib import Path

import pytest

from services.training.distillation.students import FewShotPrompts
from services.training.distillation.teacher_data import Example
from shared.contracts.document import Document
from shared.prompt import PromptTokenizer, TitleOnlyPrompts
from tests.support.tiny_models import END_TOKEN, write_tokenizer

OBOE = Document(id="oboe", title="oboe", text="a reed")


@pytest.fixture(scope="module")
def tokenizer_json(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tokenizer(tmp_path_factory.mktemp("tokenizer"))


def test_few_shots_come_before_the_served_prompt_each_with_its_end(tokenizer_json: Path) -> None:
    shown = Example(Document(id="saw", title="saw", text="cuts"), ["tool"])
    prompts = FewShotPrompts(tokenizer_json, end_token=END_TOKEN, examples=[shown, shown])

    ids = prompts.encode_prompt(OBOE)

    own = PromptTokenizer(tokenizer_json, end_token=END_TOKEN).encode_prompt(OBOE)
    assert ids[-len(own) :] == own
    assert ids.count(prompts.end_id) == 2
    assert prompts.decode(ids).count("Title: saw") == 2


def test_a_title_only_prompt_hides_the_rest(tokenizer_json: Path) -> None:
    ids = TitleOnlyPrompts(tokenizer_json, end_token=END_TOKEN).encode_prompt(OBOE)

    assert "a reed" not in PromptTokenizer(tokenizer_json, end_token=END_TOKEN).decode(ids)
