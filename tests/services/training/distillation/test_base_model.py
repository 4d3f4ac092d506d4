"""Which model the student starts from."""

import json
from pathlib import Path

import pytest

from services.training.distillation.base_model import base_folder, end_token_of
from shared.errors import InvalidInput, NotFound


def test_a_folder_is_taken_as_it_is(tmp_path: Path) -> None:
    assert base_folder(str(tmp_path), tmp_path / "sources") == tmp_path


def test_a_name_that_is_neither_folder_nor_hub_id_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no such folder"):
        base_folder("no/such/model/anywhere", tmp_path)


@pytest.mark.parametrize("token", ["<|eot_id|>", {"content": "<|eot_id|>"}])
def test_the_end_token_is_the_models_own(tmp_path: Path, token: object) -> None:
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"eos_token": token}))

    assert end_token_of(tmp_path) == "<|eot_id|>"


def test_a_tokenizer_without_an_end_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tokenizer_config.json").write_text("{}")

    with pytest.raises(InvalidInput, match="eos_token"):
        end_token_of(tmp_path)
